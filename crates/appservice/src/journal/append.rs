//! What an application appends itself.

use super::{
    Journal, JournalError, MATRIX, NewEntry, entry, for_each_reader, intake::readers_of, lock,
    now_ms, row, uncancelled,
};
use crate::{
    event::Event,
    measures,
    store::{Key, Queue},
};

impl Journal {
    /// Appends entries of the application's own, and moves a cursor, in one commit.
    ///
    /// Returns how many were new (for each reader that has a handler for them). May be called again with
    /// the same entries: their keys decide.
    ///
    /// # Errors
    ///
    /// When they could not be stored; then nothing is, and the cursor has not moved.
    pub async fn append(
        &self,
        entries: &[NewEntry],
        cursor: Option<(&str, &str)>,
    ) -> Result<u64, JournalError> {
        let this = self.clone();
        let entries = entries.to_vec();
        let cursor = cursor.map(|(name, value)| (name.to_owned(), value.to_owned()));
        uncancelled(async move { this.append_now(entries, cursor).await }).await
    }

    /// Appends Matrix events that the homeserver never pushed, such as those of
    /// [`Intent::history`](crate::Intent::history), in this order, and moves a cursor, in one commit. They get to the
    /// handlers of events like all others, each in its room's lane.
    ///
    /// A homeserver that was away for a while is told by others of the last things that were said, fetches some of
    /// those before, and pushes no more than that. Returns how many were new (for each reader that has a handler of
    /// events): what was pushed, or appended before, is left out.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub async fn append_events(
        &self,
        events: &[Event],
        cursor: Option<(&str, &str)>,
    ) -> Result<u64, JournalError> {
        let this = self.clone();
        let entries: Vec<NewEntry> = events.iter().map(entry_of).collect();
        let cursor = cursor.map(|(name, value)| (name.to_owned(), value.to_owned()));
        uncancelled(async move {
            // What is in memory only has its key there: nothing may be taken in meanwhile.
            let _turn = this.0.take_in_turn.lock().await;
            let readers = lock(&this.0.readers).clone();
            let keys = |entry: &NewEntry| -> Vec<Key> {
                let key = entry.key.as_deref().unwrap_or_default();
                let readers = readers_of(&readers, MATRIX);
                readers
                    .map(|reader| entry::seen_key(reader, MATRIX, key))
                    .collect()
            };
            let all: Vec<Key> = entries.iter().flat_map(keys).collect();
            // Before the store: a key leaves the ledger after it is in the store.
            let open: Vec<Key> = {
                let ledger = lock(&this.0.ledger);
                let open = all.iter().filter(|key| ledger.knows(key));
                open.copied().collect()
            };
            let mut seen = this.0.store.seen(&all).await?;
            seen.extend(open);
            let mut entries = entries;
            entries.retain(|entry| keys(entry).iter().any(|key| !seen.contains(key)));
            if entries.is_empty() && cursor.is_none() {
                return Ok(0);
            }
            this.append_now(entries, cursor).await
        })
        .await
    }

    async fn append_now(
        &self,
        entries: Vec<NewEntry>,
        cursor: Option<(String, String)>,
    ) -> Result<u64, JournalError> {
        let readers = lock(&self.0.readers).clone();
        let received_at = now_ms();
        // How many of them are new is told as one number: it is counted under the first one's.
        let source = entries.first().map(|entry| entry.source);
        let (rows, under_way) = {
            let mut feeds = lock(&self.0.feeds);
            let mut rows = Vec::new();
            for new in entries {
                let readers = readers_of(&readers, new.source);
                for_each_reader(new, readers, |new, reader| {
                    rows.push(row(new, reader, feeds.ids(1), received_at, false));
                });
            }
            let newest = feeds.newest();
            let under_way = feeds.storing(Queue::Each, newest);
            (rows, under_way)
        };
        let cursor = cursor
            .as_ref()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let new = self.0.store.append(&rows, cursor, received_at).await;
        lock(&self.0.feeds).stored(under_way);
        if let (Some(source), Ok(new)) = (source, &new) {
            measures::entries(source, *new);
        }
        new
    }
}

/// As if it had been pushed.
fn entry_of(event: &Event) -> NewEntry {
    NewEntry::new(
        MATRIX,
        event.event_id().as_str(),
        event.room_id().as_str(),
        event.json().get().as_bytes(),
    )
}
