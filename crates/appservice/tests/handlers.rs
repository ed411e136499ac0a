//! Handlers: who gets which event, as what.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]
#![allow(
    unexpected_cfgs,
    reason = "ruma's derive macro asks for one of its own"
)]

mod common;

use std::sync::{Arc, Mutex};

use common::{Running, homeserver, journal, message, push, registration, server, user};
use matrix_appservice::{
    AppService, Builder, Event, HandlerError, Handlers, Invitation, Journal, Membership, Redaction,
    ruma::events::{
        MessageLikeEvent, OriginalStateEvent, StateEvent,
        macros::EventContent,
        reaction::OriginalReactionEvent,
        room::{
            message::{
                OriginalRoomMessageEvent, RedactedRoomMessageEvent, RoomMessageEventContent,
            },
            redaction::OriginalRoomRedactionEvent,
            topic::RoomTopicEventContent,
        },
    },
    testing::{FakeHomeserver, Fault},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const ROOM: &str = "!room";
const ANNE: &str = "@anne:hs.test";
const GHOST: &str = "@_ghost_bob:hs.test";

#[derive(Clone, Debug, Deserialize, Serialize, EventContent)]
#[ruma_event(type = "test.ticket", kind = MessageLike)]
struct TicketEventContent {
    number: u64,
}

/// What handlers have seen, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) -> std::future::Ready<Result<(), HandlerError>> {
        self.0.lock().unwrap().push(line.into());
        std::future::ready(Ok(()))
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct World {
    folder: tempfile::TempDir,
    homeserver: FakeHomeserver,
    log: Log,
}

impl World {
    async fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            homeserver: homeserver().await,
            log: Log::default(),
        }
    }

    async fn builder(&self) -> Builder {
        let journal = journal(&self.folder).await;
        AppService::builder(registration(), server(), self.homeserver.url(), journal)
    }

    /// Lets these handlers work on these events, to the end.
    async fn handle(&self, handlers: Handlers, events: &[Value]) -> Journal {
        let service = self.builder().await.handlers(handlers).build().unwrap();
        let running = Running::start(service).await;
        let answer = push(&running.router, "1", events).await;
        assert_eq!(answer.status, 200);
        running.idle().await;
        running.stop().await
    }
}

fn event(id: &str, kind: &str, content: &Value) -> Value {
    json!({
        "type": kind, "event_id": id, "room_id": ROOM, "sender": ANNE, "origin_server_ts": 1,
        "content": content,
    })
}

fn with(mut event: Value, more: &Value) -> Value {
    let fields = event.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    event
}

fn state(id: &str, kind: &str, key: &str, content: &Value) -> Value {
    with(event(id, kind, content), &json!({"state_key": key}))
}

fn redacted(event: Value) -> Value {
    let because = json!({
        "type": "m.room.redaction", "event_id": "$because", "sender": ANNE, "room_id": ROOM,
        "origin_server_ts": 2, "redacts": event["event_id"], "content": {}, "unsigned": {},
    });
    // At the top as well, as in the format that application services get.
    let more = json!({
        "content": {}, "unsigned": {"redacted_because": because}, "redacted_because": because,
    });
    with(event, &more)
}

fn edit(id: &str, of: &str, body: &str) -> Value {
    let content = json!({
        "msgtype": "m.text", "body": format!("* {body}"),
        "m.new_content": {"msgtype": "m.text", "body": body},
        "m.relates_to": {"rel_type": "m.replace", "event_id": of},
    });
    event(id, "m.room.message", &content)
}

#[tokio::test]
async fn a_handler_gets_the_events_that_its_argument_asks_for() {
    let world = World::new().await;
    let [tickets, topics, reactions, messages, all] = std::array::from_fn(|_| world.log.clone());
    let handlers = Handlers::new()
        .on(move |_, event: OriginalTicketEvent| {
            tickets.add(format!("ticket {}", event.content.number))
        })
        .on(move |_, event: OriginalStateEvent<RoomTopicEventContent>| {
            topics.add(format!("topic {}", event.content.topic))
        })
        .on_reaction(move |_, event: OriginalReactionEvent| {
            reactions.add(format!("reaction {}", event.content.relates_to.key))
        })
        .on_message(move |_, event: OriginalRoomMessageEvent| {
            messages.add(format!("message {}", event.content.body()))
        })
        .on_event(move |_, event: Event| all.add(format!("event {}", event.event_id())));
    let reaction =
        json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$4", "key": "👍"}});
    let events = [
        event("$1", "test.ticket", &json!({"number": 7})),
        state("$2", "m.room.topic", "", &json!({"topic": "care"})),
        // A topic that is no state, and a message that is.
        event("$3", "m.room.topic", &json!({"topic": "nothing"})),
        state(
            "$4",
            "m.room.message",
            "",
            &json!({"msgtype": "m.text", "body": "nothing"}),
        ),
        event("$5", "m.reaction", &reaction),
        message("$6", ROOM, ANNE, "hello"),
        message("$7", ROOM, GHOST, "own"),
        message("$8", ROOM, "@bot:hs.test", "own"),
        message("$9", ROOM, "@_ghost_bob:elsewhere.test", "not own"),
        with(
            state("$10", "m.room.topic", "", &json!({"topic": "ours"})),
            &json!({"sender": GHOST}),
        ),
    ];
    let journal = world.handle(handlers, &events).await;
    assert_eq!(journal.stats().await.unwrap().dead, 0);
    assert_eq!(
        world.log.lines(),
        [
            "ticket 7",
            "event $1",
            "topic care",
            "event $2",
            "event $3",
            "event $4",
            "reaction 👍",
            "event $5",
            "message hello",
            "event $6",
            "event $7",
            "event $8",
            "message not own",
            "event $9",
            "topic ours",
            "event $10",
        ]
    );
}

#[tokio::test]
async fn what_was_redacted_before_it_came_is_told_apart() {
    let world = World::new().await;
    let [original, gone, both, topic] = std::array::from_fn(|_| world.log.clone());
    let handlers = Handlers::new()
        .on_message(move |_, event| original.add(format!("original {}", event.event_id)))
        .on(move |_, event: RedactedRoomMessageEvent| {
            gone.add(format!("redacted {}", event.event_id))
        })
        .on(move |_, event: MessageLikeEvent<RoomMessageEventContent>| {
            both.add(format!("either {}", event.event_id()))
        })
        .on(move |_, event: StateEvent<RoomTopicEventContent>| {
            topic.add(format!("topic {}", event.as_original().is_some()))
        });
    let events = [
        message("$1", ROOM, ANNE, "hello"),
        redacted(message("$2", ROOM, ANNE, "")),
        state("$3", "m.room.topic", "", &json!({"topic": "care"})),
        redacted(state("$4", "m.room.topic", "", &json!({}))),
    ];
    let journal = world.handle(handlers, &events).await;
    assert_eq!(journal.stats().await.unwrap().dead, 0);
    assert_eq!(
        world.log.lines(),
        [
            "original $1",
            "either $1",
            "redacted $2",
            "either $2",
            "topic true",
            "topic false"
        ]
    );
}

#[tokio::test]
async fn what_one_handler_cannot_read_reaches_the_others_and_is_a_dead_letter() {
    let world = World::new().await;
    let [first, second] = std::array::from_fn(|_| world.log.clone());
    let handlers = Handlers::new()
        .on(move |_, _: OriginalTicketEvent| first.add("never"))
        .on_event(move |_, event| second.add(format!("event {}", event.event_id())));
    let events = [
        event("$1", "test.ticket", &json!({"number": "many"})),
        // Nobody asks for it, so nobody looks at what is in it.
        event("$2", "m.room.message", &json!({"msgtype": 7})),
    ];
    let journal = world.handle(handlers, &events).await;
    assert_eq!(world.log.lines(), ["event $1", "event $2"]);
    let dead = journal.dead_letters(0, 10).await.unwrap();
    let classes: Vec<_> = dead
        .iter()
        .map(|letter| (letter.key.as_deref(), letter.error.as_str()))
        .collect();
    assert_eq!(classes, [(Some("$1"), "test.ticket that can't be read")]);
}

#[tokio::test]
async fn an_edit_is_a_message_unless_it_has_a_handler_of_its_own() {
    let events = [
        message("$1", ROOM, ANNE, "helo"),
        edit("$2", "$1", "hello"),
        with(edit("$3", "$1", "own"), &json!({"sender": GHOST})),
    ];
    let world = World::new().await;
    let messages = world.log.clone();
    let handlers = Handlers::new().on_message(move |_, event| messages.add(event.content.body()));
    world.handle(handlers, &events).await;
    assert_eq!(world.log.lines(), ["helo", "* hello"]);

    let world = World::new().await;
    let [messages, edits] = std::array::from_fn(|_| world.log.clone());
    let handlers = Handlers::new()
        .on_message(move |_, event| messages.add(event.content.body()))
        .on_edit(move |_, edit| {
            edits.add(format!(
                "{} for {}",
                edit.content.msgtype.body(),
                edit.replaces
            ))
        });
    world.handle(handlers, &events).await;
    assert_eq!(world.log.lines(), ["helo", "hello for $1"]);
}

#[tokio::test]
async fn a_redaction_names_its_event_wherever_the_room_version_has_it() {
    let world = World::new().await;
    let [ours, ruma] = std::array::from_fn(|_| world.log.clone());
    let handlers = Handlers::new()
        .on_redaction(move |_, redaction: Redaction| {
            ours.add(format!("{} {:?}", redaction.redacts, redaction.reason))
        })
        .on(move |_, event: OriginalRoomRedactionEvent| ruma.add(event.event_id.as_str()));
    let events = [
        with(
            event("$1", "m.room.redaction", &json!({"reason": "rude"})),
            &json!({"redacts": "$a"}),
        ),
        event("$2", "m.room.redaction", &json!({"redacts": "$b"})),
        with(
            event("$3", "m.room.redaction", &json!({"redacts": "$strange"})),
            &json!({"redacts": "$c"}),
        ),
        event("$4", "m.room.redaction", &json!({})),
    ];
    let journal = world.handle(handlers, &events).await;
    assert_eq!(
        world.log.lines(),
        ["$a Some(\"rude\")", "$1", "$b None", "$2", "$c None", "$3"]
    );
    assert_eq!(journal.stats().await.unwrap().dead, 1);
}

#[tokio::test]
async fn who_comes_and_goes_is_told_with_what_changed() {
    let world = World::new().await;
    let log = world.log.clone();
    let handlers = Handlers::new().on_membership(move |_, member: Membership| {
        log.add(format!(
            "{} {:?}",
            member.user_id.localpart(),
            member.change
        ))
    });
    let member = |id: &str, who: &str, now: &str, before: &Value| {
        let event = state(id, "m.room.member", who, &json!({"membership": now}));
        with(event, &json!({"unsigned": {"prev_content": before}}))
    };
    let events = [
        member("$1", ANNE, "join", &json!({"membership": "invite"})),
        // Where the old format has it.
        with(
            state(
                "$2",
                "m.room.member",
                "@carl:x",
                &json!({"membership": "leave"}),
            ),
            &json!({"prev_content": {"membership": "join"}}),
        ),
        member("$3", ANNE, "leave", &json!({"membership": "join"})),
        // Odd, but somebody is there.
        state(
            "$4",
            "m.room.member",
            GHOST,
            &json!({"membership": "join", "displayname": 7, "avatar_url": null}),
        ),
        redacted(member("$5", ANNE, "join", &json!({}))),
        state(
            "$6",
            "m.room.member",
            "nobody",
            &json!({"membership": "join"}),
        ),
        event("$7", "m.room.member", &json!({"membership": "join"})),
    ];
    let journal = world.handle(handlers, &events).await;
    assert_eq!(
        world.log.lines(),
        [
            "anne Joined",
            "carl Kicked",
            "anne Left",
            "_ghost_bob Joined"
        ]
    );
    // The one without membership and the one without user.
    assert_eq!(journal.stats().await.unwrap().dead, 2);
}

#[tokio::test]
async fn an_invitation_is_told_when_it_is_for_one_of_us() {
    let world = World::new().await;
    let log = world.log.clone();
    let handlers = Handlers::new().on_invitation(move |_, invitation: Invitation| {
        let (who, direct) = (invitation.user_id.localpart(), invitation.is_direct);
        log.add(format!("{who} {direct} {}", invitation.room_state.len()))
    });
    let invite = |id: &str, who: &str, more: &Value| {
        let content = json!({"membership": "invite", "is_direct": true});
        with(state(id, "m.room.member", who, &content), more)
    };
    let name =
        json!({"type": "m.room.name", "state_key": "", "sender": ANNE, "content": {"name": "x"}});
    let events = [
        invite(
            "$1",
            GHOST,
            &json!({"unsigned": {"invite_room_state": [name]}}),
        ),
        invite(
            "$2",
            "@bot:hs.test",
            &json!({"invite_room_state": [name, name]}),
        ),
        invite("$3", ANNE, &json!({})),
        invite("$4", "@_ghost_bob:elsewhere.test", &json!({})),
        state("$5", "m.room.member", GHOST, &json!({"membership": "join"})),
    ];
    let journal = world.handle(handlers, &events).await;
    assert_eq!(world.log.lines(), ["_ghost_bob true 1", "bot true 2"]);
    assert_eq!(journal.stats().await.unwrap().dead, 0);
}

#[tokio::test]
async fn an_answer_is_given_once_in_its_thread_also_when_the_handler_runs_again() {
    let world = World::new().await;
    let room = world.homeserver.make_room("@bot:hs.test", None);
    // The first answer takes effect, and nobody hears of it.
    world.homeserver.fail("send", [Fault::LoseAnswer]);
    let service = world
        .builder()
        .await
        .on_message(|delivery, event| async move {
            assert_eq!(delivery.room_id(), Some(&*event.room_id));
            assert_eq!(delivery.sender(), Some(user(ANNE)));
            delivery
                .reply(format!("heard {}", event.content.body()))
                .await?;
            Ok(())
        })
        .build()
        .unwrap();
    let running = Running::start(service).await;
    let in_thread = json!({
        "msgtype": "m.text", "body": "b", "m.relates_to": {"rel_type": "m.thread", "event_id": "$root"},
    });
    let mut second = event("$2", "m.room.message", &in_thread);
    second["room_id"] = json!(room);
    push(
        &running.router,
        "1",
        &[message("$1", &room, ANNE, "a"), second],
    )
    .await;
    running.idle().await;
    running.stop().await;

    let sent: Vec<_> = world
        .homeserver
        .events(&room)
        .into_iter()
        .filter(|event| event["type"] == "m.room.message")
        .map(|event| event["content"].clone())
        .collect();
    let bodies: Vec<_> = sent.iter().map(|content| &content["body"]).collect();
    assert_eq!(bodies, ["heard a", "heard b"]);
    assert!(sent.iter().all(|content| content["msgtype"] == "m.notice"));
    assert_eq!(
        sent[0]["m.relates_to"],
        json!({"m.in_reply_to": {"event_id": "$1"}})
    );
    assert_eq!(
        sent[1]["m.relates_to"],
        json!({"rel_type": "m.thread", "event_id": "$root", "m.in_reply_to": {"event_id": "$2"}})
    );
}

#[tokio::test]
async fn sets_of_handlers_are_called_in_the_order_in_which_they_were_added() {
    let world = World::new().await;
    let say = |text: &'static str| {
        let log = world.log.clone();
        Handlers::new().on_event(move |_, _| log.add(text))
    };
    let handlers = say("one").and(say("two")).and(say("three"));
    world
        .handle(handlers, &[message("$1", ROOM, ANNE, "")])
        .await;
    assert_eq!(world.log.lines(), ["one", "two", "three"]);
}

#[tokio::test]
async fn an_event_is_read_once_for_all_handlers() {
    let world = World::new().await;
    let place = |delivery: &Event| format!("{:p}", delivery.json());
    let [first, second, third] = std::array::from_fn(|_| world.log.clone());
    let handlers = Handlers::new()
        .on_event(move |_, event| first.add(place(&event)))
        .on_message(move |delivery, _| second.add(place(delivery.event().unwrap())))
        .on_event(move |_, event| third.add(place(&event)));
    world
        .handle(handlers, &[message("$1", ROOM, ANNE, "")])
        .await;
    let mut places = world.log.lines();
    assert_eq!(places.len(), 3);
    places.dedup();
    assert_eq!(places.len(), 1);
}
