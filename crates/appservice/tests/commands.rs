//! Commands that people type.

#![cfg(feature = "commands")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Running, homeserver, journal, message, push, registration, server, user};
use matrix_appservice::{
    AppService, HandlerError, Handlers, Message, RetryPolicy, Stats,
    commands::{CommandError, Commands, Permission, Rest},
    ruma::{OwnedRoomId, OwnedUserId, RoomId},
    testing::{FakeHomeserver, Fault},
};
use proptest::prelude::*;
use serde_json::{Value, json};

const BOT: &str = "@bot:hs.test";
const ANNE: &str = "@anne:hs.test";
const BOB: &str = "@bob:elsewhere.test";

struct World {
    folder: tempfile::TempDir,
    homeserver: FakeHomeserver,
    /// Anne made it, and the bot is in it.
    room: String,
}

impl World {
    async fn new() -> Self {
        let homeserver = homeserver().await;
        let room = homeserver.make_room(ANNE, None);
        homeserver.set_membership(&room, BOT, "join");
        Self {
            folder: tempfile::tempdir().unwrap(),
            homeserver,
            room,
        }
    }

    async fn run(&self, handlers: Handlers) -> Running {
        let service = AppService::builder(
            registration(),
            server(),
            self.homeserver.url(),
            journal(&self.folder).await,
        )
        .handlers(handlers)
        .retry_policy(RetryPolicy {
            first_pause: Duration::from_millis(1),
            ..RetryPolicy::default()
        })
        .build()
        .unwrap();
        Running::start(service).await
    }

    /// What people type, each as sender and text, worked off to the end.
    async fn typed(&self, commands: Commands, typed: &[(&str, &str)]) -> Stats {
        let running = self.run(Handlers::new().commands(commands)).await;
        self.push(&running, typed).await;
        running.stop().await.stats().await.unwrap()
    }

    async fn push(&self, running: &Running, typed: &[(&str, &str)]) {
        let events: Vec<_> = typed
            .iter()
            .enumerate()
            .map(|(nth, (sender, body))| message(&format!("$typed{nth}"), &self.room, sender, body))
            .collect();
        push(&running.router, "1", &events).await;
        running.idle().await;
    }

    /// What the bot answered.
    fn answers(&self) -> Vec<String> {
        let messages = self.homeserver.messages(&self.room);
        let own = messages.into_iter().filter(|(sender, _)| sender == BOT);
        own.map(|(_, body)| body).collect()
    }

    fn room_id(&self) -> OwnedRoomId {
        RoomId::parse(&self.room).unwrap()
    }
}

fn bridge() -> Commands {
    Commands::new("!bridge")
        .command(
            "link <room> <channel>",
            "Connects a room with a channel.",
            |_, (room, channel): (OwnedRoomId, String)| async move {
                Ok(format!("{room} is {channel}"))
            },
        )
        .command(
            "Say <text>",
            "Says it again.",
            |call, (Rest(text),): (Rest,)| async move {
                Ok(Message::text(format!("{} says {text}", call.sender())))
            },
        )
        .command("nothing", "Does nothing.", |_, ()| async { Ok(()) })
}

#[tokio::test]
async fn a_command_is_found_and_its_arguments_are_read() {
    let world = World::new().await;
    let stats = world
        .typed(
            bridge(),
            &[
                (ANNE, r#"!bridge link !r "two words""#),
                (ANNE, "  !bridge   SAY it is  so "),
                (ANNE, "!bridge nothing"),
                (ANNE, "!bridge link nowhere"),
                (ANNE, "!bridge link"),
                (ANNE, "!bridge nothing else"),
                (ANNE, "!bridge lnik !r x"),
                (ANNE, "!bridge lin !r x"),
                // No commands.
                (ANNE, "!bridges link !r x"),
                (ANNE, "about !bridge link !r x"),
                (BOT, "!bridge link !r own"),
                ("@_ghost_a:hs.test", "!bridge link !r own"),
            ],
        )
        .await;
    assert_eq!(stats.dead, 0);
    assert_eq!(
        world.answers(),
        [
            "!r is two words",
            "@anne:hs.test says it is  so",
            "“nowhere” is not a room id, which begins with !.\nUsage: !bridge link <room> <channel>",
            "Something is missing: a room id, which begins with !.\nUsage: !bridge link <room> <channel>",
            "That is more than I can use.\nUsage: !bridge nothing",
            "There is no command “lnik”. “!bridge help” lists them.",
            "There is no command “lin”. Did you mean “link”? “!bridge help” lists them.",
        ]
    );
    let answers: Vec<_> = world
        .homeserver
        .events(&world.room)
        .into_iter()
        .filter(|event| event["sender"] == BOT && event["type"] == "m.room.message")
        .map(|event| event["content"].clone())
        .collect();
    assert_eq!(answers[0]["msgtype"], "m.notice");
    assert_eq!(answers[1]["msgtype"], "m.text");
    assert_eq!(
        answers[0]["m.relates_to"],
        json!({"m.in_reply_to": {"event_id": "$typed0"}})
    );
}

#[tokio::test]
async fn help_lists_what_the_person_may_use() {
    let world = World::new().await;
    let commands = bridge().command_for(
        Permission::power_level(100),
        "stop",
        "Stops everything.",
        |_, ()| async { Ok(()) },
    );
    let typed = [
        (ANNE, "!bridge help stop"),
        (BOB, "!bridge help stop"),
        (BOB, "!bridge"),
        (BOB, "!bridge HELP Link"),
    ];
    world.typed(commands, &typed).await;
    assert_eq!(
        world.answers(),
        [
            "!bridge stop: Stops everything.",
            "!bridge help [command]: Shows this.",
            "!bridge link <room> <channel>: Connects a room with a channel.\n\
             !bridge Say <text>: Says it again.\n!bridge nothing: Does nothing.\n\
             !bridge help [command]: Shows this.",
            "!bridge link <room> <channel>: Connects a room with a channel.",
        ]
    );
}

#[tokio::test]
async fn who_may_not_is_told_so_and_nothing_runs() {
    let world = World::new().await;
    let ran: Arc<Mutex<Vec<String>>> = Arc::default();
    let run = || {
        let ran = ran.clone();
        move |call: matrix_appservice::commands::Invocation, ()| {
            let who = call.sender().localpart().to_owned();
            ran.lock().unwrap().push(who);
            async { Ok(()) }
        }
    };
    let bob: OwnedUserId = user(BOB).to_owned();
    let commands = Commands::new("!b")
        .allow(Permission::power_level(50))
        .command("level", "", run())
        .command_for(Permission::users([bob]), "list", "", run())
        .command_for(
            Permission::try_matching(r"@.*:elsewhere\.test").unwrap(),
            "pattern",
            "",
            run(),
        );
    let typed = [
        (ANNE, "!b level"),
        (BOB, "!b level"),
        (ANNE, "!b list"),
        (BOB, "!b list"),
        (ANNE, "!b pattern"),
        (BOB, "!b pattern"),
    ];
    world.typed(commands, &typed).await;
    assert_eq!(*ran.lock().unwrap(), ["anne", "bob", "bob"]);
    assert_eq!(world.answers(), ["You may not do that here."; 3]);
}

#[tokio::test]
async fn a_command_is_no_message_and_in_other_rooms_it_is() {
    let world = World::new().await;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (messages, events) = (seen.clone(), seen.clone());
    let handlers = Handlers::new()
        .on_message(move |_, event| {
            messages
                .lock()
                .unwrap()
                .push(event.content.body().to_owned());
            async { Ok(()) }
        })
        .on_event(move |_, event| {
            events.lock().unwrap().push(event.event_id().to_string());
            async { Ok(()) }
        })
        .commands(bridge().only_in([world.room_id()]));
    let running = world.run(handlers).await;
    push(
        &running.router,
        "1",
        &[
            message("$1", &world.room, ANNE, "!bridge nothing"),
            message("$2", &world.room, ANNE, "hello"),
        ],
    )
    .await;
    running.idle().await;
    push(
        &running.router,
        "2",
        &[message("$3", "!elsewhere", ANNE, "!bridge nothing")],
    )
    .await;
    running.idle().await;
    running.stop().await;
    assert_eq!(
        *seen.lock().unwrap(),
        ["$1", "hello", "$2", "!bridge nothing", "$3"]
    );
    assert!(world.answers().is_empty());
}

#[tokio::test]
async fn in_a_direct_chat_the_prefix_may_be_left_out_until_somebody_joins() {
    let world = World::new().await;
    let handlers = Handlers::new().commands(bridge().without_prefix_in_direct_chats());
    let running = world.run(handlers).await;
    let say = async |id: &str, text: &str| {
        push(&running.router, id, &[message(id, &world.room, ANNE, text)]).await;
        running.idle().await;
    };
    say("$1", "say one").await;
    say("$2", "!bridge say two").await;
    let looks = || world.homeserver.calls_of("joined_members").len();
    assert_eq!(looks(), 1, "who is there is asked once");
    world.homeserver.set_membership(&world.room, BOB, "join");
    let joined = json!({
        "type": "m.room.member", "event_id": "$3", "room_id": world.room, "sender": BOB,
        "state_key": BOB, "origin_server_ts": 1, "content": {"membership": "join"},
    });
    push(&running.router, "$3", &[joined]).await;
    running.idle().await;
    say("$4", "say three").await;
    say("$5", "!bridge say four").await;
    running.stop().await;
    assert_eq!(
        world.answers(),
        ["one", "two", "four"].map(|text| format!("{ANNE} says {text}"))
    );
    assert_eq!(looks(), 2);
}

#[tokio::test]
async fn an_error_is_answered_without_its_words_and_the_entry_is_done() {
    let world = World::new().await;
    let commands = Commands::new("!b")
        .command("say", "", |_, ()| async {
            Err::<(), _>(CommandError::say("There is no such channel."))
        })
        .command("fail", "", |_, ()| async {
            Err::<(), _>(io::Error::other("canary of the inside").into())
        })
        .command("never", "", |_, ()| async {
            Err::<(), _>(HandlerError::never("a class").into())
        });
    let typed = [(ANNE, "!b say"), (ANNE, "!b fail"), (ANNE, "!b never")];
    let stats = world.typed(commands, &typed).await;
    assert_eq!((stats.dead, stats.done), (0, 3));
    assert_eq!(
        world.answers(),
        [
            "There is no such channel.",
            "That did not work. The log has more about it, at entry 2.",
            "That did not work. The log has more about it, at entry 3.",
        ]
    );
}

#[tokio::test]
async fn a_command_runs_again_only_when_a_peer_was_away() {
    let world = World::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let commands = Commands::new("!b").command("call", "", move |_, ()| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                return Err(HandlerError::after("a pause", Duration::from_millis(1)).into());
            }
            Ok("done")
        }
    });
    let running = world.run(Handlers::new().commands(commands)).await;
    world.push(&running, &[(ANNE, "!b call")]).await;
    // The homeserver repeats itself.
    world.push(&running, &[(ANNE, "!b call")]).await;
    running.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!(world.answers(), ["done"]);
}

#[tokio::test]
async fn an_answer_that_may_not_be_sent_is_let_go() {
    let world = World::new().await;
    let forbidden = json!({"errcode": "M_FORBIDDEN"});
    world
        .homeserver
        .fail("send", [Fault::Refuse(403, forbidden)]);
    let typed = [(ANNE, "!bridge say a"), (ANNE, "!bridge say b")];
    let stats = world.typed(bridge(), &typed).await;
    assert_eq!((stats.dead, stats.done), (0, 2));
    assert_eq!(world.answers(), ["@anne:hs.test says b"]);
}

#[test]
fn whatever_is_typed_makes_no_dead_letter() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    let running = runtime.block_on(world.run(Handlers::new().commands(bridge())));
    let next = AtomicUsize::new(0);
    proptest!(ProptestConfig::with_cases(40), |(texts in prop::collection::vec(r#"!bridge (link|say|help|nothing|\PC{0,8})?[ "\\“]{0,3}\PC{0,40}"#, 5))| {
        let events: Vec<Value> = texts.iter().map(|text| {
            let nth = next.fetch_add(1, Ordering::SeqCst);
            message(&format!("$any{nth}"), &world.room, ANNE, text)
        }).collect();
        runtime.block_on(push(&running.router, "1", &events));
    });
    runtime.block_on(running.idle());
    let journal = runtime.block_on(running.stop());
    let stats = runtime.block_on(journal.stats()).unwrap();
    assert_eq!((stats.dead, stats.waiting), (0, 0));
}
