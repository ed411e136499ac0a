//! The journal's rows in SQLite: write-ahead log, one writer in a thread of its own.
//!
//! What has to be durable is written with `synchronous = FULL`, the rest with `NORMAL`: it is in the
//! log without waiting for the disk, and gets there with the next durable commit.

mod connection;
#[cfg(test)]
mod faults;
mod file;
mod filter;
mod pages;
mod rows;
mod settled;
#[cfg(test)]
mod tests;
mod worker;
mod writer;

use std::{
    collections::HashSet,
    fs::File,
    path::Path,
    sync::{Arc, Mutex, PoisonError, TryLockError},
};

use rusqlite::{Connection, OptionalExtension, Params};

use self::{settled::Settled, worker::Worker, writer::Writer};
use super::{
    Bytes, Counts, Key, Newest, Queue, Row, Settlement, Store, StoredTransaction, Tidy, async_trait,
};
use crate::journal::{DeadLetter, Entry, JournalError, now_ms};

/// Pages of the log (of 4 KiB) that are left where they are: moving them would cost more than they do.
const SHORT_LOG: i64 = 256;
/// Rows that one purge removes.
const PURGE_AT_ONCE: u32 = 1000;
/// Keys that are looked up without going to another thread: their pages are nearly always in memory.
const FEW_KEYS: usize = 16;

/// Rows in a SQLite file: see [`Journal::open`](crate::Journal::open).
#[derive(Debug)]
pub struct SqliteStore {
    /// One connection: SQLite has one writer, and waiting here is fairer than its busy loop.
    writer: Worker<Writer>,
    settled: Arc<Settled>,
    /// Reads for those who work entries off.
    reader: Arc<Mutex<Connection>>,
    /// For reads that take their time, and to move the log's pages to their place beside the writer.
    aside: Arc<Mutex<Connection>>,
    /// Held until the last connection is closed: two dispatchers on one journal would do everything twice.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, which is created when it isn't there.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`](crate::Journal::open).
    pub async fn open(path: &Path) -> Result<Self, JournalError> {
        let path = path.to_owned();
        blocking(move || Self::open_now(&path)).await
    }

    fn open_now(path: &Path) -> Result<Self, JournalError> {
        let lock = file::claim(path)?;
        let mut writer = connection::open(path)?;
        connection::migrate(&mut writer)?;
        let settled = Arc::new(Settled::load(&writer)?);
        let sql = "SELECT EXISTS (SELECT 1 FROM seen)";
        let has_keys: bool = writer.query_row(sql, [], |row| row.get(0))?;
        let sql = "SELECT COALESCE(MAX(id), 0) FROM inbox";
        let pushed = writer.query_row(sql, [], |row| row.get(0))?;
        let writer = Writer::new(writer, pushed, settled.clone());
        let no_thread = |source| JournalError::File {
            path: path.to_owned(),
            source,
        };
        let aside = Arc::new(Mutex::new(connection::open(path)?));
        if has_keys {
            let (settled, aside) = (settled.clone(), aside.clone());
            // They may be many. Until it has met each, none is excluded.
            tokio::task::spawn_blocking(move || {
                let aside = aside.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = rows::filter_keys(&aside, &settled.filter) {
                    tracing::debug!(%error, "the keys can't be read, each is looked up");
                }
            });
        } else {
            settled.filter.completed();
        }
        Ok(Self {
            writer: Worker::start("journal", writer).map_err(no_thread)?,
            settled,
            reader: Arc::new(Mutex::new(connection::open(path)?)),
            aside,
            _lock: lock,
        })
    }
}

/// Does what may take its time, beside the tasks.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, JournalError> + Send + 'static,
) -> Result<R, JournalError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(JournalError::Closed),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn newest(&self) -> Result<Newest, JournalError> {
        let read = |connection: &Connection| {
            let sql = "SELECT (SELECT COALESCE(MAX(id), 0) FROM entry),
                              (SELECT COALESCE(MAX(id), 0) FROM inbox)";
            let newest = connection.query_row(sql, [], |row| {
                Ok(Newest {
                    entry: row.get(0)?,
                    transaction: row.get(1)?,
                })
            });
            Ok(newest?)
        };
        self.read(&self.reader, read).await
    }

    async fn push(
        &self,
        txn_id: &str,
        body: &Bytes,
        received_at: i64,
    ) -> Result<i64, JournalError> {
        let (txn_id, body) = (txn_id.to_owned(), body.clone());
        self.writer
            .run(move |writer| {
                let id = writer.pushed + 1;
                rows::push(writer.durable()?, id, (&txn_id, received_at, &body))?;
                writer.pushed = id;
                Ok(id)
            })
            .await
    }

    async fn transactions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredTransaction>, JournalError> {
        let settled = self.settled.clone();
        let read =
            move |connection: &Connection| rows::transactions(connection, &settled, after, limit);
        self.read(&self.reader, read).await
    }

    async fn seen(&self, keys: &[Key]) -> Result<HashSet<Key>, JournalError> {
        let (known, others): (Vec<_>, Vec<_>) = keys
            .iter()
            .filter(|key| !self.settled.is_new(key))
            .copied()
            // Memory first: a key leaves it when it is in the table.
            .partition(|key| self.settled.knows(key));
        let mut seen: HashSet<Key> = known.into_iter().collect();
        if others.is_empty() {
            return Ok(seen);
        }
        if others.len() <= FEW_KEYS
            && let Some(connection) = try_lock(&self.reader)
        {
            seen.extend(rows::seen(&connection, others)?);
            return Ok(seen);
        }
        let read = move |connection: &Connection| rows::seen(connection, others);
        seen.extend(self.read(&self.reader, read).await?);
        Ok(seen)
    }

    async fn append(
        &self,
        rows: &[Row],
        cursor: Option<(&str, &str)>,
        now: i64,
    ) -> Result<u64, JournalError> {
        let rows = rows.to_vec();
        let cursor = cursor.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.writer
            .run(move |writer| {
                let settled = writer.settled.clone();
                let commit = writer.begin(true)?;
                let new = rows::append(&commit, &settled, &rows, now)?;
                if let Some((name, value)) = &cursor {
                    rows::move_cursor(&commit, (name, value), now)?;
                }
                commit.commit()?;
                Ok(new)
            })
            .await
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        let name = name.to_owned();
        let read = move |connection: &Connection| rows::cursor(connection, &name);
        self.read(&self.reader, read).await
    }

    async fn settle(&self, settlement: &Arc<Settlement>) -> Result<(), JournalError> {
        let settlement = settlement.clone();
        let settle = move |writer: &mut Writer| {
            let settled = writer.settled.clone();
            let commit = writer.begin(false)?;
            let done = rows::settle(&commit, &settlement)?;
            let written = settled::write(&commit, &settled, &settlement, done)?;
            commit.commit()?;
            written.committed(&settled);
            Ok(())
        };
        self.writer.run(settle).await?;
        while self.settled.is_full() {
            self.writer.run(settled::move_some).await?;
        }
        Ok(())
    }

    async fn waiting(
        &self,
        reader: &str,
        queue: Queue,
        lane: Option<&str>,
        range: (i64, i64),
        limit: u32,
    ) -> Result<Vec<Entry>, JournalError> {
        let (reader, lane) = (reader.to_owned(), lane.map(ToOwned::to_owned));
        let read = move |connection: &Connection| {
            rows::waiting(connection, (&reader, queue), lane.as_deref(), range, limit)
        };
        self.read(&self.reader, read).await
    }

    async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError> {
        let sql = "UPDATE entry SET attempts = ?, due_at = ?, error = ?, begun = 1
                   WHERE id = ? AND state = 0";
        self.change(sql, (attempts, due_at, error.to_owned(), id))
            .await?;
        Ok(())
    }

    async fn bury(&self, id: i64, attempts: u32, error: &str) -> Result<(), JournalError> {
        let sql = "UPDATE entry SET state = 2, attempts = ?, error = ?, begun = 1
                   WHERE id = ? AND state = 0";
        self.change(sql, (attempts, error.to_owned(), id)).await?;
        Ok(())
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, JournalError> {
        let read = move |connection: &Connection| {
            let sql =
                "SELECT id, reader, source, key, lane, attempts, received_at, COALESCE(error, '')
                       FROM entry WHERE state = 2 AND id > ? ORDER BY id LIMIT ?";
            let mut statement = connection.prepare_cached(sql)?;
            let letters = statement.query_map((after, limit), rows::dead_letter)?;
            Ok(letters.collect::<Result<_, _>>()?)
        };
        self.read(&self.aside, read).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<(DeadLetter, Arc<[u8]>)>, JournalError> {
        let read = move |connection: &Connection| {
            let sql =
                "SELECT id, reader, source, key, lane, attempts, received_at, COALESCE(error, ''),
                              payload
                       FROM entry WHERE state = 2 AND id = ?";
            let letter = connection.query_row(sql, [id], |row| {
                Ok((rows::dead_letter(row)?, row.get_ref(8)?.as_blob()?.into()))
            });
            Ok(letter.optional()?)
        };
        self.read(&self.aside, read).await
    }

    async fn retry_dead_letter(&self, id: i64, new_id: i64) -> Result<bool, JournalError> {
        let sql = "UPDATE entry SET id = ?2, state = 0, attempts = 0, due_at = 0, begun = 1,
                          key = COALESCE(key, 'entry:' || id)
                   WHERE id = ?1 AND state = 2";
        Ok(self.change(sql, (id, new_id)).await? > 0)
    }

    async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        self.writer
            .run(move |writer| {
                let commit = writer.begin(false)?;
                let skipped = rows::skip(&commit, id)?;
                commit.commit()?;
                Ok(skipped)
            })
            .await
    }

    async fn release_kept(&self, source: &str) -> Result<(), JournalError> {
        let sql = "UPDATE entry SET state = 0 WHERE state = 4 AND source = ?";
        self.change(sql, (source.to_owned(),)).await?;
        Ok(())
    }

    async fn forget_reader(&self, reader: &str) -> Result<u64, JournalError> {
        let sql = "DELETE FROM entry WHERE reader = ?";
        Ok(self.change(sql, (reader.to_owned(),)).await? as u64)
    }

    async fn stats(&self) -> Result<Counts, JournalError> {
        self.move_all().await?;
        let read = move |connection: &Connection| {
            let sql = "SELECT (SELECT COUNT(*) FROM inbox),
                              (SELECT COUNT(*) FROM entry WHERE state = 0 AND slot IS NULL),
                              (SELECT COUNT(*) FROM entry WHERE state = 0 AND slot IS NOT NULL),
                              (SELECT received_at FROM entry WHERE state = 0 ORDER BY id LIMIT 1),
                              (SELECT COUNT(*) FROM entry WHERE state = 2),
                              (SELECT COUNT(*) FROM entry WHERE state = 4),
                              (SELECT value FROM counter WHERE name = 'done')";
            let counts = connection.query_row(sql, [], |row| {
                let count =
                    |index| Ok::<_, rusqlite::Error>(row.get::<_, i64>(index)?.unsigned_abs());
                Ok(Counts {
                    transactions: count(0)?,
                    waiting: count(1)? + count(2)?,
                    oldest_waiting: row.get(3)?,
                    dead: count(4)?,
                    kept: count(5)?,
                    done: count(6)?,
                })
            });
            Ok(counts?)
        };
        self.read(&self.aside, read).await
    }

    async fn purge(&self, payloads: i64, keys: Option<i64>) -> Result<bool, JournalError> {
        self.move_all().await?;
        let sql = "DELETE FROM entry WHERE id IN
                       (SELECT id FROM entry WHERE state = 1 AND due_at < ? LIMIT ?)";
        let mut removed = self.change(sql, (payloads, PURGE_AT_ONCE)).await?;
        if let Some(keys) = keys {
            let sql = "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < ? LIMIT ?)";
            removed = removed.max(self.change(sql, (keys, PURGE_AT_ONCE)).await?);
        }
        Ok(removed >= PURGE_AT_ONCE as usize)
    }

    async fn tidy(&self, when: Tidy) -> Result<(), JournalError> {
        if when != Tidy::Busy || self.settled.is_overdue(now_ms()) {
            self.move_all().await?;
        }
        if when == Tidy::Calm {
            return Ok(());
        }
        let checkpoint = |connection: &Connection| {
            let pages =
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1));
            Ok(pages?)
        };
        // Most of it beside the writer, without anybody waiting …
        let pages: i64 = self.read(&self.aside, checkpoint).await?;
        let sql = if when == Tidy::Idle {
            // What is erased leaves the log, too.
            "PRAGMA wal_checkpoint(TRUNCATE)"
        } else if pages > SHORT_LOG {
            // … and what came meanwhile while nobody writes: only when all of it is in its place, the log
            // begins again from its start.
            "PRAGMA wal_checkpoint(PASSIVE)"
        } else {
            return Ok(());
        };
        self.writer
            .run(move |writer| {
                // In a commit of its own, without a change that could wait for the disk.
                Ok(writer.relaxed()?.query_row(sql, [], |_| Ok(()))?)
            })
            .await
    }
}

impl SqliteStore {
    /// Reads with a connection, beside the tasks.
    async fn read<R: Send + 'static>(
        &self,
        connection: &Arc<Mutex<Connection>>,
        read: impl FnOnce(&Connection) -> Result<R, JournalError> + Send + 'static,
    ) -> Result<R, JournalError> {
        let connection = connection.clone();
        blocking(move || read(&connection.lock().unwrap_or_else(PoisonError::into_inner))).await
    }

    /// One statement that need not wait for the disk; returns how many rows it changed.
    async fn change(
        &self,
        sql: &'static str,
        values: impl Params + Send + 'static,
    ) -> Result<usize, JournalError> {
        self.writer
            .run(move |writer| Ok(writer.relaxed()?.prepare_cached(sql)?.execute(values)?))
            .await
    }

    /// Moves all that was settled to its place, with pushes in between.
    async fn move_all(&self) -> Result<(), JournalError> {
        while self.writer.run(settled::move_some).await? {}
        Ok(())
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<std::sync::MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
