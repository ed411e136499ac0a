//! What waits to be pushed, and in which transaction it goes.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{super::world::World, format, target::Target};

/// The most of each kind in one transaction, as in Synapse.
const MOST: usize = 100;

/// The homeserver's side of the push: strictly one transaction in flight, the oldest first.
#[derive(Default)]
pub(in crate::testing::homeserver) struct Push {
    pub(super) target: Option<Target>,
    /// What no transaction holds yet.
    waiting: VecDeque<Item>,
    ephemeral: VecDeque<Value>,
    to_device: VecDeque<Value>,
    /// Transactions that were tried in vain, oldest first. While there are any, the application
    /// service counts as down.
    stored: VecDeque<Transaction>,
    pub(super) acknowledged: Option<Transaction>,
    last_id: u64,
    /// Tries in all: what is pushed again is older.
    tries: u64,
    /// Failed tries since the last success.
    pub(super) failures: u32,
    /// After a restart with undelivered transactions nothing is sent until something happens.
    asleep: bool,
    pub(super) acks_to_lose: usize,
    /// Where the acknowledged events stand, in the order of their acknowledgement.
    delivered: Vec<(String, usize)>,
}

/// Something in a transaction's list `events`.
#[derive(Clone, Debug)]
enum Item {
    /// Where it stands: what is pushed is what the event is then.
    Event { room: String, at: usize },
    /// What no homeserver should push.
    Slipped(Value),
}

/// A transaction. Of one that is stored only the events are left.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    pub(super) id: u64,
    items: Vec<Item>,
    ephemeral: Vec<Value>,
    to_device: Vec<Value>,
    after_restart: bool,
}

impl Push {
    /// How many events wait for their acknowledgement.
    pub(super) fn unacknowledged(&self) -> usize {
        let stored: usize = self.stored.iter().map(|stored| stored.items.len()).sum();
        self.waiting.len() + stored
    }

    /// Whether nothing waits, also nothing ephemeral.
    pub(super) fn is_empty(&self) -> bool {
        self.unacknowledged() == 0 && self.ephemeral.is_empty() && self.to_device.is_empty()
    }

    fn queue(&mut self, item: Item) {
        self.asleep = false;
        if self.stored.is_empty() {
            self.waiting.push_back(item);
        } else {
            // No batches while the application service is down.
            let id = self.next_id();
            self.stored.push_back(Transaction {
                id,
                items: vec![item],
                ..Transaction::default()
            });
        }
    }

    pub(super) fn slip_in(&mut self, value: Value) {
        self.queue(Item::Slipped(value));
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The counter is in memory and begins anew behind the largest that is undelivered, as of a
    /// Synapse on SQLite.
    pub(super) fn reset_ids(&mut self) {
        self.last_id = self.stored.back().map_or(0, |stored| stored.id);
    }

    pub(in crate::testing::homeserver) fn restart(&mut self) {
        // What was in memory only is written before Synapse ends.
        if !self.waiting.is_empty() {
            let items = self.waiting.drain(..).collect();
            let id = self.next_id();
            self.stored.push_back(Transaction {
                id,
                items,
                ..Transaction::default()
            });
        }
        self.ephemeral.clear();
        self.to_device.clear();
        for stored in &mut self.stored {
            stored.after_restart = true;
        }
        self.reset_ids();
        self.failures = 0;
        self.asleep = !self.stored.is_empty();
    }

    /// The transaction to be tried now.
    pub(super) fn next(&mut self) -> Option<Transaction> {
        if self.asleep {
            return None;
        }
        if let Some(stored) = self.stored.front() {
            return Some(stored.clone());
        }
        if self.is_empty() {
            return None;
        }
        Some(Transaction {
            id: self.next_id(),
            items: take(&mut self.waiting),
            ephemeral: take(&mut self.ephemeral),
            to_device: take(&mut self.to_device),
            after_restart: false,
        })
    }

    pub(super) fn succeeded(&mut self, transaction: Transaction) {
        if self
            .stored
            .front()
            .is_some_and(|stored| stored.id == transaction.id)
        {
            self.stored.pop_front();
        }
        self.failures = 0;
        let events = transaction.items.iter().filter_map(|item| match item {
            Item::Event { room, at } => Some((room.clone(), *at)),
            Item::Slipped(_) => None,
        });
        self.delivered.extend(events);
        self.acknowledged = Some(transaction);
    }

    /// Only the events of it are kept, and what is ephemeral is gone.
    pub(super) fn failed(&mut self, transaction: &Transaction) {
        self.failures += 1;
        if self
            .stored
            .front()
            .is_some_and(|stored| stored.id == transaction.id)
        {
            return;
        }
        self.stored.push_front(transaction.shrunk());
        for item in std::mem::take(&mut self.waiting) {
            self.queue(item);
        }
        self.ephemeral.clear();
        self.to_device.clear();
    }
}

/// The oldest, as many as fit.
fn take<T>(from: &mut VecDeque<T>) -> Vec<T> {
    from.drain(..from.len().min(MOST)).collect()
}

impl Transaction {
    /// What is left of it for another try.
    pub(super) fn shrunk(&self) -> Self {
        Self {
            ephemeral: Vec::new(),
            to_device: Vec::new(),
            ..self.clone()
        }
    }
}

impl World {
    /// The newest event of a room is to be pushed, if the application service is interested in it.
    pub(in crate::testing::homeserver) fn queue_event(&mut self, room: &str) {
        let at = self.room(room).timeline.len() - 1;
        if !self.interests(room, &self.room(room).timeline[at]) {
            return;
        }
        self.push.queue(Item::Event {
            room: room.to_owned(),
            at,
        });
    }

    /// As Synapse decides it: by sender, by whom a membership is about, by room, alias or member.
    fn interests(&self, room: &str, event: &Value) -> bool {
        let ours = |user: &Value| user.as_str().is_some_and(|user| self.is_ours(user));
        ours(&event["sender"])
            || (event["type"] == "m.room.member" && ours(&event["state_key"]))
            || self.interests_room(room)
    }

    fn interests_room(&self, room: &str) -> bool {
        let namespaces = &self.registration.namespaces;
        namespaces.rooms.matches(room)
            || self
                .aliases
                .iter()
                .any(|(alias, of)| of == room && namespaces.aliases.matches(alias))
            || self
                .room(room)
                .state_of_kind("m.room.member")
                .filter(|event| event["content"]["membership"] == "join")
                .filter_map(|event| event["state_key"].as_str())
                .any(|user| self.is_ours(user))
    }

    fn queue_ephemeral(&mut self, event: Value) {
        let wanted = self.registration.receive_ephemeral
            || self.registration.unstable.msc2409_push_ephemeral == Some(true);
        // Dropped while the application service is down.
        if wanted && self.push.stored.is_empty() {
            self.push.ephemeral.push_back(event);
        }
    }

    pub(super) fn queue_to_device(&mut self, message: Value) {
        if self.push.stored.is_empty() {
            self.push.to_device.push_back(message);
        }
    }

    pub(in crate::testing::homeserver) fn set_typing(&mut self, room: &str, user: &str, on: bool) {
        let who = self.typing.entry(room.to_owned()).or_default();
        if on {
            who.insert(user.to_owned());
        } else {
            who.remove(user);
        }
        let content = json!({"user_ids": who});
        if self.interests_room(room) {
            let event = json!({"type": "m.typing", "room_id": room, "content": content});
            self.queue_ephemeral(event);
        }
    }

    pub(in crate::testing::homeserver) fn set_read(&mut self, room: &str, user: &str, event: &str) {
        if self.interests_room(room) {
            let content = json!({event: {"m.read": {user: {"ts": self.now_ms()}}}});
            let event = json!({"type": "m.receipt", "room_id": room, "content": content});
            self.queue_ephemeral(event);
        }
    }

    pub(in crate::testing::homeserver) fn set_presence(&mut self, user: &str, presence: &str) {
        let content = json!({"presence": presence, "last_active_ago": 1});
        let event = json!({"type": "m.presence", "sender": user, "content": content});
        self.queue_ephemeral(event);
    }

    /// The events that were acknowledged.
    pub(super) fn pushed_events(&self) -> Vec<Value> {
        let events = self.push.delivered.iter();
        events
            .map(|(room, at)| self.room(room).timeline[*at].clone())
            .collect()
    }

    /// The body of a transaction, at this try.
    pub(super) fn body(&mut self, transaction: &Transaction) -> Value {
        self.push.tries += 1;
        let age_ms = 40 + 1000 * self.push.tries;
        let events: Vec<_> = transaction
            .items
            .iter()
            .map(|item| match item {
                Item::Slipped(value) => value.clone(),
                Item::Event { room, at } => {
                    let event = &self.room(room).timeline[*at];
                    let server = self.server_name.as_str();
                    format::pushed(event, server, age_ms, transaction.after_restart)
                }
            })
            .collect();
        let mut body = json!({"events": events});
        let stable = self.registration.receive_ephemeral;
        let unstable = self.registration.unstable.msc2409_push_ephemeral == Some(true);
        if stable {
            body["ephemeral"] = json!(transaction.ephemeral);
        }
        if unstable {
            body["de.sorunome.msc2409.ephemeral"] = json!(transaction.ephemeral);
        }
        if stable || unstable || !transaction.to_device.is_empty() {
            body["de.sorunome.msc2409.to_device"] = json!(transaction.to_device);
        }
        body
    }

    /// Users that a transaction's events name and that nobody has registered, but that would be ours.
    pub(super) fn strangers(&self, transaction: &Transaction) -> Vec<String> {
        let mut strangers = Vec::new();
        for item in &transaction.items {
            let Item::Event { room, at } = item else {
                continue;
            };
            let event = &self.room(room).timeline[*at];
            let member = &event["state_key"];
            let named = [
                Some(&event["sender"]),
                (event["type"] == "m.room.member").then_some(member),
            ];
            for user in named.into_iter().flatten().filter_map(Value::as_str) {
                let unknown = self.is_ours(user) && !self.users.contains_key(user);
                let new = !strangers.iter().any(|stranger| stranger == user);
                if unknown && new && user != self.sender() {
                    strangers.push(user.to_owned());
                }
            }
        }
        strangers
    }
}
