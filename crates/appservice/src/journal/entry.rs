//! What stands in the journal.

use std::{borrow::Cow, fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{PRESENCE, RECEIPT, TYPING};
use crate::store::Key;

/// An entry to be appended.
#[derive(Clone)]
pub struct NewEntry {
    /// Who made it: a name of the application's choice, such as `"fhir"`; none that begins with
    /// `"matrix"`.
    pub source: &'static str,
    /// Its natural key within the source, such as `"Communication/7/2"`. A second append of the
    /// same key does nothing. `None`: never the same as any other.
    pub key: Option<String>,
    /// Entries of one lane are worked one at a time, in the order of their appending.
    pub lane: Arc<str>,
    /// What the handler gets.
    pub payload: Arc<[u8]>,
    /// Set when it is known from the start that nobody can handle it: it becomes a dead letter at
    /// once, and this is its error class (never content).
    pub dead: Option<&'static str>,
}

impl NewEntry {
    /// An entry with a natural key. Two with the same one are one, also when it is empty: see
    /// [`NewEntry::without_key`].
    #[must_use]
    pub fn new(
        source: &'static str,
        key: impl Into<String>,
        lane: impl Into<Arc<str>>,
        payload: impl Into<Arc<[u8]>>,
    ) -> Self {
        Self {
            source,
            key: Some(key.into()),
            lane: lane.into(),
            payload: payload.into(),
            dead: None,
        }
    }

    /// An entry that is never the same as any other: for what comes without anything to tell it by.
    #[must_use]
    pub fn without_key(
        source: &'static str,
        lane: impl Into<Arc<str>>,
        payload: impl Into<Arc<[u8]>>,
    ) -> Self {
        Self {
            key: None,
            ..Self::new(source, "", lane, payload)
        }
    }
}

impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("source", &self.source)
            .field("key", &self.key)
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

/// An entry that waits to be handled.
#[derive(Clone)]
pub struct Entry {
    /// Grows in the order of appending.
    pub id: i64,
    /// Who reads it: empty, or the name of one of [`Builder::reader`](crate::Builder::reader).
    pub reader: String,
    /// Who made it.
    pub source: Cow<'static, str>,
    /// Its natural key within the source.
    pub key: Option<String>,
    /// The lane it is worked in.
    pub lane: Arc<str>,
    /// Failed attempts so far that count against the budget.
    pub attempts: u32,
    /// When it was stored, Unix time in ms.
    pub received_at: i64,
    /// Not to be tried before, Unix time in ms.
    pub due_at: i64,
    /// Whether a handler may have begun with it before: it failed, was a dead letter, or came from a
    /// transaction that an earlier process had taken in.
    pub begun: bool,
    /// Its place, where only the latest counts.
    pub slot: Option<Arc<str>>,
    /// What was stored.
    pub payload: Arc<[u8]>,
}

impl Entry {
    /// Whether it passes: not worth a dead letter, since it is out of date before a person has looked
    /// at it.
    pub(crate) fn passes(&self) -> bool {
        [TYPING, RECEIPT, PRESENCE].contains(&&*self.source)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("key", &self.key)
            .field("lane", &self.lane)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// An entry that nobody could handle. Holds no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The entry's id.
    pub id: i64,
    /// Who could not handle it: empty, or the name of one of
    /// [`Builder::reader`](crate::Builder::reader).
    pub reader: String,
    /// Who made it.
    pub source: String,
    /// Its natural key.
    pub key: Option<String>,
    /// Its lane.
    pub lane: String,
    /// Failed attempts.
    pub attempts: u32,
    /// When it was stored, Unix time in ms.
    pub received_at: i64,
    /// The class of the last failure.
    pub error: String,
}

/// The journal in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transactions that are stored and not looked at yet.
    pub transactions: u64,
    /// Entries that wait or are being worked on.
    pub waiting: u64,
    /// When the oldest waiting entry was stored, Unix time in ms.
    pub oldest_waiting: Option<i64>,
    /// Dead letters.
    pub dead: u64,
    /// Entries that are done or skipped. Of those of which only the latest counts none is left.
    pub done: u64,
    /// Messages to devices, and other things that encryption needs, that no handler asks for yet.
    pub kept: u64,
    /// Lanes that wait because their oldest entry has failed: see [`Journal::held_lanes`](crate::Journal::held_lanes).
    pub held: u64,
    /// When the homeserver's last transaction was stored, Unix time in ms; `None`: not since the journal was opened.
    pub pushed_at: Option<i64>,
}

/// What an entry is remembered by.
pub(crate) fn seen_key(reader: &str, source: &str, key: &str) -> Key {
    let mut hash = Sha256::new();
    for part in [reader, source, key] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    Key::from_hash(*hash.first_chunk().unwrap_or(&[0; 16]))
}
