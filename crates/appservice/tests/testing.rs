//! The homeserver in miniature does what real ones do, and the assertions notice what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, put},
};
use matrix_appservice::{
    AppService, ClientConfig, HandlerError, Registration, Retry,
    ruma::{RoomId, UserId, api::client::account::register, server_name, user_id},
    testing::{FakeHomeserver, Fault, Handled, Running, TempJournal, assert_nothing_left},
};
use serde_json::{Value, json};

const RECORDED: &str = include_str!("fixtures/synapse-transactions.jsonl");
const BOT: &str = "@bot:hs.test";
const GHOST: &str = "@_ghost_1:hs.test";

fn ghost_id() -> &'static UserId {
    user_id!("@_ghost_1:hs.test")
}

fn registration() -> Registration {
    Registration::parse(
        r##"
id: test
url: null
as_token: an-as-token-of-some-length
hs_token: an-hs-token-of-some-length
sender_localpart: bot
receive_ephemeral: true
namespaces:
  users: [{exclusive: true, regex: "@_ghost_.*"}]
  aliases: [{exclusive: true, regex: "#_portal_.*"}]
"##,
    )
    .unwrap()
}

async fn homeserver() -> FakeHomeserver {
    FakeHomeserver::start(server_name!("hs.test"), &registration()).await
}

/// An application service that writes down what it gets and answers as it is told.
#[derive(Clone, Default)]
struct Stub {
    bodies: Arc<Mutex<Vec<(String, Value)>>>,
    asked: Arc<Mutex<Vec<String>>>,
    refuses: Arc<AtomicBool>,
}

impl Stub {
    fn connect(homeserver: &FakeHomeserver) -> Self {
        let stub = Self::default();
        let take = async |State(stub): State<Self>, Path(id), Json(body)| stub.take(id, body);
        let ask = async |State(stub): State<Self>, Path(id)| {
            stub.asked.lock().unwrap().push(id);
            StatusCode::NOT_FOUND
        };
        let router = Router::new()
            .route("/_matrix/app/v1/transactions/{id}", put(take))
            .route("/_matrix/app/v1/users/{id}", get(ask))
            .with_state(stub.clone());
        homeserver.connect_router(router);
        stub
    }

    fn take(&self, id: String, body: Value) -> (StatusCode, Json<Value>) {
        self.bodies.lock().unwrap().push((id, body));
        let status = if self.refuses.load(Ordering::SeqCst) {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        (status, Json(json!({})))
    }

    /// The transactions since the last look.
    fn took(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.bodies.lock().unwrap())
    }

    /// For each transaction since the last look: its id, how many events, how many ephemeral ones.
    fn sizes(&self) -> Vec<(String, usize, usize)> {
        let size = |list: &Value| list.as_array().map_or(0, Vec::len);
        self.took()
            .into_iter()
            .map(|(id, body)| (id, size(&body["events"]), size(&body["ephemeral"])))
            .collect()
    }

    fn refuse(&self, yes: bool) {
        self.refuses.store(yes, Ordering::SeqCst);
    }
}

fn sizes(expected: &[(&str, usize, usize)]) -> Vec<(String, usize, usize)> {
    let owned =
        |(id, events, ephemeral): &(&str, usize, usize)| ((*id).to_owned(), *events, *ephemeral);
    expected.iter().map(owned).collect()
}

/// All that is set in a value, by path.
fn shape(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                shape(value, &format!("{path}.{key}"), into);
            }
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

fn shape_of(event: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    shape(event, "", &mut paths);
    // What a test says, and what Synapse says of the state of a room, differ.
    paths.retain(|path| !path.contains("invite_room_state") && !path.contains("content."));
    paths
}

fn recorded(name: &str) -> Value {
    let line = RECORDED
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["name"] == name)
        .unwrap();
    line["body"]["events"][0].clone()
}

#[tokio::test]
async fn events_are_pushed_in_the_form_that_synapse_gives_them() {
    let homeserver = homeserver().await;
    let stub = Stub::connect(&homeserver);
    let anna = homeserver.person("anna");
    let zuster = homeserver.person("@zuster:elsewhere.test");
    let room = anna.makes_room();
    homeserver.register(GHOST);
    homeserver.person(GHOST).joins(&room);
    assert!(homeserver.deliver().await);
    stub.took();

    let said = anna.says(&room, "Hallo");
    anna.sets_state(&room, "m.room.topic", "", json!({"topic": "eerst"}));
    anna.sets_state(&room, "m.room.topic", "", json!({"topic": "dan"}));
    anna.invites(&room, zuster.id());
    zuster.joins(&room);
    zuster.says(&room, "Ook hallo");
    anna.redacts(&room, &said);
    anna.reacts(&room, &said, "👍");
    anna.kicks(&room, ghost_id());
    assert!(homeserver.deliver().await);
    let took = stub.took();
    let pushed = took[0].1["events"].as_array().unwrap();
    for (nth, name) in [
        (0, "redelivered message that was redacted in between"),
        (2, "topic change"),
        (4, "federated user joins"),
        (5, "message from a federated user"),
        (6, "redaction of the reaction"),
        (7, "reaction"),
        (8, "kick of a ghost"),
    ] {
        assert_eq!(shape_of(&pushed[nth]), shape_of(&recorded(name)), "{name}");
    }
    assert!(pushed[3]["invite_room_state"].is_array());
    assert!(pushed[3]["unsigned"]["invite_room_state"].is_array());
    assert_eq!(pushed[0]["content"], json!({}), "it is pushed as it is now");
    assert!(!room.as_str().contains(':'), "version 12: {room}");
}

#[tokio::test]
async fn a_try_that_failed_comes_again_with_less_and_blocks_what_follows() {
    let homeserver = homeserver().await;
    let stub = Stub::connect(&homeserver);
    let anna = homeserver.person("anna");
    let room = anna.makes_room();
    anna.invites(&room, user_id!("@bot:hs.test"));
    homeserver.sender().joins(&room);
    assert!(homeserver.deliver().await);
    stub.took();

    stub.refuse(true);
    let said = anna.says(&room, "1");
    anna.says(&room, "2");
    anna.types(&room);
    anna.reads(&room, &said);
    assert!(!homeserver.deliver().await);
    anna.says(&room, "3");
    anna.says(&room, "4");
    anna.stops_typing(&room);
    assert_eq!(homeserver.next_pause(), Duration::from_secs(2));
    assert!(!homeserver.deliver().await);
    assert_eq!(homeserver.next_pause(), Duration::from_secs(4));
    assert_eq!(homeserver.unacknowledged(), 4);
    let tries = stub.took();
    assert_eq!(tries[0].0, "2");
    assert_eq!(tries[0].1["ephemeral"].as_array().unwrap().len(), 2);
    assert_eq!(tries[1].0, "2");
    assert_eq!(tries[1].1["ephemeral"], json!([]));
    let ids = |body: &Value| -> Vec<Value> {
        let events = body["events"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["event_id"].clone())
            .collect()
    };
    assert_eq!(ids(&tries[0].1), ids(&tries[1].1));
    assert_ne!(
        tries[0].1["events"][0]["age"],
        tries[1].1["events"][0]["age"]
    );

    stub.refuse(false);
    assert!(homeserver.deliver().await);
    let expected = [("2", 2, 0), ("3", 1, 0), ("4", 1, 0)];
    assert_eq!(stub.sizes(), sizes(&expected));
    assert_eq!(homeserver.next_pause(), Duration::ZERO);
    for nth in 0..250 {
        anna.says(&room, &nth.to_string());
    }
    assert!(homeserver.deliver().await);
    let expected = [("5", 100, 0), ("6", 100, 0), ("7", 50, 0)];
    assert_eq!(stub.sizes(), sizes(&expected));
}

#[tokio::test]
async fn a_transaction_can_come_again_and_its_id_with_other_events() {
    let homeserver = homeserver().await;
    let stub = Stub::connect(&homeserver);
    let anna = homeserver.person("anna");
    let room = anna.makes_room();
    homeserver.sender().joins(&room);
    anna.says(&room, "1");
    homeserver.lose_acks(1);
    assert!(!homeserver.deliver().await);
    assert!(homeserver.deliver().await);
    homeserver.push_again().await;
    homeserver.push_again_with_another_id().await;
    homeserver.reset_transaction_ids();
    anna.says(&room, "2");
    assert!(homeserver.deliver().await);
    let ids: Vec<_> = stub.took().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["1", "1", "1", "2", "1"]);
}

#[tokio::test]
async fn after_a_restart_nothing_comes_until_something_happens() {
    let homeserver = homeserver().await;
    let stub = Stub::connect(&homeserver);
    let anna = homeserver.person("anna");
    let room = anna.makes_room();
    homeserver.sender().joins(&room);
    anna.sets_state(&room, "m.room.topic", "", json!({"topic": "1"}));
    assert!(homeserver.deliver().await);
    stub.refuse(true);
    anna.sets_state(&room, "m.room.topic", "", json!({"topic": "2"}));
    assert!(!homeserver.deliver().await);
    stub.refuse(false);
    stub.took();

    homeserver.restart();
    assert!(!homeserver.deliver().await);
    assert_eq!(stub.took(), []);
    anna.says(&room, "x");
    assert!(homeserver.deliver().await);
    let took = stub.took();
    assert_eq!((took[0].0.as_str(), took[1].0.as_str()), ("2", "3"));
    let topic = &took[0].1["events"][0];
    let member = recorded("member event redelivered after a restart of Synapse");
    assert_eq!(shape_of(topic), shape_of(&member));
}

#[tokio::test]
async fn only_what_interests_the_application_service_is_pushed() {
    let homeserver = homeserver().await;
    let stub = Stub::connect(&homeserver);
    let anna = homeserver.person("anna");
    let elsewhere = anna.makes_room();
    anna.says(&elsewhere, "not your business");
    assert!(homeserver.deliver().await);
    assert_eq!(stub.took(), []);
    // An invitation of a user who isn't there yet: it is asked for first.
    anna.invites(&elsewhere, ghost_id());
    assert!(homeserver.deliver().await);
    assert_eq!(stub.asked.lock().unwrap().clone(), [GHOST]);
    assert_eq!(stub.sizes(), sizes(&[("1", 1, 0)]));
    let portal = anna.makes_room_with(&json!({"room_alias_name": "_portal_1"}));
    assert!(homeserver.deliver().await);
    stub.took();
    anna.says(&portal, "your business");
    assert!(homeserver.deliver().await);
    assert_eq!(stub.sizes(), sizes(&[("3", 1, 0)]));
}

/// One whose calls are made once, so that their errors are seen.
async fn service(homeserver: &FakeHomeserver, place: &TempJournal) -> AppService {
    let once = ClientConfig {
        max_attempts: 1,
        longest_wait: Duration::ZERO,
        ..ClientConfig::default()
    };
    let builder = homeserver.builder(place.open().await).client_config(once);
    builder.build().unwrap()
}

#[tokio::test]
async fn a_held_answer_comes_when_it_is_released_and_the_call_has_taken_effect() {
    let (homeserver, place) = (homeserver().await, TempJournal::new());
    let service = service(&homeserver, &place).await;
    let ghost = service.intent(ghost_id(), "work");
    let held = homeserver.hold("register");
    let call = ghost.ensure_registered();
    tokio::pin!(call);
    tokio::select! {
        () = held.reached() => {}
        _ = &mut call => panic!("answered"),
    }
    held.release();
    call.await.unwrap();
    assert_eq!(homeserver.calls_of("register").len(), 1);
}

/// Sends past the intents, which would wait. Returns the status and how long to wait, in ms.
async fn send(homeserver: &FakeHomeserver, room: &RoomId, user: &str) -> (u16, Option<u64>) {
    let path = format!("_matrix/client/v3/rooms/{room}/send/m.room.message/{user}");
    let call = reqwest::Client::new()
        .put(homeserver.url().join(&path).unwrap())
        .query(&[("user_id", user)])
        .bearer_auth("an-as-token-of-some-length")
        .json(&json!({"msgtype": "m.text", "body": "x"}));
    let answer = call.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["retry_after_ms"].as_u64())
}

#[tokio::test]
async fn rate_limits_are_for_a_user_and_a_kind_of_call() {
    let homeserver = homeserver().await;
    // Sets up the crypto provider that HTTP clients need.
    service(&homeserver, &TempJournal::new()).await;
    let room = homeserver.person("anna").makes_room();
    for user in [BOT, GHOST] {
        homeserver.person(user).joins(&room);
    }
    homeserver.limit_rate("send", Some(GHOST), Some(Duration::from_millis(1500)));
    for _ in 0..2 {
        assert_eq!(send(&homeserver, &room, GHOST).await, (429, Some(1500)));
        assert_eq!(send(&homeserver, &room, BOT).await, (200, None));
    }
    homeserver.lift_rate_limits();
    assert_eq!(send(&homeserver, &room, GHOST).await, (200, None));
    homeserver.fail_for(BOT, "send", [Fault::limited(None)]);
    assert_eq!(send(&homeserver, &room, GHOST).await, (200, None));
    assert_eq!(send(&homeserver, &room, BOT).await, (429, None));
    assert_eq!(send(&homeserver, &room, BOT).await, (200, None));
}

#[tokio::test]
async fn a_homeserver_that_is_down_does_nothing_and_comes_back() {
    let (homeserver, place) = (homeserver().await, TempJournal::new());
    let service = service(&homeserver, &place).await;
    let ghost = service.intent(ghost_id(), "work");
    homeserver.go_down();
    let error = ghost.ensure_registered().await.unwrap_err();
    assert_eq!(error.retry(), Retry::WhenAvailable);
    assert!(homeserver.turned_away() > 0);
    assert!(homeserver.calls().is_empty());
    homeserver.come_back();
    ghost.ensure_registered().await.unwrap();
}

#[tokio::test]
async fn with_mas_a_login_is_refused_and_the_user_made_all_the_same() {
    let (homeserver, place) = (homeserver().await, TempJournal::new());
    homeserver.use_mas();
    let service = service(&homeserver, &place).await;
    let client = service.client();
    let register = |inhibit_login: bool| {
        let mut request = register::v3::Request::new();
        request.username = Some(ghost_id().localpart().to_owned());
        request.login_type = Some(register::LoginType::ApplicationService);
        request.inhibit_login = inhibit_login;
        client.send(client.sender(), request)
    };
    let error = register(false).await.unwrap_err();
    assert!(error.is("M_APPSERVICE_LOGIN_UNSUPPORTED"), "{error}");
    let error = register(true).await.unwrap_err();
    assert!(error.is("M_USER_IN_USE"), "{error}");
}

#[tokio::test]
async fn a_bridge_is_tested_end_to_end_without_a_homeserver() {
    let (homeserver, place) = (homeserver().await, TempJournal::new());
    let handled = Handled::new();
    let notes = handled.clone();
    let bridge = homeserver
        .builder(place.open().await)
        .accept_invitations()
        .on_message(|delivery, event| async move {
            let text = event.content.body().to_uppercase();
            let ghost = delivery.intent(ghost_id());
            ghost.ensure_joined(&event.room_id).await?;
            ghost.send_text(&event.room_id, text).await?;
            Ok(())
        })
        .on_event(move |delivery, _| {
            notes.note(&delivery);
            async { Ok(()) }
        });
    let bridge = Running::connected(bridge.build().unwrap(), &homeserver).await;
    let anna = homeserver.person("anna");
    let room = anna.makes_room();
    anna.invites(&room, homeserver.sender().id());
    homeserver.settle().await;
    homeserver.assert_membership(&room, BOT, "join");

    homeserver.lose_acks(2);
    homeserver.fail(
        "send",
        [Fault::LoseAnswer, Fault::LoseCall, Fault::limited(None)],
    );
    homeserver.slip_in(json!({"type": "m.room.message", "room_id": "!x", "content": 7}));
    for text in ["a", "b", "c"] {
        anna.says(&room, text);
    }
    homeserver.settle().await;
    let (anna, ghost) = ("@anna:hs.test", GHOST);
    homeserver.assert_messages(
        &room,
        &[
            (anna, "a"),
            (anna, "b"),
            (anna, "c"),
            (ghost, "A"),
            (ghost, "B"),
            (ghost, "C"),
        ],
    );
    handled.assert_each_once(&homeserver);
    handled.assert_in_order(&homeserver);
    assert_eq!(homeserver.push_body("{").await.status, 400);
    let refused = homeserver.push_with_token("not-the-token").await;
    assert_eq!(refused.errcode().as_deref(), Some("M_FORBIDDEN"));
    let journal = bridge.stop().await;
    assert_eq!(
        journal.dead_letters(0, 10).await.unwrap().len(),
        1,
        "what was slipped in"
    );
}

/// Whether this fails, as a test would.
async fn fails(test: impl Future<Output = ()> + Send + 'static) -> Option<String> {
    let error = tokio::spawn(test).await.err()?.into_panic();
    error.downcast_ref::<String>().cloned()
}

#[tokio::test]
async fn assertions_notice_what_is_missing_twice_out_of_order_or_dead() {
    let (homeserver, place) = (homeserver().await, TempJournal::new());
    let bridge = homeserver
        .builder(place.open().await)
        .on_event(|_, event| async move {
            match event.kind() {
                "test.poison" => Err(HandlerError::never("poison")),
                _ => Ok(()),
            }
        });
    let bridge = Running::connected(bridge.build().unwrap(), &homeserver).await;
    let room = homeserver.sender().makes_room();
    homeserver.sender().sends(&room, "test.poison", json!({}));
    homeserver.settle().await;
    let journal = bridge.stop().await;
    let said = fails(async move { assert_nothing_left(&journal).await }).await;
    assert!(said.unwrap().contains("poison"));
    let none = Handled::new();
    let of = homeserver.clone();
    let said = fails(async move { none.assert_each_once(&of) }).await;
    assert!(said.unwrap().contains("handled 0 times"));
    let said = fails(async move { homeserver.assert_messages(&room, &[(BOT, "x")]) }).await;
    assert!(said.is_some());
}
