//! What a handler that runs again finds done, and what is remembered so that it needn't be asked.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{sync::Mutex, time::Duration};

use common::{homeserver, journal, registration, server, user};
use matrix_appservice::{
    AppService, AppServiceError, ClientConfig, CreateRoom, Error, Intent, Journal, Message,
    NewEvent,
    ruma::{EventId, OwnedEventId, OwnedRoomId, api::MatrixVersion},
    testing::{FakeHomeserver, Fault},
};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

const GHOST: &str = "@_ghost_1:hs.test";
const BOT: &str = "@bot:hs.test";

struct World {
    /// A journal for each service.
    folders: Mutex<Vec<tempfile::TempDir>>,
    homeserver: FakeHomeserver,
    room: OwnedRoomId,
    message: OwnedEventId,
}

impl World {
    /// A room with the bot and a ghost, and a message of the bot's.
    async fn new() -> Self {
        let homeserver = homeserver().await;
        homeserver.register(GHOST);
        let room = homeserver.make_room(BOT, None);
        homeserver.set_membership(&room, GHOST, "join");
        let message = homeserver.say(&room, BOT, "text");
        Self {
            folders: Mutex::default(),
            room: room.try_into().unwrap(),
            message: message.try_into().unwrap(),
            homeserver,
        }
    }

    async fn service(&self) -> AppService {
        self.builder(3).await
    }

    async fn journal(&self) -> Journal {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(&folder).await;
        self.folders.lock().unwrap().push(folder);
        journal
    }

    async fn builder(&self, max_attempts: u32) -> AppService {
        AppService::builder(
            registration(),
            server(),
            self.homeserver.url(),
            self.journal().await,
        )
        .client_config(ClientConfig {
            max_attempts,
            first_pause: Duration::ZERO,
            ..ClientConfig::default()
        })
        .build()
        .unwrap()
    }

    /// How many events of this type are in the room.
    fn count(&self, kind: &str) -> usize {
        let events = self.homeserver.events(self.room.as_str());
        events.iter().filter(|event| event["type"] == kind).count()
    }
}

#[derive(Clone, Copy, Debug)]
enum Send {
    Custom,
    Edit,
    Reaction,
    Redaction,
}

async fn run(send: Send, intent: &Intent, world: &World) -> Result<OwnedEventId, Error> {
    let (room, event) = (&world.room, &world.message);
    match send {
        Send::Custom => {
            let content = Map::from_iter([("a".to_owned(), json!(1))]);
            intent.send(room, NewEvent::new("test.kind", content)).await
        }
        Send::Edit => intent.edit(room, event, Message::text("better")).await,
        Send::Reaction => intent.react(room, event, "👍").await,
        Send::Redaction => intent.redact(room, event, Some("reason")).await,
    }
}

#[tokio::test]
async fn every_kind_of_event_is_sent_once_when_its_answer_is_lost() {
    for (send, kind, route) in [
        (Send::Custom, "test.kind", "send"),
        (Send::Edit, "m.room.message", "send"),
        (Send::Reaction, "m.reaction", "send"),
        (Send::Redaction, "m.room.redaction", "redact"),
    ] {
        for max_attempts in [1, 3] {
            let world = World::new().await;
            let before = world.count(kind);
            let service = world.builder(max_attempts).await;
            world.homeserver.fail(route, [Fault::LoseAnswer]);
            let first = run(send, &service.intent(user(BOT), "work"), &world).await;
            assert_eq!(first.is_ok(), max_attempts > 1, "{send:?}");
            // Both restart: only what is in the room tells.
            world.homeserver.forget_transaction_ids();
            drop(service);
            let service = world.service().await;
            let again = run(send, &service.intent(user(BOT), "work"), &world)
                .await
                .unwrap();
            assert_eq!(world.count(kind), before + 1, "{send:?}");
            if let Ok(first) = first {
                assert_eq!(first, again, "{send:?}");
            }
            // Other work is another event, but for what can be only once.
            let other = run(send, &service.intent(user(BOT), "other"), &world).await;
            let once = matches!(send, Send::Reaction | Send::Redaction);
            assert_eq!(world.count(kind), before + if once { 1 } else { 2 });
            assert_eq!(other.unwrap() == again, once, "{send:?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_was_redacted_meanwhile_is_not_sent_again() {
    let world = World::new().await;
    let service = world.service().await;
    let say = async || {
        let intent = service.intent(user(BOT), "work");
        intent
            .send_text(&world.room, "not for all eyes")
            .await
            .unwrap()
    };
    let sent = say().await;
    let moderator = service.intent(user(GHOST), "moderation");
    moderator.redact(&world.room, &sent, None).await.unwrap();
    world.homeserver.forget_transaction_ids();
    assert_eq!(say().await, sent);
    assert_eq!(world.count("m.room.message"), 2);
}

#[tokio::test]
async fn a_room_without_an_alias_is_found_by_the_work_that_made_it() {
    let world = World::new().await;
    let service = world.builder(1).await;
    world.homeserver.fail("createRoom", [Fault::LoseAnswer]);
    let room = CreateRoom::new().name("portal");
    let work = service.intent(user(GHOST), "work");
    work.create_room(&room).await.unwrap_err();
    let again = service.intent(user(GHOST), "work");
    let found = again.create_room(&room).await.unwrap();
    assert!(found.was_there);
    assert_eq!(world.homeserver.rooms().len(), 2);
    // The second room of the same work is another one, and so is that of other work.
    assert!(!again.create_room(&room).await.unwrap().was_there);
    let other = service.intent(user(GHOST), "other");
    assert!(!other.create_room(&room).await.unwrap().was_there);
    assert_eq!(world.homeserver.rooms().len(), 4);
}

#[tokio::test]
async fn a_room_is_not_made_twice_by_the_client_itself() {
    let world = World::new().await;
    let service = world.service().await;
    world.homeserver.fail("createRoom", [Fault::LoseAnswer]);
    let work = service.intent(user(GHOST), "work");
    work.create_room(&CreateRoom::new()).await.unwrap_err();
    assert_eq!(world.homeserver.calls_of("createRoom").len(), 1);
}

#[tokio::test]
async fn who_is_known_to_be_in_the_room_costs_no_call() {
    let world = World::new().await;
    let service = world.service().await;
    let ghost = service.intent(user(GHOST), "work");
    ghost.ensure_joined(&world.room).await.unwrap();
    let calls = world.homeserver.calls().len();
    assert_eq!(calls, 2, "one to register, one to join");
    for _ in 0..3 {
        ghost.ensure_joined(&world.room).await.unwrap();
    }
    assert_eq!(world.homeserver.calls().len(), calls);
    // After a restart nothing is known.
    let service = world.service().await;
    let ghost = service.intent(user(GHOST), "work");
    ghost.ensure_joined(&world.room).await.unwrap();
    assert_eq!(world.homeserver.calls().len(), 2 * calls);
}

#[tokio::test]
async fn a_ghost_that_was_wrongly_taken_for_joined_is_brought_back_once() {
    let world = World::new().await;
    let service = world.service().await;
    let ghost = || service.intent(user(GHOST), "work");
    ghost().ensure_joined(&world.room).await.unwrap();
    let leave = || {
        let room = world.room.as_str();
        world.homeserver.set_membership(room, GHOST, "leave");
    };
    leave();
    let work = ghost();
    work.ensure_joined(&world.room).await.unwrap();
    work.send_text(&world.room, "back again").await.unwrap();
    let said = world.homeserver.messages(world.room.as_str());
    assert_eq!(said.last().unwrap().1, "back again");

    // It is removed once more, behind that: nobody asked for it to be there again.
    leave();
    let error = work.send_text(&world.room, "gone").await.unwrap_err();
    assert!(error.is_forbidden());
    let members = world.homeserver.members(world.room.as_str());
    assert_eq!(members[GHOST]["membership"], "leave");
}

#[tokio::test]
async fn a_name_that_is_known_costs_no_call_and_one_that_is_there_is_not_set() {
    let world = World::new().await;
    let service = world.service().await;
    let ghost = service.intent(user(GHOST), "work");
    assert!(ghost.ensure_display_name("Jansen").await.unwrap());
    let calls = world.homeserver.calls().len();
    assert!(!ghost.ensure_display_name("Jansen").await.unwrap());
    assert_eq!(world.homeserver.calls().len(), calls);
    let service = world.service().await;
    let ghost = service.intent(user(GHOST), "work");
    assert!(!ghost.ensure_display_name("Jansen").await.unwrap());
    assert!(ghost.ensure_display_name("Pietersen").await.unwrap());
    assert_eq!(
        ghost
            .profile(user(GHOST))
            .await
            .unwrap()
            .displayname
            .as_deref(),
        Some("Pietersen")
    );
}

#[tokio::test]
async fn power_levels_are_read_once_and_written_only_when_they_change() {
    let world = World::new().await;
    let service = world.service().await;
    let bot = service.intent(user(BOT), "work");
    bot.ensure_joined(&world.room).await.unwrap();
    let levels = bot.power_levels(&world.room).await.unwrap();
    // The room is of version 12: who made it may do everything, and stands nowhere.
    assert!(levels.user_can_ban(user(BOT)) && !levels.user_can_ban(user(GHOST)));
    assert!(!levels.users.contains_key(user(BOT)));
    let calls = world.homeserver.calls().len();
    bot.power_levels(&world.room).await.unwrap();
    assert_eq!(world.homeserver.calls().len(), calls);

    let give = |level: i32| {
        let bot = &bot;
        let room = &world.room;
        async move {
            bot.change_power_levels(room, |levels| {
                levels.users.insert(user(GHOST).to_owned(), level.into());
                // A creator may not stand there: the homeserver would refuse it.
                levels.users.insert(user(BOT).to_owned(), 100.into());
            })
            .await
            .unwrap()
        }
    };
    assert!(give(50).await);
    assert!(!give(50).await);
    let content = world
        .homeserver
        .state(world.room.as_str(), "m.room.power_levels", "")
        .unwrap();
    assert_eq!(content["users"], json!({GHOST: 50}));
    assert_eq!(world.count("m.room.power_levels"), 2);
    let levels = bot.power_levels(&world.room).await.unwrap();
    assert!(
        levels.user_can_ban(user(GHOST)),
        "what was sent is not forgotten"
    );
}

#[tokio::test]
async fn who_is_not_there_any_more_can_leave_and_be_removed() {
    let world = World::new().await;
    let service = world.service().await;
    let (bot, ghost) = (
        service.intent(user(BOT), "work"),
        service.intent(user(GHOST), "work"),
    );
    for _ in 0..2 {
        bot.kick(&world.room, user(GHOST), Some("reason"))
            .await
            .unwrap();
        ghost.leave(&world.room, None).await.unwrap();
        bot.unban(&world.room, user(GHOST), None).await.unwrap();
    }
    for _ in 0..2 {
        bot.ban(&world.room, user(GHOST), None).await.unwrap();
    }
    let error = ghost.ensure_joined(&world.room).await.unwrap_err();
    assert!(error.is_forbidden());
    bot.unban(&world.room, user(GHOST), None).await.unwrap();
    ghost.ensure_joined(&world.room).await.unwrap();
}

#[tokio::test]
async fn a_homeserver_that_speaks_nothing_of_what_is_needed_is_refused() {
    let world = World::new().await;
    let listener = || tokio::net::TcpListener::bind("127.0.0.1:0");
    let service = AppService::builder(
        registration(),
        server(),
        world.homeserver.url(),
        world.journal().await,
    )
    .homeserver_versions(MatrixVersion::V1_16..)
    .build()
    .unwrap();
    let versions = service.client().versions().await.unwrap();
    assert!(versions.any_in(MatrixVersion::V1_11..));
    let router = service.router();
    let error = service
        .run(
            listener().await.unwrap(),
            router,
            CancellationToken::default(),
        )
        .await
        .unwrap_err();
    let AppServiceError::Client(error @ Error::Versions { .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(
        error.to_string(),
        "the homeserver speaks Matrix up to v1.15, and v1.16 or later is needed"
    );
}

#[tokio::test]
async fn what_is_no_id_never_becomes_another_call() {
    let world = World::new().await;
    let service = world.service().await;
    let bot = service.intent(user(BOT), "work");
    let error = bot
        .state(&world.room, "m.room.member", "..")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Request(_)));
    let odd: &EventId = "$../../x?y=z#".try_into().unwrap();
    assert!(bot.redact(&world.room, odd, None).await.is_ok());
    let call = &world.homeserver.calls_of("redact")[0];
    assert_eq!(call.segments[3], odd.as_str());
}
