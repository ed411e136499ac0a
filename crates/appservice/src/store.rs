//! Where the journal's rows are: the port, and its adapters.
//!
//! [`Journal::open`](crate::Journal::open) keeps them in SQLite. Another database takes the place of it
//! by implementing [`Store`] and handing it to [`Journal::with_store`](crate::Journal::with_store).
//!
//! What is guaranteed to handlers is the work of the journal above the port: it gives ids, tells
//! repeats apart, decides what is written and when. A store keeps rows, and holds to a few rules:
//!
//! - **One journal at a time.** Opening a store that somebody else has open fails with
//!   [`JournalError::InUse`]: two would do everything twice.
//! - **All or nothing.** Each method is one commit.
//! - **Durable** are [`push`](Store::push) and [`append`](Store::append) when they return: on disk, also
//!   when the power fails the moment after. The other methods need not wait for the disk. They may be
//!   lost with the power, but only the newest of them, in the order in which they were made, and never
//!   after a later `push` or `append` has returned.
//! - **Again.** A method that has failed may have had its effect (a connection can break behind the
//!   commit), and is called again with the same arguments or with more.
//!
//! No method is called by two tasks at once with contradicting orders, but several may run side by side:
//! a push while a settlement is being written, reads at any time.

mod key;
mod memory;
mod postgres;
mod sqlite;

pub use self::{
    key::{Key, NoKey},
    memory::MemoryStore,
    postgres::PostgresStore,
    sqlite::SqliteStore,
};

use std::{collections::HashSet, fmt, sync::Arc};

pub use async_trait::async_trait;
pub use bytes::Bytes;

use crate::journal::{DeadLetter, Entry, JournalError};

/// Keeps the journal's rows. See [the module](self) for the rules that bind all methods.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The largest ids that are stored. Asked once, at the start.
    async fn newest(&self) -> Result<Newest, JournalError>;

    /// Stores a transaction as it came, durably, and returns its id: larger than that of any that is stored,
    /// and than that of any push that this store has returned before, also after its transaction was removed.
    ///
    /// The homeserver waits for this. Never called twice at once.
    async fn push(&self, txn_id: &str, body: &Bytes, received_at: i64)
    -> Result<i64, JournalError>;

    /// Stored transactions with an id above `after`, oldest first: at most `limit`, and fewer (but at
    /// least one, when there is any) when their bodies together are large.
    async fn transactions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredTransaction>, JournalError>;

    /// Which of these keys are remembered.
    async fn seen(&self, keys: &[Key]) -> Result<HashSet<Key>, JournalError>;

    /// Stores entries that wait, durably, remembers their keys, and moves a cursor. A row whose key is
    /// remembered already is left out. Returns how many were stored.
    async fn append(
        &self,
        rows: &[Row],
        cursor: Option<(&str, &str)>,
        now: i64,
    ) -> Result<u64, JournalError>;

    /// Where the cursor `name` stands.
    async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError>;

    /// Writes down what has become of transactions and entries.
    async fn settle(&self, settlement: &Arc<Settlement>) -> Result<(), JournalError>;

    /// Waiting entries of one reader with an id above `range.0` and up to `range.1`, by id, at most
    /// `limit`; of one lane, or of all.
    async fn waiting(
        &self,
        reader: &str,
        queue: Queue,
        lane: Option<&str>,
        range: (i64, i64),
        limit: u32,
    ) -> Result<Vec<Entry>, JournalError>;

    /// A waiting entry has failed: sets its attempts, when it is due, and the class of its error.
    async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError>;

    /// A waiting entry becomes a dead letter.
    async fn bury(&self, id: i64, attempts: u32, error: &str) -> Result<(), JournalError>;

    /// Dead letters with an id above `after`, by id, at most `limit`.
    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, JournalError>;

    /// What a dead letter holds; `None` when there is no such letter.
    async fn dead_letter(&self, id: i64) -> Result<Option<(DeadLetter, Arc<[u8]>)>, JournalError>;

    /// A dead letter waits again, under the id `new_id`, with no attempts and due at once. Its error
    /// stays, as a sign that a handler has begun with it. When it has no key, it gets `entry:<id>` for
    /// one. Returns whether there was such a letter.
    async fn retry_dead_letter(&self, id: i64, new_id: i64) -> Result<bool, JournalError>;

    /// Removes a dead letter and counts it as done. Returns whether there was such a letter.
    async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError>;

    /// Entries of this source that are [kept](State::Kept) wait from now on. Only called while nobody
    /// reads what waits.
    async fn release_kept(&self, source: &str) -> Result<(), JournalError>;

    /// Removes all entries of a reader, in any state. Returns how many there were.
    async fn forget_reader(&self, reader: &str) -> Result<u64, JournalError>;

    /// What is stored, in numbers: what waits, is dead, is kept; transactions; what was done since the
    /// store was made. Of the range of ids it may take its time.
    async fn stats(&self) -> Result<Counts, JournalError>;

    /// Removes the payloads of entries that were done before `payloads`, and keys remembered before
    /// `keys` (both Unix time in ms), a bounded piece of each. Returns whether more is left.
    async fn purge(&self, payloads: i64, keys: Option<i64>) -> Result<bool, JournalError>;

    /// Brings to its place what was put down in haste, where a database has such a thing. Pushes may wait for it then.
    async fn tidy(&self, when: Tidy) -> Result<(), JournalError> {
        let _ = when;
        Ok(())
    }
}

/// When a store is tidied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tidy {
    /// Once in a second in which something was done: no more than what can't be put off.
    Busy,
    /// Nothing was done for a moment. More may come any time.
    Calm,
    /// Nothing was done for a second.
    Idle,
}

/// The largest ids that are stored; 0 where there is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// Of all entries, in any state.
    pub entry: i64,
    /// Of all transactions.
    pub transaction: i64,
}

/// A transaction as it was pushed.
#[derive(Clone)]
pub struct StoredTransaction {
    /// What [`Store::push`] returned.
    pub id: i64,
    /// What the homeserver calls it. It may use the same again for another: never a key.
    pub txn_id: String,
    /// When it was pushed, Unix time in ms.
    pub received_at: i64,
    /// Its body.
    pub body: Vec<u8>,
}

/// An entry as it is stored, whatever its state.
pub(crate) struct StoredEntry {
    pub(crate) id: i64,
    pub(crate) reader: String,
    pub(crate) source: String,
    pub(crate) key: Option<String>,
    pub(crate) lane: String,
    pub(crate) slot: Option<String>,
    pub(crate) state: i16,
    pub(crate) attempts: i64,
    pub(crate) received_at: i64,
    pub(crate) due_at: i64,
    pub(crate) begun: bool,
    pub(crate) error: Option<String>,
    pub(crate) payload: Vec<u8>,
}

/// What [`PostgresStore::take_over`] has taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenOver {
    /// Transactions that were not taken apart yet.
    pub transactions: u64,
    /// Entries: those that wait, dead letters, and what is kept.
    pub entries: u64,
    /// Keys of what was taken in before.
    pub keys: u64,
    /// Places up to which other systems were read.
    pub cursors: u64,
}

/// Which of a reader's entries: those that are handled each, or those of which the latest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// Entries without a [slot](Entry::slot).
    Each,
    /// Entries with a slot.
    Latest,
}

/// What state a stored entry is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// To be handled.
    Waiting,
    /// Handled, at the time in [`due_at`](Entry::due_at). Only stored when payloads are kept longer: see
    /// [`Retention`](crate::Retention).
    Done,
    /// Nobody could handle it.
    Dead,
    /// Nobody asks for it yet.
    Kept,
}

/// An entry to be stored.
#[derive(Debug, Clone)]
pub struct Row {
    /// The entry. Its id is given by the journal and used by no other row.
    pub entry: Arc<Entry>,
    /// The state that it is stored in.
    pub state: State,
    /// The class of its error.
    pub error: Option<String>,
    /// The key that it is remembered by.
    pub seen: Option<Key>,
}

/// Joins the payload that waits in a slot with the one that came, to one that says what both say.
pub type Merge = fn(old: &[u8], new: &[u8]) -> Vec<u8>;

/// An entry that takes the place of the one in the same [slot](Entry::slot), whatever state that one is
/// in.
#[derive(Clone, Debug)]
pub struct LatestRow {
    /// The entry and its state.
    pub row: Row,
    /// For what has to be kept of the entry that is replaced; without it, that one is forgotten.
    pub merge: Option<Merge>,
}

/// What has become of transactions and entries since the last settlement. All in one commit.
#[derive(Debug, Clone, Default)]
pub struct Settlement {
    /// Now, Unix time in ms: when the keys are remembered and the entries done.
    pub now: i64,
    /// Keys to be remembered. Some may be remembered already.
    pub seen: Vec<Key>,
    /// Entries to be stored, besides their keys. One whose id is stored already is left as it is.
    pub rows: Vec<Row>,
    /// Entries to be stored in a slot, in this order. One whose id is stored already is left as it is.
    pub latest: Vec<LatestRow>,
    /// Waiting entries that are done: their rows are removed, or become [`State::Done`] (done at `now`)
    /// when `keep_payloads` is set. Those with a slot are removed in any case. Ids that aren't stored, or
    /// aren't waiting, are passed over.
    pub done: Vec<i64>,
    /// Whether the rows of `done` stay until [`Store::purge`].
    pub keep_payloads: bool,
    /// Transactions to be removed.
    pub transactions: Vec<i64>,
    /// How many entries are done without having been stored. Added to [`Counts::done`], like the rows of
    /// `done` that were found and have no slot.
    pub done_unstored: u64,
}

impl Settlement {
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_empty()
            && self.rows.is_empty()
            && self.latest.is_empty()
            && self.done.is_empty()
            && self.transactions.is_empty()
    }
}

/// What is stored, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions.
    pub transactions: u64,
    /// Entries that wait.
    pub waiting: u64,
    /// When the oldest of them was received, Unix time in ms.
    pub oldest_waiting: Option<i64>,
    /// Dead letters.
    pub dead: u64,
    /// Entries that nobody asks for yet.
    pub kept: u64,
    /// Entries without a slot that were done, and all that were skipped, since the store was made.
    pub done: u64,
}

impl fmt::Debug for StoredTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTransaction")
            .field("id", &self.id)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
