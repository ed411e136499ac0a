//! Transactions that were pushed and not taken in yet: the newest in memory, as far as there is room,
//! all of them in the store. Without any I/O.

use std::collections::VecDeque;

use super::split::Split;

/// Bytes of payload that wait in memory at most.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// A transaction, taken apart.
pub(crate) struct Fresh {
    pub(crate) id: i64,
    pub(crate) received_at: i64,
    pub(crate) split: Split,
}

/// Where the next transactions are to be had.
pub(crate) enum Next {
    /// Here.
    Fresh(Vec<Fresh>),
    /// In the store, above this id.
    Stored(i64),
    /// There are none.
    Nothing,
}

#[derive(Default)]
pub(crate) struct Inbox {
    fresh: VecDeque<Fresh>,
    bytes: usize,
    /// There is more in the store than here.
    behind: bool,
    /// All up to this id are taken in.
    taken_to: i64,
}

impl Inbox {
    /// One that has to look into the store first.
    pub(crate) fn behind() -> Self {
        Self {
            behind: true,
            ..Self::default()
        }
    }

    /// A transaction was stored: called in the order of ids.
    pub(crate) fn push(&mut self, fresh: Fresh) {
        let bytes = fresh.split.bytes();
        if self.behind || (self.bytes > 0 && self.bytes + bytes > MOST_BYTES) {
            self.behind = true;
            return;
        }
        self.bytes += bytes;
        self.fresh.push_back(fresh);
    }

    /// Up to so many entries of the oldest transactions.
    pub(crate) fn next(&mut self, entries: usize) -> Next {
        let mut batch = Vec::new();
        let mut taken = 0;
        while taken < entries
            && let Some(fresh) = self.fresh.pop_front()
        {
            self.bytes -= fresh.split.bytes();
            // It was read from the store while it came.
            if fresh.id > self.taken_to {
                taken += fresh.split.waiting.len().max(1);
                batch.push(fresh);
            }
        }
        if !batch.is_empty() {
            Next::Fresh(batch)
        } else if self.behind {
            Next::Stored(self.taken_to)
        } else {
            Next::Nothing
        }
    }

    /// The store had no more, when it was read last: what is pushed from now on is kept here. The store
    /// has to be read once more, for what was pushed in between.
    pub(crate) fn caught_up(&mut self) {
        self.behind = false;
    }

    /// All up to this id are taken in.
    pub(crate) fn taken(&mut self, id: i64) {
        self.taken_to = self.taken_to.max(id);
    }

    /// These could not be taken in: they are read from the store again.
    pub(crate) fn put_back(&mut self) {
        self.fresh.clear();
        self.bytes = 0;
        self.behind = true;
    }
}

#[cfg(test)]
mod tests;
