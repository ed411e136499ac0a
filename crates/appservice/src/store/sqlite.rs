//! The journal's rows in SQLite: write-ahead log, full sync, one writer.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    ops::RangeInclusive,
    path::Path,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    Row, SqlitePool,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

use crate::journal::{
    DeadLetter, Entry, JournalError, Latest, NewEntry, Queue, Stats, split::Split,
};

const WAITING: i64 = 0;
const DONE: i64 = 1;
const DEAD: i64 = 2;
const SKIPPED: i64 = 3;
const KEPT: i64 = 4;

/// A stored transaction that has not been split into entries yet.
pub(crate) struct Transaction {
    pub(crate) id: i64,
    pub(crate) txn_id: String,
    pub(crate) received_at: i64,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct SqliteStore {
    /// Held for as long as the file is open: two dispatchers on one journal would do everything twice.
    _lock: Arc<File>,
    /// One connection: SQLite has one writer, and waiting here is fairer than its busy loop.
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    pub(crate) async fn open(path: &Path) -> Result<Self, JournalError> {
        let lock = claim(path)?;
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What is erased is overwritten: a payload that is done leaves nothing in the file.
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(10));
        let open = |source| JournalError::Open {
            path: path.to_owned(),
            source,
        };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(open)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&writer)
            .await
            .map_err(JournalError::Schema)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.read_only(true))
            .await
            .map_err(open)?;
        Ok(Self {
            _lock: Arc::new(lock),
            writer,
            readers,
        })
    }

    pub(crate) async fn insert_transaction(
        &self,
        txn_id: &str,
        body: &[u8],
        now: i64,
    ) -> Result<(), JournalError> {
        sqlx::query("INSERT INTO inbox (txn_id, received_at, body) VALUES (?, ?, ?)")
            .bind(txn_id)
            .bind(now)
            .bind(body)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(crate) async fn transactions(&self, limit: u32) -> Result<Vec<Transaction>, JournalError> {
        let rows =
            sqlx::query("SELECT id, txn_id, received_at, body FROM inbox ORDER BY id LIMIT ?")
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
        rows.iter()
            .map(|row| {
                Ok(Transaction {
                    id: row.try_get(0)?,
                    txn_id: row.try_get(1)?,
                    received_at: row.try_get(2)?,
                    body: row.try_get(3)?,
                })
            })
            .collect()
    }

    /// Replaces a stored transaction by its entries, in one commit.
    pub(crate) async fn replace_transaction(
        &self,
        id: i64,
        split: &Split,
        received_at: i64,
    ) -> Result<u64, JournalError> {
        let mut commit = self.writer.begin().await?;
        let mut new = insert(&mut commit, &split.waiting, WAITING, received_at).await?;
        new += insert(&mut commit, &split.kept, KEPT, received_at).await?;
        for latest in &split.latest {
            put_latest(&mut commit, latest, received_at).await?;
        }
        sqlx::query("DELETE FROM inbox WHERE id = ?")
            .bind(id)
            .execute(&mut *commit)
            .await?;
        commit.commit().await?;
        Ok(new)
    }

    pub(crate) async fn insert_entries(
        &self,
        entries: &[NewEntry],
        cursor: Option<(&str, &str)>,
        now: i64,
    ) -> Result<u64, JournalError> {
        let mut commit = self.writer.begin().await?;
        let new = insert(&mut commit, entries, WAITING, now).await?;
        if let Some((name, value)) = cursor {
            sqlx::query(
                "INSERT INTO cursor (name, value, moved_at) VALUES (?, ?, ?)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value, moved_at = excluded.moved_at",
            )
            .bind(name)
            .bind(value)
            .bind(now)
            .execute(&mut *commit)
            .await?;
        }
        commit.commit().await?;
        Ok(new)
    }

    pub(crate) async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        Ok(
            sqlx::query_scalar("SELECT value FROM cursor WHERE name = ?")
                .bind(name)
                .fetch_optional(&self.readers)
                .await?,
        )
    }

    /// The largest id given so far.
    pub(crate) async fn newest(&self) -> Result<i64, JournalError> {
        Ok(sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM entry")
            .fetch_one(&self.readers)
            .await?)
    }

    /// Entries of a source that were kept wait from now on.
    pub(crate) async fn release_kept(&self, source: &str) -> Result<(), JournalError> {
        sqlx::query("UPDATE entry SET state = ? WHERE state = 4 AND source = ?")
            .bind(WAITING)
            .bind(source)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Waiting entries of all lanes of a queue above an id, oldest first.
    pub(crate) async fn waiting(
        &self,
        queue: Queue,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Entry>, JournalError> {
        // Two texts, because each has an index of its own.
        let sql = match queue {
            Queue::Each => {
                "SELECT id, source, key, lane, attempts, received_at, due_at, payload,
                        error IS NOT NULL, slot
                 FROM entry
                 WHERE state = 0 AND slot IS NULL AND id > ? ORDER BY id LIMIT ?"
            }
            Queue::Latest => {
                "SELECT id, source, key, lane, attempts, received_at, due_at, payload,
                        error IS NOT NULL, slot
                 FROM entry
                 WHERE state = 0 AND slot IS NOT NULL AND id > ? ORDER BY id LIMIT ?"
            }
        };
        let rows = sqlx::query(sql)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(entry).collect()
    }

    /// Waiting entries of one lane, oldest first: those above the range's start and up to its end.
    pub(crate) async fn waiting_in_lane(
        &self,
        queue: Queue,
        lane: &str,
        ids: RangeInclusive<i64>,
        limit: usize,
    ) -> Result<Vec<Entry>, JournalError> {
        let rows = sqlx::query(
            "SELECT id, source, key, lane, attempts, received_at, due_at, payload,
                    error IS NOT NULL, slot
             FROM entry
             WHERE state = 0 AND lane = ? AND id > ? AND id <= ? AND (slot IS NOT NULL) = ?
             ORDER BY id LIMIT ?",
        )
        .bind(lane)
        .bind(ids.start())
        .bind(ids.end())
        .bind(queue == Queue::Latest)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(entry).collect()
    }

    /// Marks entries as done and erases their payload, all in one commit.
    pub(crate) async fn complete(&self, ids: &[i64]) -> Result<(), JournalError> {
        let ids = serde_json::Value::from(ids).to_string();
        sqlx::query(
            "UPDATE entry SET state = ?, payload = NULL, error = NULL
             WHERE state = 0 AND id IN (SELECT value FROM json_each(?))",
        )
        .bind(DONE)
        .bind(ids)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Deletes entries that are done and have no key that would have to be remembered.
    pub(crate) async fn forget(&self, ids: &[i64]) -> Result<(), JournalError> {
        let ids = serde_json::Value::from(ids).to_string();
        sqlx::query("DELETE FROM entry WHERE state = 0 AND id IN (SELECT value FROM json_each(?))")
            .bind(ids)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(crate) async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError> {
        sqlx::query("UPDATE entry SET attempts = ?, due_at = ?, error = ? WHERE id = ?")
            .bind(attempts)
            .bind(due_at)
            .bind(error)
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(crate) async fn bury(
        &self,
        id: i64,
        attempts: u32,
        error: &str,
    ) -> Result<(), JournalError> {
        sqlx::query("UPDATE entry SET state = ?, attempts = ?, error = ? WHERE id = ?")
            .bind(DEAD)
            .bind(attempts)
            .bind(error)
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    pub(crate) async fn dead_letters(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, JournalError> {
        let rows = sqlx::query(
            "SELECT id, source, key, lane, attempts, received_at, COALESCE(error, '') FROM entry
             WHERE state = 2 AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(DeadLetter {
                    id: row.try_get(0)?,
                    source: row.try_get(1)?,
                    key: row.try_get(2)?,
                    lane: row.try_get(3)?,
                    attempts: row.try_get(4)?,
                    received_at: row.try_get(5)?,
                    error: row.try_get(6)?,
                })
            })
            .collect()
    }

    /// Takes the dead letter out and appends it anew: a new id puts it behind what the lanes have
    /// already read. Its error stays, as a sign that a handler may have begun with it; one without a
    /// key gets the name that its sends were made under.
    pub(crate) async fn retry_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let mut commit = self.writer.begin().await?;
        let Some(row) = sqlx::query(
            "DELETE FROM entry WHERE id = ? AND state = 2
             RETURNING source, COALESCE(key, 'entry:' || id), lane, received_at, payload, error, slot",
        )
        .bind(id)
        .fetch_optional(&mut *commit)
        .await?
        else {
            return Ok(false);
        };
        sqlx::query(
            "INSERT INTO entry (source, key, lane, state, received_at, payload, error, slot)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.try_get::<String, _>(0)?)
        .bind(row.try_get::<String, _>(1)?)
        .bind(row.try_get::<String, _>(2)?)
        .bind(WAITING)
        .bind(row.try_get::<i64, _>(3)?)
        .bind(row.try_get::<Option<Vec<u8>>, _>(4)?)
        .bind(row.try_get::<Option<String>, _>(5)?)
        .bind(row.try_get::<Option<String>, _>(6)?)
        .execute(&mut *commit)
        .await?;
        commit.commit().await?;
        Ok(true)
    }

    pub(crate) async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let sql =
            "UPDATE entry SET state = ?, payload = NULL, slot = NULL WHERE id = ? AND state = 2";
        let done = sqlx::query(sql)
            .bind(SKIPPED)
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn stats(&self) -> Result<Stats, JournalError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM inbox),
                    COUNT(*) FILTER (WHERE state = 0),
                    MIN(received_at) FILTER (WHERE state = 0),
                    COUNT(*) FILTER (WHERE state = 2),
                    COUNT(*) FILTER (WHERE state IN (1, 3)),
                    COUNT(*) FILTER (WHERE state = 4)
             FROM entry",
        )
        .fetch_one(&self.readers)
        .await?;
        let count = |index| -> Result<u64, sqlx::Error> {
            Ok(u64::try_from(row.try_get::<i64, _>(index)?).unwrap_or(0))
        };
        Ok(Stats {
            transactions: count(0)?,
            waiting: count(1)?,
            oldest_waiting: row.try_get(2)?,
            dead: count(3)?,
            done: count(4)?,
            kept: count(5)?,
        })
    }
}

/// Faults that a test asks for.
#[cfg(test)]
impl SqliteStore {
    /// The disk is full: the file can't grow any more.
    pub(crate) async fn set_full(&self, full: bool) {
        let pragma = if full {
            "PRAGMA max_page_count = 1"
        } else {
            "PRAGMA max_page_count = 1073741823"
        };
        sqlx::query(pragma).execute(&self.writer).await.unwrap();
    }

    /// Each write fails.
    pub(crate) async fn set_unwritable(&self, unwritable: bool) {
        let pragma = if unwritable {
            "PRAGMA query_only = 1"
        } else {
            "PRAGMA query_only = 0"
        };
        sqlx::query(pragma).execute(&self.writer).await.unwrap();
    }

    /// Each read of entries fails.
    pub(crate) async fn set_unreadable(&self, unreadable: bool) {
        let rename = if unreadable {
            "ALTER TABLE entry RENAME TO away"
        } else {
            "ALTER TABLE away RENAME TO entry"
        };
        sqlx::query(rename).execute(&self.writer).await.unwrap();
    }
}

/// Makes the file, readable by its owner only, when it isn't there, and locks the one beside it. The
/// lock ends with the process, however it ends.
fn claim(path: &Path) -> Result<File, JournalError> {
    let file_error = |source: io::Error| JournalError::File {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(file_error)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let lock = options.open(&beside).map_err(file_error)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(file_error(error)),
    }
}

async fn insert(
    commit: &mut sqlx::SqliteTransaction<'_>,
    entries: &[NewEntry],
    state: i64,
    received_at: i64,
) -> Result<u64, JournalError> {
    let mut new = 0;
    for entry in entries {
        let state = if entry.dead.is_some() { DEAD } else { state };
        new += sqlx::query(
            "INSERT INTO entry (source, key, lane, state, received_at, error, payload)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (source, key) WHERE key IS NOT NULL DO NOTHING",
        )
        .bind(entry.source)
        .bind(entry.key.as_deref())
        .bind(entry.lane.as_str())
        .bind(state)
        .bind(received_at)
        .bind(entry.dead)
        .bind(entry.payload.as_slice())
        .execute(&mut **commit)
        .await?
        .rows_affected();
    }
    Ok(new)
}

/// Puts an entry into its slot and takes out what was there, in whatever state.
async fn put_latest(
    commit: &mut sqlx::SqliteTransaction<'_>,
    latest: &Latest,
    received_at: i64,
) -> Result<(), JournalError> {
    let older: Option<Option<Vec<u8>>> =
        sqlx::query_scalar("DELETE FROM entry WHERE slot = ? RETURNING payload")
            .bind(latest.slot.as_str())
            .fetch_optional(&mut **commit)
            .await?;
    let merged = match (latest.merge, older.flatten()) {
        (Some(merge), Some(older)) => Some(merge(&older, &latest.payload)),
        _ => None,
    };
    sqlx::query(
        "INSERT INTO entry (source, lane, slot, state, received_at, payload)
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(latest.source)
    .bind(latest.lane.as_str())
    .bind(latest.slot.as_str())
    .bind(if latest.kept { KEPT } else { WAITING })
    .bind(received_at)
    .bind(merged.as_deref().unwrap_or(&latest.payload))
    .execute(&mut **commit)
    .await?;
    Ok(())
}

fn entry(row: &SqliteRow) -> Result<Entry, JournalError> {
    Ok(Entry {
        id: row.try_get(0)?,
        source: row.try_get(1)?,
        key: row.try_get(2)?,
        lane: row.try_get::<String, _>(3)?.into(),
        attempts: u32::try_from(row.try_get::<i64, _>(4)?).unwrap_or(u32::MAX),
        received_at: row.try_get(5)?,
        due_at: row.try_get(6)?,
        begun: row.try_get(8)?,
        slot: row.try_get::<Option<String>, _>(9)?.map(Into::into),
        payload: row
            .try_get::<Option<Vec<u8>>, _>(7)?
            .unwrap_or_default()
            .into(),
    })
}
