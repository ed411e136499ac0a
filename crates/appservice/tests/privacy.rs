//! Secrets and people stay inside: canary values go through everything, and nothing of them comes out
//! in a log at any level, in an error, or in a `Debug`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::io;

use axum::{body::Body, http::Request};
use common::{Running, call, homeserver, journal, message, push, request, server, user};
use matrix_appservice::{
    AppService, CreateRoom, Event, HandlerError, Invite, Journal, MATRIX, Message, NewEntry,
    Registration, Retry, RetryPolicy, StateEvent,
    ruma::{OwnedRoomId, RoomId},
    testing::{CapturedLog, FakeHomeserver, Fault},
};
use serde_json::{Value, json};

const GHOST: &str = "@_ghost_1:hs.test";

fn state(canary: &str) -> StateEvent {
    StateEvent {
        kind: "test.kind".to_owned(),
        state_key: String::new(),
        content: json!({"name": canary}),
    }
}

/// Says and asks for all that can be said and asked for.
async fn act(delivery: &matrix_appservice::Delivery, room: &RoomId) -> Result<(), HandlerError> {
    let ghost = delivery.intent(user(GHOST));
    ghost.set_display_name("canary-display-name").await?;
    ghost
        .create_room(
            &CreateRoom::new()
                .alias("_portal_1")
                .name("canary-room-name")
                .initial_state(state("canary-initial-state")),
        )
        .await?;
    let invite =
        Invite::new(user("@arts:elsewhere.test")).with("test.name", json!("canary-invitation"));
    ghost.invite(room, &invite).await?;
    ghost.ensure_state(room, &state("canary-state")).await?;
    ghost.send_text(room, "canary-answer").await?;
    ghost
        .send(
            room,
            Message::notice("canary-notice").with("key", json!("canary-key")),
        )
        .await?;
    Ok(())
}

fn service(homeserver: &FakeHomeserver, journal: Journal, room: &str) -> AppService {
    let room: OwnedRoomId = room.try_into().unwrap();
    AppService::builder(common::registration(), server(), homeserver.url(), journal)
        .retry_policy(RetryPolicy {
            give_up_after: std::time::Duration::ZERO,
            max_attempts: 2,
            first_pause: std::time::Duration::ZERO,
            ..RetryPolicy::default()
        })
        .accept_invitations()
        .on_message(move |delivery, event| {
            let room = room.clone();
            async move {
                act(&delivery, &room).await?;
                match event.content.body() {
                    "canary-panic" => std::panic::resume_unwind(Box::new("canary-panic-message")),
                    "canary-failure" => Err(io::Error::other("canary-error").into()),
                    "canary-json" => {
                        let number: u32 = serde_json::from_value(json!("canary-value"))?;
                        Err(HandlerError::new(format!("{number}"), Retry::Never))
                    }
                    _ => Ok(()),
                }
            }
        })
        .on_entry("test", |_| async {
            Err(io::Error::other("canary-entry").into())
        })
        .on_user_query(|_, _| async { Err(io::Error::other("canary-query").into()) })
        .build()
        .unwrap()
}

fn events() -> Vec<Value> {
    let text = |nth: usize, body: &str| {
        message(
            &format!("${nth}"),
            &format!("!room{nth}"),
            "@arts:hs.test",
            body,
        )
    };
    let mut events: Vec<_> = [
        "canary-text",
        "canary-panic",
        "canary-failure",
        "canary-json",
    ]
    .into_iter()
    .enumerate()
    .map(|(nth, body)| text(nth, body))
    .collect();
    let mut no_body = text(10, "x");
    no_body["content"] = json!({"msgtype": "m.text", "canary-field": "canary-value"});
    let mut wrong_body = text(11, "x");
    wrong_body["content"] = json!({"msgtype": "m.text", "body": ["canary-list"]});
    let mut no_sender = text(12, "canary-senderless");
    no_sender["sender"] = json!("canary-no-sender");
    let mut no_room = text(13, "canary-roomless");
    no_room["room_id"] = json!({"canary-room": 1});
    let member = json!({
        "type": "m.room.member", "event_id": "$14", "room_id": "!room14", "sender": "@arts:hs.test",
        "state_key": "@bot:hs.test", "content": {
            "membership": "invite", "displayname": "canary-member", "reason": "canary-reason",
        },
    });
    events.extend([no_body, wrong_body, no_sender, no_room, member]);
    events.extend([
        json!("canary-string"),
        json!({"canary-key": "canary-value"}),
    ]);
    events
}

#[tokio::test]
async fn nothing_of_secrets_and_people_is_in_any_log() {
    let log = CapturedLog::start();
    let folder = tempfile::tempdir().unwrap();
    let homeserver = homeserver().await;
    homeserver.register(GHOST);
    let room = homeserver.make_room(GHOST, None);
    let service = Running::start(service(&homeserver, journal(&folder).await, &room)).await;

    let refusal = json!({"errcode": "canary code", "error": "canary-refusal"});
    homeserver.fail(
        "send",
        [
            Fault::LoseAnswer,
            Fault::Refuse(403, refusal.clone()),
            Fault::Refuse(502, json!("canary-page")),
            Fault::Refuse(200, json!("canary-no-answer")),
        ],
    );
    homeserver.fail("createRoom", [Fault::Refuse(500, refusal)]);
    assert!(
        push(&service.router, "1", &events())
            .await
            .status
            .is_success()
    );
    let path = "/_matrix/app/v1/transactions/2";
    for body in [
        r#"{"events":["canary-broken""#,
        r#"{"events":"canary-events"}"#,
        "canary",
    ] {
        call(&service.router, request("PUT", path, body)).await;
    }
    for uri in [
        "/_matrix/app/v1/users/@_ghost_canary:hs.test",
        "/_matrix/app/v1/users/@_ghost_canary:hs.test?access_token=canary-wrong-token",
        "/_matrix/app/v1/users/canary%FF",
        "/_matrix/app/v1/rooms/%23_portal_canary:hs.test",
        "/canary?canary=canary",
    ] {
        call(&service.router, request("GET", uri, "")).await;
        let wrong = Request::get(uri).header("authorization", "Bearer canary-wrong-token");
        call(&service.router, wrong.body(Body::empty()).unwrap()).await;
    }
    let entry = NewEntry::new("test", "1", "lane", b"canary-payload".to_vec());
    service.journal.append(&[entry], None).await.unwrap();
    service.idle().await;

    let dead = service.journal.dead_letters(0, 100).await.unwrap();
    assert!(dead.len() > 8, "{dead:#?}");
    assert!(!format!("{dead:?}").contains("canary"), "{dead:#?}");
    assert!(!homeserver.messages(&room).is_empty());
    service.stop().await;

    let text = log.text();
    assert!(text.contains("dead letter"));
    // sqlx is not heard at all: the journal switches its log of statements off.
    for target in ["TRACE", "hyper", "reqwest"] {
        assert!(text.contains(target), "nothing of {target} was collected");
    }
    log.assert_without(&["anary"]);
}

#[tokio::test]
async fn debug_shows_nothing_of_secrets_and_people() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let homeserver = "http://127.0.0.1:9".parse().unwrap();
    let registration = Registration::parse(
        "{id: test, url: null, as_token: canary-as-token-of-some-length, \
         hs_token: canary-hs-token-of-some-length, sender_localpart: bot, namespaces: {}, \
         hs-token: canary-misspelt, old: {deep: canary-deep}}",
    )
    .unwrap();
    let mut shown = vec![
        format!("{registration:?} {registration:#?}"),
        format!("{:?}", registration.as_token),
    ];
    let service = AppService::builder(registration, server(), homeserver, journal.clone())
        .build()
        .unwrap();
    shown.push(format!("{:?}", service.client()));
    shown.push(format!("{:?}", service.intent(user(GHOST), "work")));
    let event = message("$1", "!a", "@arts:hs.test", "canary-body").to_string();
    shown.push(format!("{:?}", Event::parse(event.as_bytes()).unwrap()));
    let entry = NewEntry::new(MATRIX, "$1", "!a", b"canary-payload".to_vec());
    shown.push(format!("{entry:?} {journal:?}"));
    shown.push(format!(
        "{:?}",
        Message::text("canary-text").with("a", json!("canary"))
    ));
    shown.push(format!("{:?}", state("canary-state")));
    let room = CreateRoom::new()
        .name("canary-room")
        .invite([user("@canary:hs.test").to_owned()])
        .initial_state(state("canary-state"));
    shown.push(format!("{room:?}"));
    let error: HandlerError = io::Error::other("canary-error").into();
    shown.push(format!("{error:?} {}", error.class()));
    for shown in shown {
        assert!(!shown.contains("anary"), "{shown}");
    }
}
