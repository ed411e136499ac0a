//! The journal's rows in SQLite: write-ahead log, one writer.
//!
//! What has to be durable is written with `synchronous = FULL`, the rest with `NORMAL`: it is in the
//! log without waiting for the disk, and gets there with the next durable commit.

#[cfg(test)]
mod faults;
mod file;
mod rows;
mod writer;

use std::{collections::HashSet, fs::File, path::Path, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::sync::Mutex;

use self::writer::Writer;
use super::{Counts, Newest, Queue, Row, Settlement, Store, StoredTransaction, async_trait};
use crate::journal::{DeadLetter, Entry, JournalError};

/// Bodies that are read at once, unless one alone is larger.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// The log is emptied, while pushes wait, when it has grown to so many pages (of 4 KiB).
const LONG_LOG: i64 = 16 * 1024;
/// Rows that one purge removes.
const PURGE_AT_ONCE: i64 = 1000;

/// Rows in a SQLite file: see [`Journal::open`](crate::Journal::open).
#[derive(Debug)]
pub struct SqliteStore {
    /// Held for as long as the file is open: two dispatchers on one journal would do everything twice.
    _lock: File,
    /// One connection: SQLite has one writer, and waiting here is fairer than its busy loop.
    writer: Mutex<Writer>,
    /// Reads for those who work entries off.
    reader: Mutex<SqliteConnection>,
    /// For reads that take their time, and to move the log's pages to their place beside the writer.
    aside: Mutex<SqliteConnection>,
}

impl SqliteStore {
    /// Opens the store in the file at `path`, which is created when it isn't there.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`](crate::Journal::open).
    pub async fn open(path: &Path) -> Result<Self, JournalError> {
        let lock = file::claim(path)?;
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What is erased is overwritten: a payload that is done leaves nothing in the file.
            .pragma("secure_delete", "ON")
            // Not by whoever happens to commit: the homeserver would wait for it.
            .pragma("wal_autocheckpoint", "0")
            .busy_timeout(Duration::from_secs(10))
            .disable_statement_logging();
        let open = |source| JournalError::Open {
            path: path.to_owned(),
            source,
        };
        let writer = options.connect().await.map_err(open)?;
        let mut writer = Writer::new(writer);
        // Each migration commits several times. The first push waits for the disk, for these too.
        sqlx::migrate!("migrations/sqlite")
            .run(writer.relaxed().await?)
            .await
            .map_err(JournalError::Schema)?;
        writer.durable().await?;
        Ok(Self {
            _lock: lock,
            writer: Mutex::new(writer),
            reader: Mutex::new(options.connect().await.map_err(open)?),
            aside: Mutex::new(options.connect().await.map_err(open)?),
        })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn newest(&self) -> Result<Newest, JournalError> {
        let row = sqlx::query(
            "SELECT (SELECT COALESCE(MAX(id), 0) FROM entry),
                    (SELECT COALESCE(MAX(id), 0) FROM inbox)",
        )
        .fetch_one(&mut *self.reader.lock().await)
        .await?;
        Ok(Newest {
            entry: row.try_get(0)?,
            transaction: row.try_get(1)?,
        })
    }

    async fn push(&self, txn_id: &str, body: &[u8], received_at: i64) -> Result<i64, JournalError> {
        let mut writer = self.writer.lock().await;
        let pushed = sqlx::query("INSERT INTO inbox (txn_id, received_at, body) VALUES (?, ?, ?)")
            .bind(txn_id)
            .bind(received_at)
            .bind(body)
            .execute(writer.durable().await?)
            .await?;
        Ok(pushed.last_insert_rowid())
    }

    async fn transactions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredTransaction>, JournalError> {
        let mut reader = self.reader.lock().await;
        let mut transactions = Vec::new();
        let mut bytes = 0;
        let mut after = after;
        // One at a time: each may be as large as the body limit.
        while transactions.len() < limit as usize && bytes < BYTES_AT_ONCE {
            let row = sqlx::query(
                "SELECT id, txn_id, received_at, body FROM inbox WHERE id > ? ORDER BY id LIMIT 1",
            )
            .bind(after)
            .fetch_optional(&mut *reader)
            .await?;
            let Some(row) = row else { break };
            let transaction = StoredTransaction {
                id: row.try_get(0)?,
                txn_id: row.try_get(1)?,
                received_at: row.try_get(2)?,
                body: row.try_get(3)?,
            };
            after = transaction.id;
            bytes += transaction.body.len();
            transactions.push(transaction);
        }
        Ok(transactions)
    }

    async fn seen(&self, keys: &[String]) -> Result<HashSet<String>, JournalError> {
        let keys = serde_json::Value::from(keys).to_string();
        let seen: Vec<String> = sqlx::query_scalar(
            "SELECT key FROM seen WHERE key IN (SELECT value FROM json_each(?))",
        )
        .bind(keys)
        .fetch_all(&mut *self.reader.lock().await)
        .await?;
        Ok(seen.into_iter().collect())
    }

    async fn append(
        &self,
        rows: &[Row],
        cursor: Option<(&str, &str)>,
        now: i64,
    ) -> Result<u64, JournalError> {
        let mut writer = self.writer.lock().await;
        let appended = async {
            let commit = writer.begin(true).await?;
            let mut new = 0;
            for row in rows {
                if let Some(key) = &row.seen
                    && !rows::remember(commit, key, now).await?
                {
                    continue;
                }
                new += rows::insert(commit, row).await?;
            }
            if let Some(cursor) = cursor {
                rows::move_cursor(commit, cursor, now).await?;
            }
            Ok(new)
        }
        .await;
        writer.end(appended).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        Ok(
            sqlx::query_scalar("SELECT value FROM cursor WHERE name = ?")
                .bind(name)
                .fetch_optional(&mut *self.reader.lock().await)
                .await?,
        )
    }

    async fn settle(&self, settlement: &Settlement) -> Result<(), JournalError> {
        let mut writer = self.writer.lock().await;
        let settled = async { rows::settle(writer.begin(false).await?, settlement).await }.await;
        writer.end(settled).await
    }

    async fn waiting(
        &self,
        reader: &str,
        queue: Queue,
        lane: Option<&str>,
        range: (i64, i64),
        limit: u32,
    ) -> Result<Vec<Entry>, JournalError> {
        // Three texts, because each has an index of its own.
        let sql = match (lane, queue) {
            (None, Queue::Each) => {
                "SELECT id, reader, source, key, lane, slot, attempts, received_at, due_at, begun, payload
                 FROM entry
                 WHERE state = 0 AND slot IS NULL AND reader = ?1 AND id > ?2 AND id <= ?3
                 ORDER BY id LIMIT ?4"
            }
            (None, Queue::Latest) => {
                "SELECT id, reader, source, key, lane, slot, attempts, received_at, due_at, begun, payload
                 FROM entry
                 WHERE state = 0 AND slot IS NOT NULL AND reader = ?1 AND id > ?2 AND id <= ?3
                 ORDER BY id LIMIT ?4"
            }
            (Some(_), _) => {
                "SELECT id, reader, source, key, lane, slot, attempts, received_at, due_at, begun, payload
                 FROM entry
                 WHERE state = 0 AND lane = ?5 AND reader = ?1 AND id > ?2 AND id <= ?3
                   AND (slot IS NOT NULL) = ?6
                 ORDER BY id LIMIT ?4"
            }
        };
        let mut query = sqlx::query(sql)
            .bind(reader)
            .bind(range.0)
            .bind(range.1)
            .bind(limit);
        if let Some(lane) = lane {
            query = query.bind(lane).bind(queue == Queue::Latest);
        }
        let found = query.fetch_all(&mut *self.reader.lock().await).await?;
        found.iter().map(rows::entry).collect()
    }

    async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError> {
        let query = sqlx::query(
            "UPDATE entry SET attempts = ?, due_at = ?, error = ?, begun = 1 WHERE id = ? AND state = 0",
        );
        let query = query.bind(attempts).bind(due_at).bind(error).bind(id);
        self.change(query).await?;
        Ok(())
    }

    async fn bury(&self, id: i64, attempts: u32, error: &str) -> Result<(), JournalError> {
        let query = sqlx::query(
            "UPDATE entry SET state = 2, attempts = ?, error = ?, begun = 1 WHERE id = ? AND state = 0",
        );
        self.change(query.bind(attempts).bind(error).bind(id))
            .await?;
        Ok(())
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, JournalError> {
        let found = sqlx::query(
            "SELECT id, reader, source, key, lane, attempts, received_at, COALESCE(error, '')
             FROM entry WHERE state = 2 AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.aside.lock().await)
        .await?;
        found.iter().map(rows::dead_letter).collect()
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<(DeadLetter, Arc<[u8]>)>, JournalError> {
        let found = sqlx::query(
            "SELECT id, reader, source, key, lane, attempts, received_at, COALESCE(error, ''), payload
             FROM entry WHERE state = 2 AND id = ?",
        )
        .bind(id)
        .fetch_optional(&mut *self.aside.lock().await)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let payload: Vec<u8> = row.try_get(8)?;
        Ok(Some((rows::dead_letter(&row)?, payload.into())))
    }

    async fn retry_dead_letter(&self, id: i64, new_id: i64) -> Result<bool, JournalError> {
        let query = sqlx::query(
            "UPDATE entry SET id = ?2, state = 0, attempts = 0, due_at = 0, begun = 1,
                    key = COALESCE(key, 'entry:' || id)
             WHERE id = ?1 AND state = 2",
        );
        Ok(self.change(query.bind(id).bind(new_id)).await? > 0)
    }

    async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let mut writer = self.writer.lock().await;
        let skipped = async { rows::skip(writer.begin(false).await?, id).await }.await;
        writer.end(skipped).await
    }

    async fn release_kept(&self, source: &str) -> Result<(), JournalError> {
        let query = sqlx::query("UPDATE entry SET state = 0 WHERE state = 4 AND source = ?");
        self.change(query.bind(source)).await?;
        Ok(())
    }

    async fn forget_reader(&self, reader: &str) -> Result<u64, JournalError> {
        let query = sqlx::query("DELETE FROM entry WHERE reader = ?");
        self.change(query.bind(reader)).await
    }

    async fn stats(&self) -> Result<Counts, JournalError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM inbox),
                    (SELECT COUNT(*) FROM entry WHERE state = 0 AND slot IS NULL),
                    (SELECT COUNT(*) FROM entry WHERE state = 0 AND slot IS NOT NULL),
                    (SELECT received_at FROM entry WHERE state = 0 ORDER BY id LIMIT 1),
                    (SELECT COUNT(*) FROM entry WHERE state = 2),
                    (SELECT COUNT(*) FROM entry WHERE state = 4),
                    (SELECT value FROM counter WHERE name = 'done')",
        )
        .fetch_one(&mut *self.aside.lock().await)
        .await?;
        let count = |index| -> Result<u64, sqlx::Error> {
            Ok(u64::try_from(row.try_get::<i64, _>(index)?).unwrap_or(0))
        };
        Ok(Counts {
            transactions: count(0)?,
            waiting: count(1)? + count(2)?,
            oldest_waiting: row.try_get(3)?,
            dead: count(4)?,
            kept: count(5)?,
            done: count(6)?,
        })
    }

    async fn purge(&self, payloads: i64, keys: Option<i64>) -> Result<bool, JournalError> {
        let query = sqlx::query(
            "DELETE FROM entry WHERE id IN
                (SELECT id FROM entry WHERE state = 1 AND due_at < ? LIMIT ?)",
        );
        let mut removed = self
            .change(query.bind(payloads).bind(PURGE_AT_ONCE))
            .await?;
        if let Some(keys) = keys {
            let query = sqlx::query(
                "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < ? LIMIT ?)",
            );
            removed = removed.max(self.change(query.bind(keys).bind(PURGE_AT_ONCE)).await?);
        }
        Ok(removed >= PURGE_AT_ONCE.unsigned_abs())
    }

    async fn tidy(&self, idle: bool) -> Result<(), JournalError> {
        let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .fetch_one(&mut *self.aside.lock().await)
            .await?;
        let pages: i64 = row.try_get(1)?;
        if idle || pages > LONG_LOG {
            // Nobody may write meanwhile, or the log would never end. What is erased leaves it, too.
            let mut writer = self.writer.lock().await;
            let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_one(writer.any())
                .await?;
        }
        Ok(())
    }
}

impl SqliteStore {
    /// One statement that need not wait for the disk; returns how many rows it changed.
    async fn change(
        &self,
        query: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<u64, JournalError> {
        let mut writer = self.writer.lock().await;
        let changed: Result<_, JournalError> =
            async { Ok(query.execute(writer.relaxed().await?).await?) }.await;
        // The next push finds the writer as it needs it.
        writer.durable().await?;
        changed.map(|changed| changed.rows_affected())
    }
}
