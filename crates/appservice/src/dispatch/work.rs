//! The piece of work that an entry is for one of its handlers, by a name that stays the same.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use sha2::{Digest, Sha256};

use crate::journal::Entry;

/// A piece of work. Its name is made when it is asked for: most handlers send nothing.
#[derive(Debug)]
pub(crate) enum Work {
    /// What a program calls it.
    Named(String),
    /// An entry.
    Entry(Arc<Entry>),
    /// An entry, for the handler with this number.
    Handler(Arc<Entry>, usize),
}

impl Work {
    pub(crate) fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Named(name) => name.into(),
            Self::Entry(entry) => name_of(entry).into(),
            Self::Handler(entry, number) => format!("{}\0{number}", name_of(entry)).into(),
        }
    }

    /// Its name in short, as hexadecimal digits.
    pub(crate) fn id(&self) -> String {
        let hash = Sha256::digest(self.name().as_bytes());
        hash.iter()
            .take(8)
            .fold(String::new(), |id, byte| format!("{id}{byte:02x}"))
    }
}

/// Names an entry: the same after a restart, and when it was a dead letter; another for
/// each reader.
fn name_of(entry: &Entry) -> String {
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
        let name = |id, key, at| name_of(&entry(id, key, at));
        let first = name(1, None, 1000);
        assert_ne!(first, name(2, None, 1000));
        assert_ne!(first, name(1, None, 2000), "ids begin anew");
        let retried = name(7, Some("entry:1"), 1000);
        assert_eq!(first, retried, "as a dead letter that is tried again");
    }

    #[test]
    fn work_has_an_id_that_is_short_and_its_own() {
        let id = |key| Work::Entry(Arc::new(entry(1, Some(key), 1000))).id();
        let (one, other) = (id("$event"), id("$other"));
        assert_ne!(one, other);
        assert!(
            one.len() == 16 && one.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{one}"
        );
        let again = Work::Entry(Arc::new(entry(9, Some("$event"), 2000)));
        assert_eq!(one, again.id(), "whenever it comes");
    }

    #[test]
    fn work_with_a_key_is_the_same_whenever_it_comes() {
        let name = |id, at| name_of(&entry(id, Some("$event"), at));
        assert_eq!(name(1, 1000), name(2, 2000));
    }
}
