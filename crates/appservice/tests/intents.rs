//! Acting on a homeserver: once, as the right user, and again after a failure.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{
    error::Error as _,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{AS_TOKEN, Running, homeserver, journal, message, push, registration, server, user};
use matrix_appservice::{
    AppService, Builder, ClientConfig, CreateRoom, Delivery, Error, HandlerResult, Intent, Invite,
    InviteOutcome, Message, Retry, RetryPolicy, SOURCE_KEY, StateEvent,
    ruma::{OwnedRoomId, RoomId, events::room::member::MembershipState},
    testing::{FakeHomeserver, Fault},
};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

const GHOST: &str = "@_ghost_1:hs.test";
const OTHER_GHOST: &str = "@_ghost_2:hs.test";
const BOT: &str = "@bot:hs.test";

struct World {
    folder: tempfile::TempDir,
    homeserver: FakeHomeserver,
}

impl World {
    async fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            homeserver: homeserver().await,
        }
    }

    /// An application service whose failed entries are tried again at once.
    async fn builder(&self) -> Builder {
        AppService::builder(
            registration(),
            server(),
            self.homeserver.url(),
            journal(&self.folder).await,
        )
        .retry_policy(RetryPolicy {
            give_up_after: Duration::ZERO,
            first_pause: Duration::ZERO,
            longest_pause: Duration::ZERO,
            ..RetryPolicy::default()
        })
        .client_config(ClientConfig {
            first_pause: Duration::ZERO,
            ..ClientConfig::default()
        })
        .drain_timeout(Duration::ZERO)
    }

    /// One that leaves it to the dispatcher to try again.
    async fn once(&self) -> Builder {
        self.builder().await.client_config(ClientConfig {
            max_attempts: 1,
            ..ClientConfig::default()
        })
    }

    async fn service(&self) -> AppService {
        self.builder().await.build().unwrap()
    }

    /// A room that the ghost made, and in which the bot is.
    fn room(&self) -> OwnedRoomId {
        self.homeserver.register(GHOST);
        let room = self.homeserver.make_room(GHOST, None);
        self.homeserver.set_membership(&room, BOT, "join");
        room.try_into().unwrap()
    }
}

#[tokio::test]
async fn a_ghost_is_registered_once_and_found_when_it_is_there() {
    let world = World::new().await;
    let service = world.service().await;
    world.homeserver.register(OTHER_GHOST);
    for ghost in [GHOST, OTHER_GHOST] {
        for _ in 0..3 {
            let intent = service.intent(user(ghost), "work");
            intent.ensure_registered().await.unwrap();
            intent.set_display_name("Mevrouw Jansen").await.unwrap();
        }
        assert_eq!(
            world.homeserver.name_of(ghost).as_deref(),
            Some("Mevrouw Jansen")
        );
    }
    assert_eq!(world.homeserver.calls_of("register").len(), 2);
}

#[tokio::test]
async fn only_users_of_our_namespace_and_homeserver_are_registered() {
    let world = World::new().await;
    let service = world.service().await;
    let outside = service.intent(user("@somebody:hs.test"), "work");
    let error = outside.ensure_registered().await.unwrap_err();
    assert!(error.is("M_EXCLUSIVE"));
    // A ghost's name on another homeserver is somebody else's user.
    let elsewhere = service.intent(user("@_ghost_1:elsewhere.test"), "work");
    let error = elsewhere.ensure_registered().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(world.homeserver.calls().len(), 1);
}

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
async fn an_invitation_carries_its_extra_content_and_is_sent_once() {
    let world = World::new().await;
    let service = world.service().await;
    let room = world.room();
    let ghost = service.intent(user(GHOST), "work");
    let arts = user("@arts:elsewhere.test");
    let invite = Invite::new(arts).with("test.role", json!("huisarts"));
    let outcome = async || ghost.invite(&room, &invite).await.unwrap();
    assert_eq!(outcome().await, InviteOutcome::Invited);
    assert_eq!(
        world.homeserver.members(room.as_str())[arts.as_str()],
        json!({"membership": "invite", "test.role": "huisarts"})
    );
    assert_eq!(outcome().await, InviteOutcome::AlreadyInvited);
    let set = |membership| {
        let homeserver = &world.homeserver;
        homeserver.set_membership(room.as_str(), arts.as_str(), membership);
    };
    set("join");
    assert_eq!(outcome().await, InviteOutcome::AlreadyJoined);
    assert_eq!(
        ghost.membership(&room, arts).await.unwrap(),
        Some(MembershipState::Join)
    );
    // Who left or declined is left alone, unless that is what is wanted.
    set("leave");
    assert_eq!(outcome().await, InviteOutcome::Left);
    let again = invite.clone().again();
    assert_eq!(
        ghost.invite(&room, &again).await.unwrap(),
        InviteOutcome::Invited
    );
    set("ban");
    assert_eq!(
        ghost.invite(&room, &again).await.unwrap(),
        InviteOutcome::Banned
    );
}

#[tokio::test]
async fn a_ghost_that_may_not_join_is_invited_by_the_service_and_joins() {
    let world = World::new().await;
    let service = world.service().await;
    let room = world.room();
    let ghost = service.intent(user(OTHER_GHOST), "work");
    for _ in 0..2 {
        ghost.ensure_joined(&room).await.unwrap();
        assert_eq!(
            world.homeserver.members(room.as_str())[OTHER_GHOST],
            json!({"membership": "join"})
        );
    }
    assert_eq!(world.homeserver.calls_of("join").len(), 2);
    let invitations: Vec<_> = world
        .homeserver
        .calls_of("state")
        .into_iter()
        .filter(|call| call.method == "PUT")
        .map(|call| call.acting_as)
        .collect();
    assert_eq!(invitations, [BOT]);
    // The service can't help into a room that it isn't in.
    let strange = world.homeserver.make_room("@mallory:hs.test", None);
    let strange: OwnedRoomId = strange.try_into().unwrap();
    let error = ghost.ensure_joined(&strange).await.unwrap_err();
    assert!(error.is("M_FORBIDDEN"));
}

#[tokio::test]
async fn the_token_is_in_the_header_and_the_ghost_in_the_query() {
    let world = World::new().await;
    let service = world.service().await;
    let room = world.room();
    let ghost = service.intent(user(GHOST), "work");
    ghost.set_display_name("x").await.unwrap();
    ghost.send_text(&room, "text").await.unwrap();
    ghost.find_own_room("_portal_1").await.unwrap();
    ghost.sender().send_text(&room, "text").await.unwrap();
    for call in world.homeserver.calls() {
        // The stub refuses calls whose token isn't in the header, or is in the query.
        let acting_as = call.query.get("user_id").map(String::as_str);
        let as_the_service = call.acting_as == BOT;
        assert_eq!(acting_as, (!as_the_service).then_some(GHOST));
        assert!(!call.query.values().any(|value| value.contains(AS_TOKEN)));
    }
    assert!(world.homeserver.calls().len() >= 6);
}

/// Pushes one message and says what to do with it.
async fn run<F, Fut>(world: &World, handler: F) -> Running
where
    F: Fn(Delivery) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    let service = world
        .builder()
        .await
        .on_message(move |delivery, _| handler(delivery))
        .build()
        .unwrap();
    Running::start(service).await
}

async fn send_as(intent: Intent, room: &RoomId, text: &str) -> HandlerResult {
    intent.send_text(room, text).await?;
    Ok(())
}

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

#[tokio::test]
async fn our_users_accept_invitations_and_nobody_else_is_made_to() {
    let world = World::new().await;
    let service = world.builder().await.accept_invitations().build().unwrap();
    let service = Running::start(service).await;
    let room = world.homeserver.make_room("@arts:hs.test", None);
    let invitation = |nth: usize, invited: &str| {
        world.homeserver.set_membership(&room, invited, "invite");
        json!({
            "type": "m.room.member", "event_id": format!("${nth}"), "room_id": room,
            "sender": "@arts:hs.test", "state_key": invited, "origin_server_ts": 1,
            "content": {"membership": "invite"},
        })
    };
    let strangers = [
        "@arts:elsewhere.test",
        "@_ghost_1:elsewhere.test",
        "@else:hs.test",
    ];
    let events: Vec<_> = [BOT, GHOST]
        .into_iter()
        .chain(strangers)
        .enumerate()
        .map(|(nth, invited)| invitation(nth, invited))
        .collect();
    // The first comes before the inviting homeserver has stored it.
    let unknown = Fault::Refuse(403, json!({"errcode": "M_FORBIDDEN"}));
    world.homeserver.fail("join", [unknown]);
    push(&service.router, "1", &events).await;
    service.idle().await;
    // An invitation that is gone by the time it is looked at is nothing to worry about.
    let mut withdrawn = invitation(9, OTHER_GHOST);
    withdrawn["event_id"] = json!("$9");
    world.homeserver.set_membership(&room, OTHER_GHOST, "leave");
    push(&service.router, "2", &[withdrawn]).await;
    service.idle().await;

    let members = world.homeserver.members(&room);
    for user in [BOT, GHOST] {
        assert_eq!(members[user]["membership"], "join", "{user}");
    }
    for user in strangers {
        assert_eq!(members[user]["membership"], "invite", "{user}");
    }
    let registered: std::collections::BTreeSet<_> = world
        .homeserver
        .calls_of("register")
        .iter()
        .map(|call| call.body["username"].to_string())
        .collect();
    assert_eq!(registered.len(), 3, "nobody else: {registered:?}");
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!((stats.done, stats.dead), (6, 0));
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
