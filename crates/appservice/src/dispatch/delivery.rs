//! An entry on its way to a handler.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};

use crate::{
    client::Client,
    event::Event,
    intent::{Intent, Scope},
    journal::{Entry, MATRIX, now_ms},
};

/// An entry, delivered to a handler, and the means to act on it.
///
/// Intents taken from a delivery derive their transaction ids from the entry, so that a handler that
/// runs again repeats nothing that the homeserver has already done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Delivery {
    entry: Arc<Entry>,
    client: Client,
    scope: Arc<Scope>,
    /// Read once for all handlers.
    event: Arc<OnceLock<Option<Event>>>,
}

impl Delivery {
    pub(crate) fn new(entry: Arc<Entry>, client: Client, may_be_repeat: bool) -> Self {
        let scope = Scope::new(&work(&entry), may_be_repeat);
        Self {
            entry,
            client,
            scope: Arc::new(scope),
            event: Arc::default(),
        }
    }

    /// The same delivery for the handler with this number: each counts its own sends, so that what
    /// one handler leaves out when it runs again doesn't change the ids of the next one's.
    pub(crate) fn for_handler(&self, number: usize) -> Self {
        let name = format!("{}\0{number}", work(&self.entry));
        Self {
            entry: self.entry.clone(),
            client: self.client.clone(),
            scope: Arc::new(Scope::new(&name, self.may_be_repeat())),
            event: self.event.clone(),
        }
    }

    /// The same delivery for one part of the work on it, which counts its own sends: what the other
    /// parts send or leave out, when the handler runs again and finds another state of things, doesn't
    /// change the ids of this one's. The name has to be the same each time and must not be used by
    /// another part.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self {
            scope: Arc::new(self.scope.part(name)),
            ..self.clone()
        }
    }

    /// What stands in the journal.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// How long ago the entry was stored.
    #[must_use]
    pub fn age(&self) -> Duration {
        let ms = now_ms().saturating_sub(self.entry.received_at);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// Whether a handler may have begun with this entry before: it failed, or the process was
    /// restarted while it waited.
    #[must_use]
    pub fn may_be_repeat(&self) -> bool {
        self.scope.may_be_repeat()
    }

    /// The Matrix event, where the entry is one.
    #[must_use]
    pub fn event(&self) -> Option<&Event> {
        let read = || {
            (self.entry.source == MATRIX)
                .then(|| Event::parse(&self.entry.payload).ok())
                .flatten()
        };
        self.event.get_or_init(read).as_ref()
    }

    /// The room of the Matrix event, where the entry is one.
    #[must_use]
    pub fn room_id(&self) -> Option<&RoomId> {
        self.event().map(Event::room_id)
    }

    /// Who sent the Matrix event, where the entry is one.
    #[must_use]
    pub fn sender(&self) -> Option<&UserId> {
        self.event().map(Event::sender)
    }

    /// Acts as `user`, who is the application service's own user or one of its ghosts.
    #[must_use]
    pub fn intent(&self, user: &UserId) -> Intent {
        Intent::new(self.client.clone(), user.to_owned(), self.scope.clone())
    }

    #[cfg(test)]
    pub(crate) fn next_transaction_id(&self, room: &RoomId) -> ruma::OwnedTransactionId {
        self.scope.next_transaction_id(self.client.sender(), room)
    }

    /// Acts as the application service's own user.
    #[must_use]
    pub fn bot(&self) -> Intent {
        self.intent(self.client.sender())
    }
}

/// Names the work that an entry is: the same after a restart, and when it was a dead letter; another for
/// each reader.
fn work(entry: &Entry) -> String {
    let reader = if entry.reader.is_empty() {
        String::new()
    } else {
        format!("reader\0{}\0", entry.reader)
    };
    let source = &entry.source;
    match &entry.key {
        Some(key) if !key.starts_with(KEYLESS) => format!("{reader}{source}\0{key}"),
        // Ids begin anew when the journal is opened and nothing is in it: the time tells today's from yesterday's, whose
        // sends the homeserver would take for the same.
        Some(key) => format!("{reader}{source}\0{key}\0{}", entry.received_at),
        None => format!(
            "{reader}{source}\0{KEYLESS}{}\0{}",
            entry.id, entry.received_at
        ),
    }
}

/// What the key of an entry begins with that came without one and was a dead letter; its former id follows.
const KEYLESS: &str = "entry:";

/// Counts the sends of one delivery, so that each has a number of its own that is the same again
/// when the handler runs again.
pub(crate) type Ordinals = Mutex<HashMap<(OwnedUserId, OwnedRoomId), u32>>;

/// The next number for `user` in `room`, from 0.
pub(crate) fn next_ordinal(ordinals: &Ordinals, user: &UserId, room: &RoomId) -> u32 {
    let mut ordinals = ordinals.lock().unwrap_or_else(PoisonError::into_inner);
    let next = ordinals
        .entry((user.to_owned(), room.to_owned()))
        .or_default();
    let this = *next;
    *next += 1;
    this
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: i64, key: Option<&str>, received_at: i64) -> Entry {
        Entry {
            id,
            reader: String::new(),
            source: "elsewhere".into(),
            key: key.map(ToOwned::to_owned),
            lane: "lane".into(),
            attempts: 0,
            received_at,
            due_at: 0,
            begun: false,
            slot: None,
            payload: Arc::new([]),
        }
    }

    #[test]
    fn work_without_a_key_is_not_taken_for_that_of_an_earlier_process() {
        let name = |id, key, at| work(&entry(id, key, at));
        let first = name(1, None, 1000);
        assert_ne!(first, name(2, None, 1000));
        assert_ne!(first, name(1, None, 2000), "ids begin anew");
        let retried = name(7, Some("entry:1"), 1000);
        assert_eq!(first, retried, "as a dead letter that is tried again");
    }

    #[test]
    fn work_with_a_key_is_the_same_whenever_it_comes() {
        let name = |id, at| work(&entry(id, Some("$event"), at));
        assert_eq!(name(1, 1000), name(2, 2000));
    }
}
