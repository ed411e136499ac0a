//! Which lanes wait because their oldest entry has failed: what dispatchers tell, for those who watch. Without any I/O.

use std::{collections::HashMap, sync::Arc};

use super::Entry;

/// A lane that waits because its oldest entry has failed and is tried again later. Holds no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLane {
    /// The entry's id.
    pub entry: i64,
    /// Who reads the lane: empty, or the name of one of [`Builder::reader`](crate::Builder::reader).
    pub reader: String,
    /// Who made the entry.
    pub source: String,
    /// The lane.
    pub lane: Arc<str>,
    /// Failed attempts so far that count against the budget.
    pub attempts: u32,
    /// When the entry was stored, Unix time in ms.
    pub received_at: i64,
    /// When it is tried again, Unix time in ms. In the past: it is being tried.
    pub due_at: i64,
    /// The class of the last failure.
    pub error: String,
}

/// What names a lane: its reader, whether only the latest counts in it, and its key.
type Name = (String, bool, Arc<str>);

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct Held(HashMap<Name, HeldLane>);

impl Held {
    /// The lane of an entry waits for it.
    pub(crate) fn hold(&mut self, entry: &Entry, attempts: u32, due_at: i64, error: &str) {
        let lane = HeldLane {
            entry: entry.id,
            reader: entry.reader.clone(),
            source: entry.source.clone().into_owned(),
            lane: entry.lane.clone(),
            attempts,
            received_at: entry.received_at,
            due_at,
            error: error.to_owned(),
        };
        self.0.insert(name(entry), lane);
    }

    /// The lane of an entry goes on behind it.
    pub(crate) fn let_go(&mut self, entry: &Entry) {
        if !self.0.is_empty() {
            self.0.remove(&name(entry));
        }
    }

    /// Those whose entries are the oldest.
    pub(crate) fn first(&self, limit: usize) -> Vec<HeldLane> {
        let mut lanes: Vec<&HeldLane> = self.0.values().collect();
        lanes.sort_unstable_by_key(|lane| lane.entry);
        lanes.into_iter().take(limit).cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn name(entry: &Entry) -> Name {
    (
        entry.reader.clone(),
        entry.slot.is_some(),
        entry.lane.clone(),
    )
}
