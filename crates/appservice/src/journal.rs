//! The journal: a log between those who write (the transaction endpoint, an application's own
//! reader of another system) and those who work entries off (the lanes).
//!
//! # What it guarantees
//!
//! - **Durable before the answer.** [`Journal::append_transaction`] and [`Journal::append`] return
//!   after the commit has reached the disk. A cursor moves in the commit that appends what was read.
//! - **Once in.** An entry has a natural key: for Matrix the event id. A second append of the same
//!   key does nothing, also after the entry is done, whatever the transaction id was.
//! - **In order.** Entries of one lane keep the order in which they were appended.
//! - **The latest counts** for what passes (typing, receipts, presence) and for the bookkeeping of
//!   encryption: a newer entry takes the place of the one that waits, or joins it.
//! - **Kept.** What can't be handled becomes a dead letter: counted, listed, and either retried or
//!   skipped by a person. The payload of an entry that is done is erased; its key stays.

mod entry;
mod error;
pub(crate) mod intake;
mod latest;
pub(crate) mod split;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::SystemTime};

use tokio::sync::Notify;

pub(crate) use self::latest::{Latest, Queue};
pub use self::{
    entry::{DeadLetter, Entry, NewEntry, Stats},
    error::JournalError,
};
use self::{intake::Intake, split::Split};
use crate::store::sqlite::SqliteStore;

/// The source of the events that a homeserver pushed. What else it pushes has sources that begin
/// with this name and a dot.
pub const MATRIX: &str = "matrix";
pub(crate) const TYPING: &str = "matrix.typing";
pub(crate) const RECEIPT: &str = "matrix.receipt";
pub(crate) const PRESENCE: &str = "matrix.presence";
pub(crate) const TO_DEVICE: &str = "matrix.to_device";
pub(crate) const DEVICE_LISTS: &str = "matrix.device_lists";
pub(crate) const KEY_COUNTS: &str = "matrix.key_counts";

/// Kept, also while nobody asks for them.
const FOR_ENCRYPTION: [&str; 3] = [TO_DEVICE, DEVICE_LISTS, KEY_COUNTS];

/// A handle on the journal; clones share it.
#[derive(Clone, Debug)]
pub struct Journal {
    store: SqliteStore,
    appended: Arc<Appended>,
}

/// Wakes who works the entries off.
#[derive(Debug, Default)]
struct Appended {
    each: Notify,
    latest: Notify,
}

impl Journal {
    /// Opens the journal in the SQLite file at `path`, which is created, readable by its owner only, when
    /// it isn't there.
    ///
    /// One process at a time works on a file: it is locked (by `<path>.lock` beside it) until the last
    /// clone is dropped or the process ends.
    ///
    /// # Errors
    ///
    /// [`JournalError::InUse`] when another process has it; else when the file can't be created, is no
    /// database, or was made by a newer version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        Ok(Self {
            store: SqliteStore::open(path.as_ref()).await?,
            appended: Arc::default(),
        })
    }

    /// Stores a homeserver's transaction as it came. It is durable when this returns.
    ///
    /// `body` has been checked to be a JSON object with a list `events`; the rest is looked at
    /// behind the answer, and an event that can't be read becomes a dead letter of its own.
    ///
    /// # Errors
    ///
    /// When it could not be stored; then nothing of it is.
    pub async fn append_transaction(&self, txn_id: &str, body: &[u8]) -> Result<(), JournalError> {
        self.store
            .insert_transaction(txn_id, body, now_ms())
            .await?;
        self.appended.each.notify_one();
        Ok(())
    }

    /// Appends entries of the application's own, and moves a cursor, in one commit.
    ///
    /// Returns how many were new. May be called again with the same entries: their keys decide.
    ///
    /// # Errors
    ///
    /// When they could not be stored; then nothing is, and the cursor has not moved.
    pub async fn append(
        &self,
        entries: &[NewEntry],
        cursor: Option<(&str, &str)>,
    ) -> Result<u64, JournalError> {
        let new = self.store.insert_entries(entries, cursor, now_ms()).await?;
        self.appended.each.notify_one();
        Ok(new)
    }

    /// Where the cursor `name` stands; `None` before it was first moved.
    ///
    /// # Errors
    ///
    /// When the database can't be read.
    pub async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        self.store.cursor(name).await
    }

    /// How much waits, is dead, or was done.
    ///
    /// # Errors
    ///
    /// When the database can't be read.
    pub async fn stats(&self) -> Result<Stats, JournalError> {
        self.store.stats().await
    }

    /// Dead letters with an id above `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// When the database can't be read.
    pub async fn dead_letters(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, JournalError> {
        self.store.dead_letters(after, limit).await
    }

    /// Puts a dead letter back at the end of its lane, with a fresh budget of attempts. Returns
    /// whether there was one.
    ///
    /// # Errors
    ///
    /// When the database can't be written.
    pub async fn retry_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let there = self.store.retry_dead_letter(id).await?;
        self.appended.each.notify_one();
        self.appended.latest.notify_one();
        Ok(there)
    }

    /// Gives a dead letter up: its payload is erased, its key stays. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// When the database can't be written.
    pub async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        self.store.skip_dead_letter(id).await
    }

    /// Waits until something was appended for this queue since the last call.
    pub(crate) async fn appended(&self, queue: Queue) {
        match queue {
            Queue::Each => self.appended.each.notified().await,
            Queue::Latest => self.appended.latest.notified().await,
        }
    }

    /// Turns up to `limit` stored transactions into entries. Returns how many there were.
    pub(crate) async fn split(&self, limit: u32, intake: &Intake) -> Result<usize, JournalError> {
        let transactions = self.store.transactions(limit).await?;
        for transaction in &transactions {
            let split = split::split(&transaction.txn_id, &transaction.body, intake);
            let new = self
                .store
                .replace_transaction(transaction.id, &split, transaction.received_at)
                .await?;
            let Split {
                waiting,
                kept,
                latest,
                unwanted,
            } = &split;
            if !latest.is_empty() {
                self.appended.latest.notify_one();
            }
            tracing::debug!(
                txn_id = transaction.txn_id,
                entries = waiting.len() + kept.len(),
                new,
                latest = latest.len(),
                unwanted,
                "transaction is in the journal"
            );
        }
        Ok(transactions.len())
    }

    /// What was kept until a handler asks for it now waits for that handler. Before the dispatchers
    /// start: they read on from where they are, and these are older.
    pub(crate) async fn adopt(&self, intake: &Intake) -> Result<(), JournalError> {
        for source in FOR_ENCRYPTION {
            if intake.handles(source) {
                self.store.release_kept(source).await?;
            }
        }
        Ok(())
    }

    pub(crate) fn store(&self) -> &SqliteStore {
        &self.store
    }
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
}
