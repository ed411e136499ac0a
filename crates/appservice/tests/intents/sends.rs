//! Sending once.

use super::*;

#[tokio::test]
async fn a_handler_that_runs_again_sends_nothing_again() {
    let world = World::new().await;
    let room = world.room();
    world
        .homeserver
        .set_membership(room.as_str(), OTHER_GHOST, "join");
    world.homeserver.register(OTHER_GHOST);
    let (target, runs) = (room.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = runs.clone();
    let service = run(&world, move |delivery| {
        let (room, run) = (target.clone(), counted.fetch_add(1, Ordering::SeqCst));
        async move {
            for (nth, acting) in [GHOST, OTHER_GHOST, GHOST, GHOST].into_iter().enumerate() {
                // Each run comes a step further.
                if nth > run {
                    return Err(matrix_appservice::HandlerError::new(
                        "far enough",
                        Retry::Backoff,
                    ));
                }
                send_as(delivery.intent(user(acting)), &room, &format!("text {nth}")).await?;
            }
            Ok(())
        }
    })
    .await;
    let event = message("$1", "!elsewhere", "@arts:elsewhere.test", "x");
    push(&service.router, "1", &[event]).await;
    service.idle().await;
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    let expected = [
        (GHOST, "text 0"),
        (OTHER_GHOST, "text 1"),
        (GHOST, "text 2"),
        (GHOST, "text 3"),
    ];
    assert_eq!(
        world.homeserver.messages(room.as_str()),
        expected.map(|(sender, text)| (sender.to_owned(), text.to_owned()))
    );
    let journal = service.stop().await;
    assert_eq!(journal.stats().await.unwrap().done, 1);
}

#[tokio::test]
async fn a_handler_that_sends_less_when_it_runs_again_takes_nothing_from_the_next_one() {
    let world = World::new().await;
    let room = world.room();
    let runs = Arc::new(AtomicUsize::new(0));
    let (first, second) = (room.clone(), room.clone());
    let counted = runs.clone();
    let service = world
        .builder()
        .await
        .on_message(move |delivery, _| {
            let (room, run) = (first.clone(), counted.fetch_add(1, Ordering::SeqCst));
            async move {
                if run == 0 {
                    send_as(delivery.bot(), &room, "from the first").await?;
                }
                Ok(())
            }
        })
        .on_message(move |delivery, _| {
            let room = second.clone();
            async move { send_as(delivery.bot(), &room, "from the second").await }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let unavailable = Fault::Refuse(503, json!({}));
    world.homeserver.fail("send", [Fault::None, unavailable]);
    let event = message("$1", "!elsewhere", "@arts:elsewhere.test", "x");
    push(&service.router, "1", &[event]).await;
    service.idle().await;
    assert_eq!(
        world.homeserver.messages(room.as_str()),
        ["from the first", "from the second"].map(|text| (BOT.to_owned(), text.to_owned()))
    );
    service.stop().await;
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_is_not_repeated() {
    let world = World::new().await;
    let room = world.room();
    let target = room.clone();
    let service = run(&world, move |delivery| {
        let room = target.clone();
        async move { send_as(delivery.intent(user(GHOST)), &room, "text").await }
    })
    .await;
    let lost = Fault::LoseAnswer;
    world.homeserver.fail("send", [lost]);
    let event = message("$1", "!elsewhere", "@arts:elsewhere.test", "x");
    push(&service.router, "1", &[event]).await;
    service.idle().await;
    assert_eq!(world.homeserver.messages(room.as_str()).len(), 1);
    assert_eq!(
        world.homeserver.calls_of("send").len(),
        1,
        "the second run found the message of the first"
    );
    service.stop().await;
}

#[tokio::test]
async fn the_transaction_id_alone_makes_a_send_that_is_repeated_one_message() {
    let world = World::new().await;
    let room = world.room();
    let target = room.clone();
    let service = run(&world, move |delivery| {
        let room = target.clone();
        async move { send_as(delivery.intent(user(GHOST)), &room, "text").await }
    })
    .await;
    world.homeserver.fail("send", [Fault::LoseAnswer]);
    // The room can't be read back either.
    let forbidden = Fault::Refuse(403, json!({"errcode": "M_FORBIDDEN"}));
    world.homeserver.fail("messages", [forbidden]);
    let event = message("$1", "!elsewhere", "@arts:elsewhere.test", "x");
    push(&service.router, "1", &[event]).await;
    service.idle().await;
    assert_eq!(world.homeserver.messages(room.as_str()).len(), 1);
    let sends = world.homeserver.calls_of("send");
    assert_eq!(sends.len(), 2);
    assert_eq!(sends[0].path, sends[1].path);
    service.stop().await;
}

#[tokio::test]
async fn a_message_is_found_again_after_both_sides_have_restarted() {
    let world = World::new().await;
    let room = world.room();
    let target = room.clone();
    let sent = Arc::new(Notify::new());
    let sends = sent.clone();
    let service = world
        .once()
        .await
        .on_message(move |delivery, _| {
            let (room, sent) = (target.clone(), sends.clone());
            async move {
                let result = send_as(delivery.intent(user(GHOST)), &room, "text").await;
                assert!(result.is_err());
                sent.notify_one();
                std::future::pending().await
            }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    world.homeserver.fail("send", [Fault::LoseAnswer]);
    let event = message("$1", "!elsewhere", "@arts:elsewhere.test", "x");
    push(&service.router, "1", &[event]).await;
    sent.notified().await;
    service.stop().await;

    // The homeserver forgets its transaction ids, and people go on talking: the message isn't on the
    // first page any more, nor on the second, where nothing is ours.
    world.homeserver.forget_transaction_ids();
    for nth in 0..35 {
        world
            .homeserver
            .say(room.as_str(), BOT, &format!("talk {nth}"));
    }
    let (target, (found, mut finds)) = (room.clone(), mpsc::unbounded_channel());
    let service = run(&world, move |delivery| {
        let (room, found) = (target.clone(), found.clone());
        async move {
            assert!(delivery.may_be_repeat());
            let event_id = delivery
                .intent(user(GHOST))
                .send_text(&room, "text")
                .await?;
            let _ = found.send(event_id);
            Ok(())
        }
    })
    .await;
    let event_id = finds.recv().await.unwrap();
    service.idle().await;
    service.stop().await;
    let ours: Vec<_> = world
        .homeserver
        .messages(room.as_str())
        .into_iter()
        .filter(|(sender, _)| sender == GHOST)
        .collect();
    assert_eq!(ours.len(), 1);
    assert!(
        world
            .homeserver
            .events(room.as_str())
            .iter()
            .any(|event| event["event_id"] == event_id.as_str())
    );
    assert_eq!(world.homeserver.calls_of("send").len(), 1);
}

/// Pushes five messages and ends the process when the handler of the first has sent `sent` of its one message; returns
/// how often the homeserver was asked for what is in the room when they were handled after that.
async fn looks_after_a_restart(sent: usize) -> usize {
    let world = World::new().await;
    let room = world.room();
    let (target, begun) = (room.clone(), Arc::new(Notify::new()));
    let begins = begun.clone();
    let service = run(&world, move |delivery| {
        let (room, begun) = (target.clone(), begins.clone());
        async move {
            for _ in 0..sent {
                send_as(delivery.intent(user(GHOST)), &room, "text").await?;
            }
            begun.notify_one();
            std::future::pending().await
        }
    })
    .await;
    let events = ["$1", "$2", "$3", "$4", "$5"]
        .map(|id| message(id, "!elsewhere", "@arts:elsewhere.test", "x"));
    push(&service.router, "1", &events).await;
    begun.notified().await;
    service.stop().await;
    world.homeserver.forget_transaction_ids();

    let (before, target) = (world.homeserver.calls_of("messages").len(), room.clone());
    let service = run(&world, move |delivery| {
        let room = target.clone();
        async move { send_as(delivery.intent(user(GHOST)), &room, "text").await }
    })
    .await;
    service.idle().await;
    service.stop().await;
    assert_eq!(world.homeserver.messages(room.as_str()).len(), 5);
    world.homeserver.calls_of("messages").len() - before
}

#[tokio::test]
async fn behind_what_was_not_sent_before_a_restart_nothing_is_looked_for() {
    let looks = looks_after_a_restart(0).await;
    assert_eq!(looks, 1, "the first one's, which finds nothing");
    let looks = looks_after_a_restart(1).await;
    assert_eq!(
        looks, 2,
        "what is behind a message that is there may be, too"
    );
}

#[tokio::test]
async fn what_is_sent_carries_its_source_and_the_time_it_was_given() {
    let world = World::new().await;
    let room = world.room();
    let service = world.service().await;
    let time = matrix_appservice::ruma::MilliSecondsSinceUnixEpoch(
        1_700_000_000_000_u64.try_into().unwrap(),
    );
    let message = Message::notice("text")
        .with("test.key", json!({"a": 1}))
        .at(time);
    let ghost = service.intent(user(GHOST), "work");
    ghost.send(&room, message).await.unwrap();
    let call = &world.homeserver.calls_of("send")[0];
    let txn_id = call.path.rsplit('/').next().unwrap();
    assert_eq!(call.body[SOURCE_KEY], txn_id);
    assert_eq!(call.body["msgtype"], "m.notice");
    assert_eq!(call.body["test.key"], json!({"a": 1}));
    assert_eq!(call.query["ts"], "1700000000000");
    // The same work again finds it, other work doesn't.
    let again = service.intent(user(GHOST), "work");
    again.send_text(&room, "text").await.unwrap();
    assert_eq!(world.homeserver.messages(room.as_str()).len(), 1);
    let other = service.intent(user(GHOST), "other work");
    other.send_text(&room, "text").await.unwrap();
    assert_eq!(world.homeserver.messages(room.as_str()).len(), 2);
}

#[tokio::test]
async fn a_bot_hears_neither_itself_nor_its_ghosts_but_those_of_other_homeservers() {
    let world = World::new().await;
    let (heard, mut results) = mpsc::unbounded_channel();
    let service = world
        .builder()
        .await
        .accept_invitations()
        .on_message(move |_, event| {
            let _ = heard.send(event.event_id.to_string());
            async { Ok(()) }
        })
        .build()
        .unwrap();
    let service = Running::start(service).await;
    let mut redacted = message("$redacted", "!a", "@arts:hs.test", "x");
    redacted["unsigned"] = json!({"redacted_because": {}});
    redacted["content"] = json!({});
    let events = [
        message("$bot", "!a", BOT, "x"),
        message("$ghost", "!a", GHOST, "x"),
        redacted,
        message("$human", "!a", "@arts:hs.test", "x"),
        message("$other-bridge", "!a", "@_ghost_1:elsewhere.test", "x"),
        message("$other-bot", "!a", "@bot:elsewhere.test", "x"),
    ];
    push(&service.router, "1", &events).await;
    service.idle().await;
    let journal = service.stop().await;
    let mut all = Vec::new();
    while let Some(event_id) = results.recv().await {
        all.push(event_id);
    }
    assert_eq!(all, ["$human", "$other-bridge", "$other-bot"]);
    assert_eq!(journal.stats().await.unwrap().dead, 0);
}
