//! The journal's rows in PostgreSQL.
//!
//! Four connections, each made anew when it is lost: one that holds the journal and pushes, and is waited for by the
//! homeserver; one for what is written behind its back, which doesn't wait for the disk (`synchronous_commit = off`); one
//! that reads for the lanes; one for what takes its time. PostgreSQL writes its log in order, so that what didn't wait
//! for the disk is there before any push that came later.

mod claim;
mod link;
mod open;
mod rows;
mod take_over;
mod text;

use std::{collections::HashSet, fmt, str::FromStr as _, sync::Arc};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _,
    postgres::{PgArguments, PgConnectOptions},
};

use self::{
    claim::Claim,
    link::{Link, patiently},
};
use super::{
    Bytes, Counts, Key, Newest, Queue, Row, Settlement, Store, StoredTransaction, Tidy, async_trait,
};
use crate::journal::{DeadLetter, Entry, JournalError};

/// Bodies that are read at once, unless one alone is larger.
const BYTES_AT_ONCE: i64 = 4 * 1024 * 1024;
/// Rows that one purge removes.
const PURGE_AT_ONCE: i64 = 1000;

/// What waits. Three texts, because each has an index of its own.
const EACH: &str = "
    SELECT id, reader, source, key, lane, slot, attempts, received_at, due_at, begun, payload
    FROM entry
    WHERE state = 0 AND slot IS NULL AND reader = $1 AND id > $2 AND id <= $3
    ORDER BY id LIMIT $4";
const LATEST: &str = "
    SELECT id, reader, source, key, lane, slot, attempts, received_at, due_at, begun, payload
    FROM entry
    WHERE state = 0 AND slot IS NOT NULL AND reader = $1 AND id > $2 AND id <= $3
    ORDER BY id LIMIT $4";
const IN_LANE: &str = "
    SELECT id, reader, source, key, lane, slot, attempts, received_at, due_at, begun, payload
    FROM entry
    WHERE state = 0 AND lane = $5 AND reader = $1 AND id > $2 AND id <= $3
      AND (slot IS NOT NULL) = $6
    ORDER BY id LIMIT $4";

/// Rows in PostgreSQL: see [`Journal::connect`](crate::Journal::connect).
pub struct PostgresStore {
    claim: Arc<Claim>,
    /// Pushes, and holds the journal.
    holder: Link,
    /// Writes what need not wait for the disk.
    behind: Link,
    /// Reads for those who work entries off.
    reader: Link,
    /// For what takes its time.
    aside: Link,
}

impl PostgresStore {
    /// Opens the store at `postgres://user:password@host:port/database`.
    ///
    /// # Errors
    ///
    /// As [`Journal::connect`](crate::Journal::connect).
    pub async fn open(url: &str) -> Result<Self, JournalError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| JournalError::Address)?
            .disable_statement_logging();
        let place = open::place(&options);
        let opened = Box::pin(Self::open_at(options, place.clone())).await;
        opened.map_err(|error| match error {
            JournalError::Unavailable(source) | JournalError::Database(source) => {
                JournalError::Connect { place, source }
            }
            other => other,
        })
    }

    async fn open_at(options: PgConnectOptions, place: String) -> Result<Self, JournalError> {
        let (options, durable, mut connection) = open::prepare(options).await?;
        let claim = Arc::new(Claim::new(place));
        patiently(async {
            claim.take(&mut connection).await?;
            open::migrate(&mut connection).await
        })
        .await?;
        let relaxed = options.clone().options([("synchronous_commit", "off")]);
        // The indexes are what bounds these reads, whatever the statistics say of the tables.
        let indexed = options.clone().options([("enable_seqscan", "off")]);
        let store = Self {
            holder: Link::of_holder(durable, claim.clone(), connection),
            claim,
            behind: Link::new(relaxed),
            reader: Link::new(indexed),
            aside: Link::new(options),
        };
        // What is done first should not have to wait for its connection.
        tokio::try_join!(store.behind.open(), store.reader.open(), store.aside.open())?;
        Ok(store)
    }

    /// Begins a commit over the connection that doesn't hold the journal, gives it to `work`, and ends it.
    async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut session = self.behind.session().await?;
        if session.is_fresh() {
            // What this connection has lost, the one that holds the journal may have lost as well.
            self.hold().await?;
        }
        let written = patiently(async {
            let mut commit = session.connection().begin().await?;
            self.claim.check(&mut commit).await?;
            let written = work(&mut commit).await?;
            commit.commit().await?;
            Ok(written)
        });
        let written = written.await;
        session.end(written)
    }

    /// Sees to it that the journal is held, by a connection that is alive.
    async fn hold(&self) -> Result<(), JournalError> {
        loop {
            let mut session = self.holder.session().await?;
            let fresh = session.is_fresh();
            let alive = patiently(async { Ok(session.connection().ping().await?) }).await;
            match session.end(alive) {
                Err(JournalError::Unavailable(_)) if !fresh => {}
                done => return done,
            }
        }
    }

    /// One statement that need not wait for the disk; returns how many rows it changed.
    async fn change(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, PgArguments>,
    ) -> Result<u64, JournalError> {
        let changed = self.write(async |commit| Ok(query.execute(commit).await?.rows_affected()));
        changed.await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn newest(&self) -> Result<Newest, JournalError> {
        let mut session = self.reader.session().await?;
        let query = sqlx::query_as(
            "SELECT (SELECT COALESCE(MAX(id), 0) FROM entry),
                    (SELECT COALESCE(MAX(id), 0) FROM inbox)",
        );
        let read = patiently(async { Ok(query.fetch_one(session.connection()).await?) }).await;
        let (entry, transaction) = session.end(read)?;
        Ok(Newest { entry, transaction })
    }

    async fn push(
        &self,
        txn_id: &str,
        body: &Bytes,
        received_at: i64,
    ) -> Result<i64, JournalError> {
        let txn_id = text::stored(txn_id);
        loop {
            let mut session = self.holder.session().await?;
            let query = sqlx::query_scalar(
                "INSERT INTO inbox (txn_id, received_at, body) VALUES ($1, $2, $3) RETURNING id",
            );
            let query = query.bind(&*txn_id).bind(received_at).bind(&body[..]);
            let fresh = session.is_fresh();
            let pushed =
                patiently(async { Ok(query.fetch_one(session.connection()).await?) }).await;
            match session.end(pushed) {
                // That the connection was lost meanwhile need not concern the homeserver. Where the commit went
                // through and only its answer was lost, it is as if the homeserver had pushed twice.
                Err(JournalError::Unavailable(_)) if !fresh => {}
                done => return done,
            }
        }
    }

    async fn transactions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<StoredTransaction>, JournalError> {
        let mut session = self.reader.session().await?;
        let read = patiently(async {
            // Each may be as large as the body limit. Their sizes are known without reading them.
            let ids: Vec<i64> = sqlx::query_scalar(
                "SELECT id FROM (
                     SELECT id, SUM(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before
                     FROM (SELECT id, body FROM inbox WHERE id > $1 ORDER BY id LIMIT $2) AS next
                 ) AS sizes WHERE before < $3 ORDER BY id",
            )
            .bind(after)
            .bind(i64::from(limit))
            .bind(BYTES_AT_ONCE)
            .fetch_all(session.connection())
            .await?;
            let rows = sqlx::query(
                "SELECT id, txn_id, received_at, body FROM inbox WHERE id = ANY($1) ORDER BY id",
            );
            Ok(rows.bind(ids).fetch_all(session.connection()).await?)
        });
        let read = read.await;
        let rows = session.end(read)?;
        rows.iter()
            .map(|row| {
                Ok(StoredTransaction {
                    id: row.try_get(0)?,
                    txn_id: text::read(row.try_get(1)?),
                    received_at: row.try_get(2)?,
                    body: row.try_get(3)?,
                })
            })
            .collect()
    }

    async fn seen(&self, keys: &[Key]) -> Result<HashSet<Key>, JournalError> {
        let keys: Vec<&str> = keys.iter().map(Key::as_str).collect();
        let query = sqlx::query_scalar("SELECT key FROM seen WHERE key = ANY($1)").bind(keys);
        let mut session = self.reader.session().await?;
        let read = patiently(async { Ok(query.fetch_all(session.connection()).await?) }).await;
        let seen: Vec<String> = session.end(read)?;
        Ok(seen.iter().filter_map(|key| key.parse().ok()).collect())
    }

    async fn append(
        &self,
        rows: &[Row],
        cursor: Option<(&str, &str)>,
        now: i64,
    ) -> Result<u64, JournalError> {
        let appended = self.write(async |commit| {
            sqlx::query("SET LOCAL synchronous_commit = on")
                .execute(&mut *commit)
                .await?;
            let new = rows::append(commit, rows, now).await?;
            if let Some((name, value)) = cursor {
                sqlx::query(
                    "INSERT INTO cursor (name, value, moved_at) VALUES ($1, $2, $3)
                     ON CONFLICT (name) DO UPDATE
                     SET value = excluded.value, moved_at = excluded.moved_at",
                )
                .bind(text::stored(name))
                .bind(text::stored(value))
                .bind(now)
                .execute(commit)
                .await?;
            }
            Ok(new)
        });
        appended.await
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, JournalError> {
        let query = sqlx::query_scalar("SELECT value FROM cursor WHERE name = $1");
        let query = query.bind(text::stored(name));
        let mut session = self.reader.session().await?;
        let read = patiently(async { Ok(query.fetch_optional(session.connection()).await?) }).await;
        Ok(session.end(read)?.map(text::read))
    }

    async fn settle(&self, settlement: &Arc<Settlement>) -> Result<(), JournalError> {
        self.write(async |commit| rows::settle(commit, settlement).await)
            .await
    }

    async fn waiting(
        &self,
        reader: &str,
        queue: Queue,
        lane: Option<&str>,
        range: (i64, i64),
        limit: u32,
    ) -> Result<Vec<Entry>, JournalError> {
        let sql = match (lane, queue) {
            (None, Queue::Each) => EACH,
            (None, Queue::Latest) => LATEST,
            (Some(_), _) => IN_LANE,
        };
        let mut query = sqlx::query(sql)
            .bind(text::stored(reader))
            .bind(range.0)
            .bind(range.1)
            .bind(i64::from(limit));
        if let Some(lane) = lane {
            query = query.bind(text::stored(lane)).bind(queue == Queue::Latest);
        }
        let mut session = self.reader.session().await?;
        let read = patiently(async { Ok(query.fetch_all(session.connection()).await?) }).await;
        session.end(read)?.iter().map(rows::entry).collect()
    }

    async fn postpone(
        &self,
        id: i64,
        attempts: u32,
        due_at: i64,
        error: &str,
    ) -> Result<(), JournalError> {
        let query = sqlx::query(
            "UPDATE entry SET attempts = $2, due_at = $3, error = $4, begun = true
             WHERE id = $1 AND state = 0",
        );
        let query = query.bind(id).bind(i64::from(attempts)).bind(due_at);
        self.change(query.bind(text::stored(error))).await?;
        Ok(())
    }

    async fn bury(&self, id: i64, attempts: u32, error: &str) -> Result<(), JournalError> {
        let query = sqlx::query(
            "UPDATE entry SET state = 2, attempts = $2, error = $3, begun = true
             WHERE id = $1 AND state = 0",
        );
        let query = query.bind(id).bind(i64::from(attempts));
        self.change(query.bind(text::stored(error))).await?;
        Ok(())
    }

    async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, JournalError> {
        let query = sqlx::query(
            "SELECT id, reader, source, key, lane, attempts, received_at, COALESCE(error, '')
             FROM entry WHERE state = 2 AND id > $1 ORDER BY id LIMIT $2",
        );
        let query = query.bind(after).bind(i64::from(limit));
        let mut session = self.aside.session().await?;
        let read = patiently(async { Ok(query.fetch_all(session.connection()).await?) }).await;
        session.end(read)?.iter().map(rows::dead_letter).collect()
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<(DeadLetter, Arc<[u8]>)>, JournalError> {
        let query = sqlx::query(
            "SELECT id, reader, source, key, lane, attempts, received_at, COALESCE(error, ''), payload
             FROM entry WHERE state = 2 AND id = $1",
        );
        let query = query.bind(id);
        let mut session = self.aside.session().await?;
        let read = patiently(async { Ok(query.fetch_optional(session.connection()).await?) }).await;
        let Some(row) = session.end(read)? else {
            return Ok(None);
        };
        let payload: Vec<u8> = row.try_get(8)?;
        Ok(Some((rows::dead_letter(&row)?, payload.into())))
    }

    async fn retry_dead_letter(&self, id: i64, new_id: i64) -> Result<bool, JournalError> {
        let query = sqlx::query(
            "UPDATE entry SET id = $2, state = 0, attempts = 0, due_at = 0, begun = true,
                    key = COALESCE(key, 'entry:' || id)
             WHERE id = $1 AND state = 2",
        );
        Ok(self.change(query.bind(id).bind(new_id)).await? > 0)
    }

    async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let skipped = self.write(async |commit| {
            let skipped = sqlx::query("DELETE FROM entry WHERE id = $1 AND state = 2")
                .bind(id)
                .execute(&mut *commit)
                .await?
                .rows_affected();
            rows::count_done(commit, skipped).await?;
            Ok(skipped > 0)
        });
        skipped.await
    }

    async fn release_kept(&self, source: &str) -> Result<(), JournalError> {
        let query = sqlx::query("UPDATE entry SET state = 0 WHERE state = 4 AND source = $1");
        self.change(query.bind(text::stored(source))).await?;
        Ok(())
    }

    async fn forget_reader(&self, reader: &str) -> Result<u64, JournalError> {
        let query = sqlx::query("DELETE FROM entry WHERE reader = $1");
        self.change(query.bind(text::stored(reader))).await
    }

    async fn stats(&self) -> Result<Counts, JournalError> {
        let query = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM inbox),
                    (SELECT COUNT(*) FROM entry WHERE state = 0),
                    (SELECT received_at FROM entry WHERE state = 0 ORDER BY id LIMIT 1),
                    (SELECT COUNT(*) FROM entry WHERE state = 2),
                    (SELECT COUNT(*) FROM entry WHERE state = 4),
                    (SELECT value FROM counter WHERE name = 'done')",
        );
        let mut session = self.aside.session().await?;
        let read = patiently(async { Ok(query.fetch_one(session.connection()).await?) }).await;
        let row = session.end(read)?;
        let count = |index| -> Result<u64, sqlx::Error> {
            Ok(u64::try_from(row.try_get::<i64, _>(index)?).unwrap_or(0))
        };
        Ok(Counts {
            transactions: count(0)?,
            waiting: count(1)?,
            oldest_waiting: row.try_get(2)?,
            dead: count(3)?,
            kept: count(4)?,
            done: count(5)?,
        })
    }

    async fn purge(&self, payloads: i64, keys: Option<i64>) -> Result<bool, JournalError> {
        let query = sqlx::query(
            "DELETE FROM entry WHERE id IN
                (SELECT id FROM entry WHERE state = 1 AND due_at < $1 LIMIT $2)",
        );
        let mut removed = self
            .change(query.bind(payloads).bind(PURGE_AT_ONCE))
            .await?;
        if let Some(keys) = keys {
            let query = sqlx::query(
                "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < $1 LIMIT $2)",
            );
            removed = removed.max(self.change(query.bind(keys).bind(PURGE_AT_ONCE)).await?);
        }
        Ok(removed >= PURGE_AT_ONCE.unsigned_abs())
    }

    async fn tidy(&self, when: Tidy) -> Result<(), JournalError> {
        if when == Tidy::Idle {
            // PostgreSQL cleans up by itself, some day; what is erased should be gone sooner.
            let mut session = self.aside.session().await?;
            let vacuum = sqlx::query("VACUUM inbox, entry");
            let done = patiently(async { Ok(vacuum.execute(session.connection()).await?) }).await;
            session.end(done)?;
        }
        Ok(())
    }
}

/// The options hold the password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}
