//! Rooms, made once and found again.

use super::*;

#[tokio::test]
async fn a_room_whose_alias_is_in_use_is_found_again() {
    let world = World::new().await;
    let service = world.service().await;
    let ghost = service.intent(user(GHOST), "work");
    let state = StateEvent {
        kind: "test.kind".to_owned(),
        state_key: "key".to_owned(),
        content: json!({"a": 1}),
    };
    let wanted = CreateRoom::new()
        .alias("_portal_1")
        .name("Wondzorg")
        .invite([user("@arts:elsewhere.test").to_owned()])
        .initial_state(state.clone());
    let made = ghost.create_room(&wanted).await.unwrap();
    assert!(!made.was_there);
    let again = ghost.create_room(&wanted).await.unwrap();
    assert!(again.was_there);
    assert_eq!(made.room_id, again.room_id);
    assert_eq!(
        ghost.find_own_room("_portal_1").await.unwrap(),
        Some(made.room_id.clone())
    );
    assert_eq!(world.homeserver.rooms().len(), 1);
    assert_eq!(
        world
            .homeserver
            .state(made.room_id.as_str(), "test.kind", "key"),
        Some(json!({"a": 1}))
    );
    assert!(!ghost.ensure_state(&made.room_id, &state).await.unwrap());
    let changed = StateEvent {
        content: json!({"a": 2}),
        ..state
    };
    assert!(ghost.ensure_state(&made.room_id, &changed).await.unwrap());
}

#[tokio::test]
async fn a_room_whose_answer_was_lost_is_found_again() {
    let world = World::new().await;
    let service = world.once().await.build().unwrap();
    let ghost = service.intent(user(GHOST), "work");
    let wanted = CreateRoom::new().alias("_portal_1");
    world.homeserver.fail("createRoom", [Fault::LoseAnswer]);
    let error = ghost.create_room(&wanted).await.unwrap_err();
    assert_eq!(error.retry(), Retry::WhenAvailable);
    assert!(ghost.create_room(&wanted).await.unwrap().was_there);
    assert_eq!(world.homeserver.rooms().len(), 1);
}

#[tokio::test]
async fn a_room_that_the_homeserver_is_still_making_is_waited_for() {
    let world = World::new().await;
    world.homeserver.register(GHOST);
    let service = world.service().await;
    let ghost = service.intent(user(GHOST), "work");
    let now = Duration::ZERO;
    let room = world.homeserver.begin_room(GHOST, "_portal_1", now);
    let error = ghost.find_own_room("_portal_1").await.unwrap_err();
    assert!(matches!(error, Error::UnfinishedRoom), "{error:?}");
    assert_eq!(error.retry(), Retry::Backoff);

    let wanted = CreateRoom::new().alias("_portal_1");
    let finish = async {
        let looked = async || world.homeserver.calls_of("state").len();
        let before = looked().await;
        while looked().await < before + 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.homeserver.finish_room(&room, GHOST, "_portal_1");
    };
    let (found, ()) = tokio::join!(ghost.create_room(&wanted), finish);
    let found = found.unwrap();
    assert_eq!(found.room_id.as_str(), room);
    assert!(found.was_there);
}

#[tokio::test]
async fn a_room_that_takes_longer_is_an_error_that_is_tried_again_and_one_that_died_is_made_anew() {
    let world = World::new().await;
    world.homeserver.register(GHOST);
    let config = ClientConfig {
        retry_budget: Duration::ZERO,
        ..ClientConfig::default()
    };
    let service = world.once().await.client_config(config).build().unwrap();
    let ghost = service.intent(user(GHOST), "work");
    let minutes = Duration::from_mins;
    for (ago, alias) in [(minutes(0), "_portal_1"), (minutes(9), "_portal_2")] {
        let room = world.homeserver.begin_room(GHOST, alias, ago);
        let wanted = CreateRoom::new().alias(alias);
        let error = ghost.create_room(&wanted).await.unwrap_err();
        assert!(matches!(error, Error::UnfinishedRoom), "{error:?}");
        world.homeserver.finish_room(&room, GHOST, alias);
        assert_eq!(ghost.create_room(&wanted).await.unwrap().room_id, room);
    }
    let dead = world.homeserver.begin_room(GHOST, "_portal_3", minutes(11));
    let wanted = CreateRoom::new().alias("_portal_3");
    let made = ghost.create_room(&wanted).await.unwrap();
    assert_ne!(made.room_id.as_str(), dead);
    assert!(!made.was_there);
    let found = ghost.find_own_room("_portal_3").await.unwrap();
    assert_eq!(found, Some(made.room_id));
}

#[tokio::test]
async fn an_alias_that_somebody_pointed_at_another_room_of_ours_is_not_trusted() {
    let world = World::new().await;
    let service = world.service().await;
    let ghost = service.intent(user(GHOST), "work");
    let first = CreateRoom::new().alias("_portal_1");
    let first = ghost.create_room(&first).await.unwrap().room_id;
    world.homeserver.point_alias("_portal_2", first.as_str());
    let second = CreateRoom::new().alias("_portal_2");
    let error = ghost.create_room(&second).await.unwrap_err();
    assert!(matches!(error, Error::ForeignAlias), "{error:?}");
    assert_eq!(ghost.find_own_room("_portal_1").await.unwrap(), Some(first));
}

#[tokio::test]
async fn nothing_is_sent_to_a_room_that_somebody_else_made_under_our_alias() {
    let world = World::new().await;
    let service = world.service().await;
    let strange = world
        .homeserver
        .make_room("@mallory:hs.test", Some("_portal_1"));
    let ghost = service.intent(user(GHOST), "work");
    let wanted = CreateRoom::new().alias("_portal_1");
    // Neither from outside, nor as a member.
    for membership in ["leave", "invite", "join"] {
        world.homeserver.set_membership(&strange, GHOST, membership);
        let error = ghost.create_room(&wanted).await.unwrap_err();
        assert!(matches!(error, Error::ForeignAlias), "{membership}");
        // The homeserver may be about to make it.
        assert_eq!(error.retry(), Retry::Backoff);
    }
    // Another ghost's room is as foreign.
    world.homeserver.register(OTHER_GHOST);
    world.homeserver.make_room(OTHER_GHOST, Some("_portal_2"));
    let error = ghost.find_own_room("_portal_2").await.unwrap_err();
    assert!(matches!(error, Error::ForeignAlias));
    assert_eq!(ghost.find_own_room("_portal_3").await.unwrap(), None);
}

#[tokio::test]
async fn a_rooms_past_is_read_page_by_page_newest_first() {
    let world = World::new().await;
    let service = world.service().await;
    let room = world.room();
    let said: Vec<_> = (0..25)
        .map(|nth| {
            world
                .homeserver
                .say(room.as_str(), "@arts:elsewhere.test", &nth.to_string())
        })
        .collect();
    let bot = service.intent(user(BOT), "work");
    let mut read = Vec::new();
    let mut from = None;
    loop {
        let page = bot.history(&room, from.as_deref(), 10).await.unwrap();
        assert!(page.events.len() <= 10);
        let messages = page
            .events
            .iter()
            .filter(|event| event.kind() == "m.room.message");
        read.extend(messages.map(|event| event.event_id().to_string()));
        from = page.further;
        if from.is_none() {
            break;
        }
    }
    read.reverse();
    assert_eq!(read, said);
}
