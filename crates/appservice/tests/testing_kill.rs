//! A bridge that can be ended at any moment is told from one that can't.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use matrix_appservice::{
    Builder, CreateRoom, HandlerError, NewEntry, Registration,
    ruma::{RoomId, user_id},
    testing::{Effects, FakeHomeserver, KillTest, assert_survives_kill_at_each_step},
};
use serde_json::json;
use url::Url;

const AS_TOKEN: &str = "an-as-token-of-some-length";

fn registration() -> Registration {
    Registration::parse(&format!(
        r#"
id: test
url: null
as_token: {AS_TOKEN}
hs_token: an-hs-token-of-some-length
sender_localpart: bot
namespaces: {{users: [{{exclusive: true, regex: "@_ghost_.*"}}], aliases: [{{exclusive: true, regex: '#_ghost_.*'}}]}}
"#
    ))
    .unwrap()
}

/// People who wait for an answer before they go on.
async fn conversation(homeserver: FakeHomeserver) {
    let anna = homeserver.person("anna");
    let room = anna.makes_room();
    anna.invites(&room, homeserver.sender().id());
    homeserver.settle().await;
    for text in ["a", "b"] {
        anna.says(&room, text);
    }
    homeserver.settle().await;
    anna.says(&room, "c");
}

fn echo(bridge: Builder) -> Builder {
    bridge
        .accept_invitations()
        .on_message(|delivery, event| async move {
            let ghost = delivery.intent(user_id!("@_ghost_1:example.org"));
            ghost.ensure_joined(&event.room_id).await?;
            let text = event.content.body().to_owned();
            ghost.send_text(&event.room_id, text).await?;
            Ok(())
        })
}

#[tokio::test]
async fn a_bridge_that_can_be_repeated_survives_each_end() {
    assert_survives_kill_at_each_step(&registration(), echo, conversation).await;
}

#[tokio::test]
async fn it_survives_also_when_the_homeserver_forgets_what_was_sent() {
    KillTest::new(&registration(), echo)
        .homeserver_forgets()
        .run(conversation)
        .await;
}

/// Where the homeserver is that a careless bridge sends to, past the intents.
type Address = Arc<Mutex<Option<Url>>>;

/// Sends under an id that is another one each time.
async fn send_carelessly(to: &Address, room: &RoomId) -> Result<(), HandlerError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let homeserver = to.lock().unwrap().clone().unwrap();
    let path = format!("_matrix/client/v3/rooms/{room}/send/m.room.message/{number}");
    let sent = reqwest::Client::new()
        .put(homeserver.join(&path).unwrap())
        .bearer_auth(AS_TOKEN)
        .json(&json!({"msgtype": "m.text", "body": "x"}))
        .send();
    sent.await
        .map_err(|_| HandlerError::unavailable("homeserver"))?;
    Ok(())
}

#[tokio::test]
#[should_panic(expected = "ended behind PUT send as @bot:example.org")]
async fn a_bridge_that_sends_under_random_ids_is_found_out() {
    let address = Address::default();
    let to = address.clone();
    assert_survives_kill_at_each_step(
        &registration(),
        move |bridge| {
            let to = to.clone();
            bridge.accept_invitations().on_message(move |_, event| {
                let to = to.clone();
                async move { send_carelessly(&to, &event.room_id).await }
            })
        },
        async |homeserver| {
            *address.lock().unwrap() = Some(homeserver.url());
            conversation(homeserver).await;
        },
    )
    .await;
}

#[tokio::test]
async fn rooms_without_an_alias_are_made_once() {
    assert_survives_kill_at_each_step(
        &registration(),
        |bridge| {
            bridge.on_message(|delivery, _| async move {
                delivery.bot().create_room(&CreateRoom::new()).await?;
                Ok(())
            })
        },
        async |homeserver| {
            let room = homeserver.sender().makes_room();
            homeserver.person("anna").says(&room, "x");
        },
    )
    .await;
}

#[tokio::test]
#[should_panic(expected = "and it shows")]
async fn a_bridge_that_trusts_its_memory_is_found_out() {
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    assert_survives_kill_at_each_step(
        &registration(),
        move |bridge| {
            let seen = seen.clone();
            bridge.on_message(move |delivery, event| {
                let homeserver = delivery.bot();
                let new = seen.lock().unwrap().insert(event.event_id.to_string());
                async move {
                    if new {
                        homeserver.send_text(&event.room_id, "1").await?;
                        homeserver.send_text(&event.room_id, "2").await?;
                    }
                    Ok(())
                }
            })
        },
        async |homeserver| {
            let room = homeserver.sender().makes_room();
            let event = homeserver.person("anna").says(&room, "x");
            assert!(event.as_str().starts_with('$'));
        },
    )
    .await;
}

/// A network that isn't Matrix. Each message has an id, and one that is there already is not taken
/// again, if it cares.
#[derive(Clone, Default)]
struct Network {
    messages: Arc<Mutex<Vec<String>>>,
    cares: bool,
    effects: Effects,
}

impl Network {
    async fn send(&self, id: &str) {
        let there = self
            .messages
            .lock()
            .unwrap()
            .iter()
            .any(|there| there == id);
        if !(self.cares && there) {
            self.messages.lock().unwrap().push(id.to_owned());
        }
        self.effects
            .took_place("message to the other network")
            .await;
    }

    async fn bridge(self) {
        let (to, seen) = (self.clone(), self.messages.clone());
        let handlers = move |bridge: Builder| {
            let to = to.clone();
            bridge.on_message(move |_, event| {
                let to = to.clone();
                async move {
                    to.send(event.event_id.as_str()).await;
                    Ok(())
                }
            })
        };
        KillTest::new(&registration(), handlers)
            .effects(&self.effects)
            .outcome(move |_| seen.lock().unwrap().clone())
            .run(async |homeserver: FakeHomeserver| {
                self.messages.lock().unwrap().clear();
                let room = homeserver.sender().makes_room();
                homeserver.person("anna").says(&room, "x");
            })
            .await;
    }
}

#[tokio::test]
async fn effects_on_another_network_are_ends_too() {
    let network = Network {
        cares: true,
        ..Network::default()
    };
    network.bridge().await;
}

#[tokio::test]
#[should_panic(expected = "and it shows")]
async fn a_network_that_takes_all_twice_is_found_out() {
    Network::default().bridge().await;
}

/// What comes from another network is said by a ghost, in a room with an alias.
fn from_elsewhere(bridge: Builder) -> Builder {
    bridge.on_entry("elsewhere", |delivery| async move {
        let ghost = delivery.intent(user_id!("@_ghost_1:example.org"));
        let room = ghost
            .create_room(&CreateRoom::new().alias("_ghost_room"))
            .await?;
        let text = std::str::from_utf8(&delivery.entry().payload).unwrap_or_default();
        ghost.send_text(&room.room_id, text).await?;
        Ok(())
    })
}

fn said_elsewhere(number: u32) -> NewEntry {
    let text = format!("number {number}").into_bytes();
    NewEntry::new("elsewhere", number.to_string(), "room", text)
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_said_once() {
    let story = async |homeserver: FakeHomeserver| {
        for number in 1..=2 {
            homeserver.append(said_elsewhere(number)).await;
        }
        homeserver.settle().await;
        let rooms = homeserver.rooms();
        assert_eq!(rooms.len(), 1);
        let texts = homeserver.messages(&rooms[0]).into_iter();
        assert_eq!(
            texts.map(|(_, text)| text).collect::<Vec<_>>(),
            ["number 1", "number 2"]
        );
    };
    assert_survives_kill_at_each_step(&registration(), from_elsewhere, story).await;
}

#[tokio::test]
#[should_panic(expected = "ended behind append, number 1")]
async fn entries_that_nothing_tells_by_are_said_twice() {
    let story = async |homeserver: FakeHomeserver| {
        let text = said_elsewhere(1).payload;
        let entry = NewEntry::without_key("elsewhere", "room", text);
        homeserver.append(entry).await;
    };
    assert_survives_kill_at_each_step(&registration(), from_elsewhere, story).await;
}
