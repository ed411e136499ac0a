//! The journal: a log between those who write (the transaction endpoint, an application's own
//! reader of another system) and those who work entries off (the lanes).
//!
//! # What it guarantees
//!
//! - **Durable before the answer.** A transaction is on disk before the homeserver gets its `200`, and
//!   [`Journal::append`] returns after the commit has reached the disk. A cursor moves in the commit that
//!   appends what was read.
//! - **Once in.** An entry has a natural key: for Matrix the event id. A second append of the same
//!   key does nothing, also after the entry is done, whatever the transaction id was.
//! - **In order.** Entries of one lane keep the order in which they were appended.
//! - **Each reader for itself.** An entry is handed to each reader that has a handler for it, and each
//!   has its own retries, dead letters and place.
//! - **The latest counts** for what passes (typing, receipts, presence) and for the bookkeeping of
//!   encryption: a newer entry takes the place of the one that waits, or joins it.
//! - **Kept.** What can't be handled becomes a dead letter: counted, listed, and either retried or
//!   skipped by a person. The payload of an entry that is done is erased; its key stays, as a hash.
//!   [`Retention`] changes either.
//!
//! # How
//!
//! A transaction is stored as it came, in one row: the only thing that the homeserver waits for. It is
//! taken apart meanwhile, and its entries go to the lanes in memory. Where there is no room they are read
//! from the store again. What is done is written down in batches, 20 ms later: after a crash, what was
//! done in the last 20 ms is handled again. After the power has failed it is what was done since the
//! last transaction.

mod append;
mod dead_letters;
mod entry;
mod error;
mod feed;
mod feeds;
mod held;
mod inbox;
pub(crate) mod intake;
mod latest;
mod ledger;
mod push;
mod retention;
mod settle;
pub(crate) mod split;
mod take_in;
#[cfg(test)]
mod tests;
mod way;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::Notify;

#[cfg(test)]
pub(crate) use self::entry::seen_key;
pub use self::{
    entry::{DeadLetter, Entry, NewEntry, Stats},
    error::JournalError,
    held::HeldLane,
    retention::Retention,
};
pub(crate) use self::{
    feed::{Due, Feed, Page},
    latest::Latest,
    push::PushError,
};
use self::{
    feeds::Feeds,
    held::Held,
    inbox::Inbox,
    intake::{Intake, Readers},
    ledger::Ledger,
    split::Split,
    way::Way,
};
use crate::store::{MemoryStore, Newest, PostgresStore, Row, SqliteStore, State, Store};

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
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    /// What was there when it was opened.
    opened: Newest,
    readers: Mutex<Arc<Readers>>,
    retention: Mutex<Retention>,
    inbox: Mutex<Inbox>,
    /// Locked before `ledger`, where both are.
    feeds: Mutex<Feeds>,
    ledger: Mutex<Ledger>,
    /// Never locked together with another one.
    held: Mutex<Held>,
    /// When a transaction was stored last, Unix time in ms; 0: not since this was opened.
    pushed_at: AtomicI64,
    /// One push at a time, so that the inbox is in order.
    push_turn: tokio::sync::Mutex<()>,
    take_in_turn: tokio::sync::Mutex<()>,
    settle_turn: tokio::sync::Mutex<()>,
    /// Whether a push is being stored.
    way: Way,
    /// A transaction was pushed.
    pushed: Notify,
    /// Something is to be written down.
    finished: Notify,
    /// What is done can't be written down.
    stuck: AtomicBool,
    #[cfg(test)]
    sqlite: Option<Arc<SqliteStore>>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal in the SQLite file at `path`, which is created, readable by its owner only, when
    /// it isn't there. A path that begins with `postgres://` is the address of PostgreSQL, as for
    /// [`Journal::connect`].
    ///
    /// One process at a time works on a file: it is locked (by `<path>.lock` beside it) until the last
    /// clone is dropped or the process ends.
    ///
    /// # Errors
    ///
    /// [`JournalError::InUse`] when another process has it; else when the file can't be created, is no
    /// database, or was made by a newer version.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        if let Some(url) = path.as_ref().to_str().filter(|path| is_postgres(path)) {
            return Self::connect(url).await;
        }
        let store = Arc::new(SqliteStore::open(path.as_ref()).await?);
        #[cfg(test)]
        let store_of_tests = store.clone();
        #[cfg_attr(not(test), expect(unused_mut, reason = "tests reach below"))]
        let mut inner = Inner::new(store).await?;
        #[cfg(test)]
        {
            inner.sqlite = Some(store_of_tests);
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Opens the journal in PostgreSQL: `postgres://user:password@host:port/database`, with
    /// [parameters](https://docs.rs/sqlx/0.9/sqlx/postgres/struct.PgConnectOptions.html) such as
    /// `?sslmode=verify-full`.
    ///
    /// Its tables are in the schema `matrix_appservice`, which is made when it isn't there;
    /// `?options=-csearch_path=bridge` puts them into another one that is there, for a second journal in
    /// one database. One process at a time works on them: they are locked until the last clone is
    /// dropped or the process ends, over a connection that has to be one (not a pooler's).
    ///
    /// What is erased is gone from the tables when PostgreSQL has cleaned up, and from its log when it
    /// uses that anew.
    ///
    /// # Errors
    ///
    /// [`JournalError::InUse`] when another process has it; else when the address can't be read,
    /// PostgreSQL can't be reached, or the tables were made by a newer version. None of them tells the
    /// password.
    pub async fn connect(url: &str) -> Result<Self, JournalError> {
        Self::with_store(PostgresStore::open(url).await?).await
    }

    /// A journal in memory, for tests and for bots that may forget: what was acknowledged is lost with the
    /// process.
    ///
    /// # Errors
    ///
    /// None; it has the shape of the others.
    pub async fn in_memory() -> Result<Self, JournalError> {
        Self::with_store(MemoryStore::default()).await
    }

    /// The journal in another store.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub async fn with_store(store: impl Store) -> Result<Self, JournalError> {
        Ok(Self(Arc::new(Inner::new(Arc::new(store)).await?)))
    }

    /// Where the cursor `name` stands; `None` before it was first moved.
    ///
    /// # Errors
    ///
    /// When the database can't be read.
    pub async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        self.0.store.cursor(name).await
    }

    /// Removes what waits for a reader (see [`Builder::reader`](crate::Builder::reader)) that isn't there
    /// any more, and its dead letters. Returns how many entries there were.
    ///
    /// # Errors
    ///
    /// When the database can't be written.
    pub async fn forget_reader(&self, name: &str) -> Result<u64, JournalError> {
        self.0.store.forget_reader(name).await
    }

    /// How much waits, is dead, or was done.
    ///
    /// # Errors
    ///
    /// When the database can't be read.
    pub async fn stats(&self) -> Result<Stats, JournalError> {
        // When what is done can't be written down, the numbers are a little old.
        let _ = self.settle_all().await;
        let _turn = self.0.settle_turn.lock().await;
        // Before the store: a transaction that is taken in meanwhile is counted as one that isn't.
        let (transactions, waiting, oldest) = {
            let ledger = lock(&self.0.ledger);
            let (transactions, waiting) = ledger.open();
            (transactions, waiting, ledger.oldest())
        };
        let counts = self.0.store.stats().await?;
        let oldest = [counts.oldest_waiting, oldest];
        Ok(Stats {
            transactions: counts.transactions.saturating_sub(transactions as u64),
            waiting: counts.waiting + waiting as u64,
            oldest_waiting: oldest.into_iter().flatten().min(),
            dead: counts.dead,
            done: counts.done,
            kept: counts.kept,
            held: lock(&self.0.held).len() as u64,
            pushed_at: Some(self.0.pushed_at.load(Ordering::Relaxed)).filter(|at| *at > 0),
        })
    }

    /// Lanes that wait because their oldest entry has failed and is tried again later, at most `limit`: those
    /// with the oldest entries first. Of one that failed before a restart, the class of the failure isn't known until it
    /// is tried again.
    #[must_use]
    pub fn held_lanes(&self, limit: usize) -> Vec<HeldLane> {
        lock(&self.0.held).first(limit)
    }

    /// The lane of an entry waits for it.
    pub(crate) fn hold(&self, entry: &Entry, attempts: u32, due_at: i64, error: &str) {
        lock(&self.0.held).hold(entry, attempts, due_at, error);
    }

    /// The lane of an entry goes on behind it.
    pub(crate) fn let_go(&self, entry: &Entry) {
        lock(&self.0.held).let_go(entry);
    }

    /// Who reads what is appended from now on.
    pub(crate) fn read_by(&self, readers: &Readers) {
        *lock(&self.0.readers) = Arc::new(readers.clone());
    }

    /// How long things are kept. What was kept until a handler asks for it now waits for that handler.
    /// Before the dispatchers start: they read on from where they are, and these are older.
    pub(crate) async fn adopt(
        &self,
        intake: &Intake,
        retention: Retention,
    ) -> Result<(), JournalError> {
        *lock(&self.0.retention) = retention;
        lock(&self.0.ledger).keep_payloads(!retention.payloads.is_zero());
        for source in FOR_ENCRYPTION {
            if intake.handles(source) {
                self.0.store.release_kept(source).await?;
            }
        }
        Ok(())
    }

    /// Waits until nothing that was pushed is being stored, but not for long.
    pub(crate) async fn make_way(&self) {
        self.0.way.make().await;
    }

    /// Whether what is done can't be written down. Then nothing new should be begun: it would all be
    /// repeated after a restart.
    pub(crate) fn is_stuck(&self) -> bool {
        self.0.stuck.load(Ordering::Relaxed)
    }

    /// An entry is done.
    pub(crate) fn done(&self, id: i64) {
        lock(&self.0.ledger).done(id);
        self.0.finished.notify_one();
    }

    /// An entry has failed.
    pub(crate) async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError> {
        self.settle_one(id).await?;
        self.0.store.postpone(id, attempts, due_at, error).await
    }

    /// An entry becomes a dead letter.
    pub(crate) async fn bury(
        &self,
        id: i64,
        attempts: u32,
        error: &str,
    ) -> Result<(), JournalError> {
        self.settle_one(id).await?;
        self.0.store.bury(id, attempts, error).await
    }

    #[cfg(test)]
    pub(crate) fn sqlite(&self) -> &SqliteStore {
        self.0.sqlite.as_ref().unwrap()
    }
}

/// Whether a path is the address of PostgreSQL.
fn is_postgres(path: &str) -> bool {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| path.starts_with(scheme))
}

impl Inner {
    async fn new(store: Arc<dyn Store>) -> Result<Self, JournalError> {
        let opened = store.newest().await?;
        Ok(Self {
            store,
            opened,
            readers: Mutex::default(),
            retention: Mutex::default(),
            inbox: Mutex::new(Inbox::behind()),
            feeds: Mutex::new(Feeds::above(opened.entry)),
            ledger: Mutex::default(),
            held: Mutex::default(),
            pushed_at: AtomicI64::new(0),
            push_turn: tokio::sync::Mutex::default(),
            take_in_turn: tokio::sync::Mutex::default(),
            settle_turn: tokio::sync::Mutex::default(),
            way: Way::default(),
            pushed: Notify::new(),
            finished: Notify::new(),
            stuck: AtomicBool::new(false),
            #[cfg(test)]
            sqlite: None,
        })
    }
}

/// Hands an entry to each reader; the last one gets what the others have copies of.
fn for_each_reader<'a>(
    new: NewEntry,
    readers: impl Iterator<Item = &'a str>,
    mut hand: impl FnMut(NewEntry, &str),
) {
    let mut readers = readers.peekable();
    while let Some(reader) = readers.next() {
        if readers.peek().is_none() {
            hand(new, reader);
            return;
        }
        hand(new.clone(), reader);
    }
}

fn row(new: NewEntry, reader: &str, id: i64, received_at: i64, begun: bool) -> Row {
    let NewEntry {
        source,
        key,
        lane,
        payload,
        dead,
    } = new;
    let seen = key.as_ref().map(|key| entry::seen_key(reader, source, key));
    Row {
        entry: Arc::new(Entry {
            id,
            reader: reader.to_owned(),
            source: source.into(),
            key,
            lane,
            attempts: 0,
            received_at,
            due_at: 0,
            begun,
            slot: None,
            payload,
        }),
        state: if dead.is_some() {
            State::Dead
        } else {
            State::Waiting
        },
        error: dead.map(ToOwned::to_owned),
        seen,
    }
}

/// Goes on also when nobody waits for it any more: what is under way in the store has to be heard of.
async fn uncancelled<T: Send + 'static>(
    work: impl Future<Output = Result<T, JournalError>> + Send + 'static,
) -> Result<T, JournalError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(JournalError::Closed),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    unix_ms(SystemTime::now())
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
        })
}

/// The text of an error's cause; a database's own words hold no content.
pub(crate) fn cause(error: &JournalError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
