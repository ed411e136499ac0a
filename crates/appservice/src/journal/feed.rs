//! A dispatcher's view of the journal.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Entry, Journal, JournalError, feeds::Item, lock};
use crate::store::Queue;

/// What a dispatcher has still to look at, in the order of ids.
#[derive(Debug)]
pub(crate) struct Feed {
    journal: Journal,
    number: u64,
    /// The largest id when the feed was opened.
    pub(crate) newest: i64,
    reader: String,
    queue: Queue,
    wake: Arc<Notify>,
}

/// The next thing that a dispatcher looks at.
pub(crate) enum Due {
    /// Entries, in order.
    Entries(Vec<Arc<Entry>>),
    /// What is stored up to this id has to be read.
    Stored(i64),
    /// Nothing for now.
    Nothing,
}

impl Feed {
    /// Waits until there is something new since the last call.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Up to so many entries that are next.
    pub(crate) fn next(&self, most: usize) -> Due {
        let mut feeds = lock(&self.journal.0.feeds);
        let mut entries = Vec::new();
        while entries.len() < most {
            match feeds.peek(self.number) {
                Some(Item::Entry(entry)) => entries.push(entry.clone()),
                Some(Item::Stored {
                    up_to,
                    under_way: 0,
                }) if entries.is_empty() => return Due::Stored(*up_to),
                _ => break,
            }
            feeds.taken(self.number);
        }
        if entries.is_empty() {
            Due::Nothing
        } else {
            Due::Entries(entries)
        }
    }

    /// What is stored up to this id has been read.
    pub(crate) fn read(&self, up_to: i64) {
        lock(&self.journal.0.feeds).read(self.number, up_to);
    }

    /// Entries that wait, with an id above the range's start and up to its end, by id; of one lane, or
    /// of all. About as many as `limit`, and never more.
    pub(crate) async fn waiting(
        &self,
        lane: Option<&str>,
        range: (i64, i64),
        limit: u32,
    ) -> Result<Page, JournalError> {
        let most = limit as usize;
        // Before the store: what goes from one to the other meanwhile is met twice, never missed.
        let mut entries = match self.queue {
            Queue::Each => lock(&self.journal.0.ledger).waiting(&self.reader, lane, range, most),
            Queue::Latest => Vec::new(),
        };
        let store = &self.journal.0.store;
        let stored = store
            .waiting(&self.reader, self.queue, lane, range, limit)
            .await?;
        // Each of the two is complete up to its last one, or up to the end.
        let complete = |count: usize, last: Option<i64>| match last {
            Some(last) if count >= most => last,
            _ => range.1,
        };
        let up_to = complete(entries.len(), entries.last().map(|entry| entry.id))
            .min(complete(stored.len(), stored.last().map(|entry| entry.id)));
        {
            let ledger = lock(&self.journal.0.ledger);
            // Some are done, and it isn't written down yet.
            let stored = stored.into_iter();
            let stored = stored.filter(|entry| !ledger.is_stored_done(entry.id));
            entries.extend(stored.map(Arc::new));
        }
        entries.sort_by_key(|entry| entry.id);
        entries.dedup_by_key(|entry| entry.id);
        entries.retain(|entry| entry.id <= up_to);
        entries.truncate(most);
        let up_to = complete(entries.len(), entries.last().map(|entry| entry.id)).min(up_to);
        Ok(Page {
            entries,
            up_to,
            more: up_to < range.1,
        })
    }
}

/// Entries that wait.
pub(crate) struct Page {
    /// By id.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// These are all up to this id …
    pub(crate) up_to: i64,
    /// … and there may be more above it.
    pub(crate) more: bool,
}

impl Drop for Feed {
    fn drop(&mut self) {
        lock(&self.journal.0.feeds).close(self.number);
    }
}

impl Journal {
    /// A dispatcher's view: from the oldest entry on.
    pub(crate) fn feed(&self, reader: &str, queue: Queue) -> Feed {
        let wake = Arc::new(Notify::new());
        let mut feeds = lock(&self.0.feeds);
        Feed {
            journal: self.clone(),
            number: feeds.open(reader, queue, wake.clone()),
            newest: feeds.newest(),
            reader: reader.to_owned(),
            queue,
            wake,
        }
    }
}
