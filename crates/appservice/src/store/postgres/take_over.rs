//! A journal moves from SQLite to PostgreSQL.

use sqlx::{Connection as _, PgConnection};

use super::{PostgresStore, link::patiently, text};
use crate::{
    journal::JournalError,
    store::{SqliteStore, Store as _, StoredEntry, StoredTransaction, TakenOver},
};

impl PostgresStore {
    /// Takes over everything that another store holds: what waits, dead letters, what was seen before, cursors. In one
    /// commit: when it fails, nothing was taken over. The other store is left as it is, and should not be worked on any
    /// more.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotEmpty`] when this one holds anything already; else when either can't be read or written.
    pub async fn take_over(&self, from: &SqliteStore) -> Result<TakenOver, JournalError> {
        let counts = from.stats().await?;
        let mut session = self.aside.session().await?;
        let taken = async {
            let mut commit = session.connection().begin().await?;
            patiently(self.claim.check(&mut commit)).await?;
            patiently(refuse_any(&mut commit)).await?;
            let mut taken = TakenOver::default();
            let mut after = 0;
            loop {
                let page = from.page_of_transactions(after).await?;
                let Some(last) = page.last() else { break };
                after = last.id;
                taken.transactions += page.len() as u64;
                patiently(transactions(&mut commit, page)).await?;
            }
            after = i64::MIN;
            loop {
                let page = from.page_of_entries(after).await?;
                let Some(last) = page.last() else { break };
                after = last.id;
                taken.entries += page.len() as u64;
                patiently(entries(&mut commit, page)).await?;
            }
            let mut behind = String::new();
            loop {
                let page = from.page_of_keys(behind).await?;
                let Some((last, _)) = page.last() else { break };
                behind = last.clone();
                taken.keys += page.len() as u64;
                patiently(keys(&mut commit, page)).await?;
            }
            let all = from.all_cursors().await?;
            taken.cursors = all.len() as u64;
            let done = i64::try_from(counts.done).unwrap_or(i64::MAX);
            patiently(numbers(&mut commit, all, done)).await?;
            patiently(async { Ok(commit.commit().await?) }).await?;
            Ok(taken)
        };
        let taken = taken.await;
        session.end(taken)
    }
}

async fn refuse_any(commit: &mut PgConnection) -> Result<(), JournalError> {
    let any: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM entry) OR EXISTS (SELECT 1 FROM inbox) OR EXISTS (SELECT 1 FROM seen)
             OR EXISTS (SELECT 1 FROM cursor)",
    )
    .fetch_one(commit)
    .await?;
    if any {
        return Err(JournalError::NotEmpty);
    }
    Ok(())
}

async fn transactions(
    commit: &mut PgConnection,
    page: Vec<StoredTransaction>,
) -> Result<(), JournalError> {
    for one in page {
        sqlx::query(
            "INSERT INTO inbox (id, txn_id, received_at, body) OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)",
        )
        .bind(one.id)
        .bind(text::stored(&one.txn_id))
        .bind(one.received_at)
        .bind(one.body)
        .execute(&mut *commit)
        .await?;
    }
    // The next one is above all of them.
    sqlx::query(
        "SELECT setval(pg_get_serial_sequence('inbox', 'id'), (SELECT GREATEST(MAX(id), 1) FROM inbox))",
    )
    .execute(commit)
    .await?;
    Ok(())
}

async fn entries(commit: &mut PgConnection, page: Vec<StoredEntry>) -> Result<(), JournalError> {
    for one in page {
        let stored = |text: Option<String>| text.map(|text| text::stored(&text).into_owned());
        sqlx::query(
            "INSERT INTO entry (id, reader, source, key, lane, slot, state, attempts, received_at, due_at, begun,
                                error, payload)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(one.id)
        .bind(text::stored(&one.reader))
        .bind(text::stored(&one.source))
        .bind(stored(one.key))
        .bind(text::stored(&one.lane))
        .bind(stored(one.slot))
        .bind(one.state)
        .bind(one.attempts)
        .bind(one.received_at)
        .bind(one.due_at)
        .bind(one.begun)
        .bind(stored(one.error))
        .bind(one.payload)
        .execute(&mut *commit)
        .await?;
    }
    Ok(())
}

async fn keys(commit: &mut PgConnection, page: Vec<(String, i64)>) -> Result<(), JournalError> {
    let (keys, times): (Vec<String>, Vec<i64>) = page.into_iter().unzip();
    sqlx::query("INSERT INTO seen (key, at) SELECT * FROM UNNEST($1::text[], $2::bigint[])")
        .bind(keys)
        .bind(times)
        .execute(commit)
        .await?;
    Ok(())
}

async fn numbers(
    commit: &mut PgConnection,
    cursors: Vec<(String, String, i64)>,
    done: i64,
) -> Result<(), JournalError> {
    for (name, value, moved_at) in cursors {
        sqlx::query("INSERT INTO cursor (name, value, moved_at) VALUES ($1, $2, $3)")
            .bind(text::stored(&name))
            .bind(text::stored(&value))
            .bind(moved_at)
            .execute(&mut *commit)
            .await?;
    }
    sqlx::query("UPDATE counter SET value = value + $1 WHERE name = 'done'")
        .bind(done)
        .execute(commit)
        .await?;
    Ok(())
}
