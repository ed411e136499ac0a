//! What the dispatchers have still to look at, in the order of ids: entries that are in memory, and
//! marks that say up to where the store has to be read. Without any I/O.
//!
//! Whoever takes entries in gives them their ids and puts them here in one step, so that each feed is
//! in order. An entry is handed over in memory where there is room; where there isn't, a mark takes its
//! place, and the dispatcher reads it from the store when its turn has come.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio::sync::Notify;

use super::Entry;
use crate::store::Queue;

/// Entries that one feed holds in memory at most …
const MOST_ENTRIES: usize = 4096;
/// … and the bytes of their payloads.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The next thing to look at.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Entry(Arc<Entry>),
    /// Read the store up to this id.
    Stored {
        up_to: i64,
        /// Commits that are still under way: it can't be read yet.
        under_way: usize,
    },
}

#[derive(Debug)]
struct Feed {
    reader: String,
    queue: Queue,
    items: VecDeque<Item>,
    /// The number of the first item.
    first: u64,
    entries: usize,
    bytes: usize,
    wake: Arc<Notify>,
}

/// The number of a commit that is under way.
#[must_use]
#[derive(Debug)]
pub(crate) struct UnderWay(u64);

/// A commit that is under way, and which item of which feed waits for it.
#[derive(Debug)]
struct Commit {
    queue: Queue,
    marks: Vec<(u64, u64)>,
}

/// The feeds of all dispatchers, and the ids.
#[derive(Debug)]
pub(crate) struct Feeds {
    next_id: i64,
    by_number: BTreeMap<u64, Feed>,
    next_feed: u64,
    commits: BTreeMap<u64, Commit>,
    next_commit: u64,
}

impl Feeds {
    /// Gives ids above `newest`.
    pub(crate) fn above(newest: i64) -> Self {
        Self {
            next_id: newest + 1,
            by_number: BTreeMap::new(),
            next_feed: 0,
            commits: BTreeMap::new(),
            next_commit: 0,
        }
    }

    /// So many ids in a row; returns the first.
    pub(crate) fn ids(&mut self, count: usize) -> i64 {
        let first = self.next_id;
        self.next_id = first.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        first
    }

    /// The largest id given so far.
    pub(crate) fn newest(&self) -> i64 {
        self.next_id - 1
    }

    /// A new feed, which begins with all that is stored, or is about to be.
    pub(crate) fn open(&mut self, reader: &str, queue: Queue, wake: Arc<Notify>) -> u64 {
        let number = self.next_feed;
        self.next_feed += 1;
        let mut under_way = 0;
        for commit in self.commits.values_mut() {
            if commit.queue == queue {
                commit.marks.push((number, 0));
                under_way += 1;
            }
        }
        let everything = Item::Stored {
            up_to: self.newest(),
            under_way,
        };
        let feed = Feed {
            reader: reader.to_owned(),
            queue,
            items: [everything].into(),
            first: 0,
            entries: 0,
            bytes: 0,
            wake,
        };
        self.by_number.insert(number, feed);
        number
    }

    pub(crate) fn close(&mut self, feed: u64) {
        self.by_number.remove(&feed);
    }

    /// Hands over an entry that was given its id in the same step. Returns whether its reader has taken
    /// it into memory; if not, it has to be stored.
    pub(crate) fn offer(&mut self, entry: &Arc<Entry>) -> bool {
        for feed in self.by_number.values_mut() {
            if feed.queue == Queue::Each && feed.reader == entry.reader {
                return feed.offer(entry);
            }
        }
        false
    }

    /// Entries up to `up_to` are about to be stored: the feeds of this queue, also those that are opened
    /// meanwhile, can't go past them before [`Feeds::stored`] is called.
    pub(crate) fn storing(&mut self, queue: Queue, up_to: i64) -> UnderWay {
        let mut marks = Vec::new();
        for (number, feed) in &mut self.by_number {
            if feed.queue == queue {
                marks.push((*number, feed.mark(up_to, 1)));
            }
        }
        let commit = self.next_commit;
        self.next_commit += 1;
        self.commits.insert(commit, Commit { queue, marks });
        UnderWay(commit)
    }

    /// The commit is over, well or not.
    pub(crate) fn stored(&mut self, UnderWay(commit): UnderWay) {
        let Some(commit) = self.commits.remove(&commit) else {
            return;
        };
        for (number, item) in commit.marks {
            if let Some(feed) = self.by_number.get_mut(&number) {
                feed.unmark(item);
            }
        }
    }

    /// Everybody looks again.
    pub(crate) fn wake_all(&self) {
        for feed in self.by_number.values() {
            feed.wake.notify_one();
        }
    }

    /// What is next for a feed.
    pub(crate) fn peek(&self, feed: u64) -> Option<&Item> {
        self.by_number.get(&feed)?.items.front()
    }

    /// The entry that was next has been taken.
    pub(crate) fn taken(&mut self, feed: u64) {
        if let Some(feed) = self.by_number.get_mut(&feed) {
            feed.pop();
        }
    }

    /// The store has been read up to `id`. The mark may have been moved on meanwhile; then it stays.
    pub(crate) fn read(&mut self, feed: u64, id: i64) {
        if let Some(feed) = self.by_number.get_mut(&feed)
            && let Some(Item::Stored {
                up_to,
                under_way: 0,
            }) = feed.items.front()
            && *up_to <= id
        {
            feed.pop();
        }
    }
}

impl Feed {
    fn offer(&mut self, entry: &Arc<Entry>) -> bool {
        let fits = self.entries < MOST_ENTRIES
            && (self.bytes == 0 || self.bytes + entry.payload.len() <= MOST_BYTES);
        if fits {
            self.entries += 1;
            self.bytes += entry.payload.len();
            self.items.push_back(Item::Entry(entry.clone()));
            self.wake.notify_one();
        } else {
            self.mark(entry.id, 0);
        }
        fits
    }

    /// Returns the number of the item that bears the mark.
    fn mark(&mut self, id: i64, commits: usize) -> u64 {
        if let Some(Item::Stored { up_to, under_way }) = self.items.back_mut() {
            *up_to = id.max(*up_to);
            *under_way += commits;
        } else {
            self.items.push_back(Item::Stored {
                up_to: id,
                under_way: commits,
            });
        }
        if commits == 0 {
            self.wake.notify_one();
        }
        self.first + self.items.len() as u64 - 1
    }

    fn unmark(&mut self, item: u64) {
        let index = item
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok());
        if let Some(Item::Stored { under_way, .. }) =
            index.and_then(|index| self.items.get_mut(index))
        {
            *under_way = under_way.saturating_sub(1);
        }
        self.wake.notify_one();
    }

    fn pop(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.first += 1;
            if let Item::Entry(entry) = item {
                self.entries -= 1;
                self.bytes -= entry.payload.len();
            }
        }
    }
}

#[cfg(test)]
mod tests;
