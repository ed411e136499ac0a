//! What goes wrong, and what it says.

use super::*;

#[tokio::test]
async fn a_pause_that_the_homeserver_asks_for_is_kept_by_the_lane() {
    let world = World::new().await;
    let room = world.room();
    let target = room.clone();
    let service = run(&world, move |delivery| {
        let room = target.clone();
        async move { send_as(delivery.intent(user(GHOST)), &room, "text").await }
    })
    .await;
    let limited = json!({"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 300});
    world.homeserver.fail("send", [Fault::Refuse(429, limited)]);
    let events = ["$1", "$2"].map(|id| message(id, "!here", "@arts:elsewhere.test", "x"));
    push(&service.router, "1", &events).await;
    service.idle().await;
    let sends = world.homeserver.calls_of("send");
    assert_eq!(sends.len(), 3);
    assert!(sends[1].at - sends[0].at >= Duration::from_millis(300));
    assert_eq!(sends[0].path, sends[1].path, "the second event waits");
    service.stop().await;
}

#[tokio::test]
async fn trouble_of_the_homeserver_is_waited_for_and_a_fault_of_ours_is_not() {
    let world = World::new().await;
    let room = world.room();
    let target = room.clone();
    let service = run(&world, move |delivery| {
        let room = target.clone();
        async move { send_as(delivery.intent(user(GHOST)), &room, "text").await }
    })
    .await;
    // More often than the budget of ten attempts.
    let trouble = [502, 503, 504].map(|status| Fault::Refuse(status, json!("<html>")));
    world
        .homeserver
        .fail("send", trouble.into_iter().cycle().take(15));
    let event = message("$1", "!here", "@arts:elsewhere.test", "x");
    push(&service.router, "1", &[event]).await;
    service.idle().await;
    assert_eq!(world.homeserver.messages(room.as_str()).len(), 1);

    let too_large = Fault::Refuse(413, json!({"errcode": "M_TOO_LARGE"}));
    world.homeserver.fail("send", [too_large]);
    let event = message("$2", "!here", "@arts:elsewhere.test", "x");
    push(&service.router, "2", &[event]).await;
    service.idle().await;
    let dead = service.journal.dead_letters(0, 10).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0].error.contains("413 M_TOO_LARGE"),
        "{}",
        dead[0].error
    );
    service.stop().await;
}

fn everything_said_by(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, " {error} {error:?}").unwrap();
        source = error.source();
    }
    text
}

#[tokio::test]
async fn an_error_says_what_to_do_and_names_nobody() {
    let world = World::new().await;
    let room = world.room();
    let service = world.once().await.build().unwrap();
    let ghost = service.intent(user(GHOST), "work");
    let secret = "canary text";
    let refusal = json!({"errcode": "M_FORBIDDEN", "error": format!("{GHOST} {room} {secret}")});
    let faults = [
        Fault::Refuse(403, refusal.clone()),
        Fault::Refuse(500, refusal),
        Fault::Refuse(200, json!("canary: no answer of ours")),
        Fault::Refuse(302, json!(null)),
        Fault::LoseAnswer,
    ];
    world.homeserver.fail("send", faults.clone());
    for fault in faults {
        let error = ghost.send_text(&room, secret).await.unwrap_err();
        let said = everything_said_by(&error);
        for canary in ["canary", "_ghost_1", room.as_str(), AS_TOKEN] {
            assert!(!said.contains(canary), "{fault:?}: {said}");
        }
        assert!(said.contains("/send/"), "{said}");
    }
}
