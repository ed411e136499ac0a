//! What must be true in the end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use super::FakeHomeserver;
use crate::{dispatch::Delivery, journal::Journal};

/// Notes what handlers were called with. Clones share their notes.
///
/// ```
/// # use matrix_appservice::{testing::{FakeHomeserver, Handled, Running, TempJournal}, Registration};
/// # use matrix_appservice::ruma::server_name;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let registration = Registration::generate("irc", "ircbot").ghosts("_irc_").build()?;
/// # let homeserver = FakeHomeserver::start(server_name!("example.org"), &registration).await;
/// # let place = TempJournal::new();
/// let handled = Handled::new();
/// let notes = handled.clone();
/// let service = homeserver.builder(place.open().await).on_event(move |delivery, _| {
///     notes.note(&delivery);
///     async { Ok(()) }
/// });
/// let service = Running::connected(service.build()?, &homeserver).await;
/// let anna = homeserver.person("anna");
/// let room = anna.makes_room();
/// anna.invites(&room, homeserver.sender().id());
/// homeserver.lose_acks(1);
/// homeserver.settle().await;
/// handled.assert_each_once(&homeserver);
/// handled.assert_in_order(&homeserver);
/// # service.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Handled(Arc<Mutex<Vec<String>>>);

impl Handled {
    /// Nothing noted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the entry that a handler has got. Where it stands in the handler says what is counted:
    /// at the beginning the calls, at the end those that succeed.
    pub fn note(&self, delivery: &Delivery) {
        let key = delivery.entry().key.clone().unwrap_or_default();
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push(key);
    }

    /// The keys of the entries, in the order of their coming: of Matrix events their ids.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        keys.clone()
    }

    /// Each event that the homeserver has pushed was handled exactly once.
    pub fn assert_each_once(&self, homeserver: &FakeHomeserver) {
        let mut times: HashMap<String, usize> = HashMap::new();
        for key in self.keys() {
            *times.entry(key).or_default() += 1;
        }
        for event in homeserver.pushed_events() {
            let id = event["event_id"].as_str().unwrap_or_default();
            let number = times.get(id).copied().unwrap_or_default();
            assert_eq!(
                number, 1,
                "{} {id} was handled {number} times",
                event["type"]
            );
        }
    }

    /// The events of each room were handled in the room's order. Repeats don't count.
    pub fn assert_in_order(&self, homeserver: &FakeHomeserver) {
        let mut first: HashMap<String, usize> = HashMap::new();
        for (at, key) in self.keys().into_iter().enumerate() {
            first.entry(key).or_insert(at);
        }
        for room in homeserver.rooms() {
            let events = homeserver.events(&room);
            let handled: Vec<(usize, &str)> = events
                .iter()
                .filter_map(|event| event["event_id"].as_str())
                .filter_map(|id| Some((*first.get(id)?, id)))
                .collect();
            for pair in handled.windows(2) {
                assert!(
                    pair[0].0 < pair[1].0,
                    "in {room}, {} was handled before {}, which is older",
                    pair[1].1,
                    pair[0].1
                );
            }
        }
    }
}

/// What the end should look like.
impl FakeHomeserver {
    /// These messages are in the room, in this order, once each, and no others: sender and text.
    pub fn assert_messages(&self, room: impl AsRef<str>, expected: &[(&str, &str)]) {
        let messages = self.messages(room);
        let messages: Vec<_> = messages
            .iter()
            .map(|(sender, text)| (sender.as_str(), text.as_str()))
            .collect();
        assert_eq!(messages, expected);
    }

    /// `user` is `join`, `invite`, `leave`, `ban` or `knock` in the room.
    pub fn assert_membership(&self, room: impl AsRef<str>, user: impl AsRef<str>, expected: &str) {
        let user = user.as_ref();
        let members = self.members(room);
        let membership = members
            .get(user)
            .and_then(|content| content["membership"].as_str())
            .unwrap_or("leave");
        assert_eq!(membership, expected, "{user}");
    }

    /// What people see of all rooms: for each, oldest room first, its events without their ids and
    /// times. Runs with the same outcome have the same transcript.
    #[must_use]
    pub fn transcript(&self) -> Vec<Vec<String>> {
        self.rooms()
            .iter()
            .map(|room| self.events(room).iter().map(line).collect())
            .collect()
    }
}

/// One event, as people see it.
fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut content = event["content"].clone();
    if let Some(content) = content.as_object_mut() {
        content.remove(crate::intent::SOURCE_KEY);
    }
    let (kind, sender) = (text(&event["type"]), text(&event["sender"]));
    match event["state_key"].as_str() {
        Some(key) => format!("{sender} sets {kind} {key:?}: {content}"),
        None => format!("{sender} sends {kind}: {content}"),
    }
}

/// Nothing waits, is being worked on, or is dead.
pub async fn assert_nothing_left(journal: &Journal) {
    let stats = journal.stats().await.unwrap();
    let dead = journal.dead_letters(0, 20).await.unwrap();
    assert!(dead.is_empty(), "dead letters: {dead:#?}");
    assert_eq!(
        (stats.transactions, stats.waiting, stats.dead),
        (0, 0, 0),
        "{stats:?}"
    );
}
