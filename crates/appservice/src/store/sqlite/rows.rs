//! Rows in and out.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use crate::{
    journal::{DeadLetter, Entry, JournalError},
    store::{LatestRow, Row, Settlement, State},
};

/// Remembers a key. Returns whether it is new.
pub(super) async fn remember(
    commit: &mut SqliteConnection,
    key: &str,
    now: i64,
) -> Result<bool, JournalError> {
    let done = sqlx::query("INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(key)
        .bind(now)
        .execute(&mut *commit)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Stores an entry, unless its id is stored already.
pub(super) async fn insert(commit: &mut SqliteConnection, row: &Row) -> Result<u64, JournalError> {
    put(commit, row, &row.entry.payload).await
}

async fn put(
    commit: &mut SqliteConnection,
    row: &Row,
    payload: &[u8],
) -> Result<u64, JournalError> {
    let Row {
        entry,
        state,
        error,
        seen: _,
    } = row;
    let done = sqlx::query(
        "INSERT INTO entry (id, reader, source, key, lane, slot, state, attempts, received_at,
                            due_at, begun, error, payload)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(entry.id)
    .bind(entry.reader.as_str())
    .bind(entry.source.as_str())
    .bind(entry.key.as_deref())
    .bind(&*entry.lane)
    .bind(entry.slot.as_deref())
    .bind(number(*state))
    .bind(entry.attempts)
    .bind(entry.received_at)
    .bind(entry.due_at)
    .bind(entry.begun)
    .bind(error.as_deref())
    .bind(payload)
    .execute(&mut *commit)
    .await?;
    Ok(done.rows_affected())
}

fn number(state: State) -> i64 {
    match state {
        State::Waiting => 0,
        State::Done => 1,
        State::Dead => 2,
        State::Kept => 4,
    }
}

pub(super) async fn settle(
    commit: &mut SqliteConnection,
    settlement: &Settlement,
) -> Result<(), JournalError> {
    if !settlement.seen.is_empty() {
        sqlx::query(
            "INSERT INTO seen (key, at) SELECT value, ?2 FROM json_each(?1) WHERE true
             ON CONFLICT DO NOTHING",
        )
        .bind(serde_json::Value::from(settlement.seen.as_slice()).to_string())
        .bind(settlement.now)
        .execute(&mut *commit)
        .await?;
    }
    for row in &settlement.rows {
        insert(commit, row).await?;
    }
    for latest in &settlement.latest {
        put_latest(commit, latest).await?;
    }
    let mut done = settlement.done_unstored;
    if !settlement.done.is_empty() {
        let sql = if settlement.keep_payloads {
            "UPDATE entry SET state = 1, due_at = ?2, error = NULL
             WHERE state = 0 AND slot IS NULL AND id IN (SELECT value FROM json_each(?1))"
        } else {
            "DELETE FROM entry
             WHERE state = 0 AND slot IS NULL AND ?2 > 0 AND id IN (SELECT value FROM json_each(?1))"
        };
        let ids = numbers(&settlement.done);
        done += sqlx::query(sql)
            .bind(ids.as_str())
            .bind(settlement.now)
            .execute(&mut *commit)
            .await?
            .rows_affected();
        sqlx::query(
            "DELETE FROM entry
             WHERE state = 0 AND slot IS NOT NULL AND id IN (SELECT value FROM json_each(?))",
        )
        .bind(ids)
        .execute(&mut *commit)
        .await?;
    }
    if !settlement.transactions.is_empty() {
        sqlx::query("DELETE FROM inbox WHERE id IN (SELECT value FROM json_each(?))")
            .bind(numbers(&settlement.transactions))
            .execute(&mut *commit)
            .await?;
    }
    count_done(commit, done).await
}

fn numbers(ids: &[i64]) -> String {
    serde_json::Value::from(ids).to_string()
}

pub(super) async fn move_cursor(
    commit: &mut SqliteConnection,
    (name, value): (&str, &str),
    now: i64,
) -> Result<(), JournalError> {
    sqlx::query(
        "INSERT INTO cursor (name, value, moved_at) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, moved_at = excluded.moved_at",
    )
    .bind(name)
    .bind(value)
    .bind(now)
    .execute(&mut *commit)
    .await?;
    Ok(())
}

/// Gives a dead letter up.
pub(super) async fn skip(commit: &mut SqliteConnection, id: i64) -> Result<bool, JournalError> {
    let skipped = sqlx::query("DELETE FROM entry WHERE id = ? AND state = 2")
        .bind(id)
        .execute(&mut *commit)
        .await?
        .rows_affected();
    count_done(commit, skipped).await?;
    Ok(skipped > 0)
}

async fn count_done(commit: &mut SqliteConnection, more: u64) -> Result<(), JournalError> {
    if more > 0 {
        sqlx::query("UPDATE counter SET value = value + ? WHERE name = 'done'")
            .bind(i64::try_from(more).unwrap_or(i64::MAX))
            .execute(&mut *commit)
            .await?;
    }
    Ok(())
}

/// Puts an entry into its slot and takes out what was there, in whatever state.
async fn put_latest(commit: &mut SqliteConnection, latest: &LatestRow) -> Result<(), JournalError> {
    let LatestRow { row, merge } = latest;
    let older: Option<Vec<u8>> =
        sqlx::query_scalar("DELETE FROM entry WHERE slot = ? AND id < ? RETURNING payload")
            .bind(row.entry.slot.as_deref())
            .bind(row.entry.id)
            .fetch_optional(&mut *commit)
            .await?;
    let merged = match (merge, older) {
        (Some(merge), Some(older)) => Some(merge(&older, &row.entry.payload)),
        _ => None,
    };
    let payload = merged.as_deref().unwrap_or(&row.entry.payload);
    put(commit, row, payload).await?;
    Ok(())
}

pub(super) fn entry(row: &SqliteRow) -> Result<Entry, JournalError> {
    Ok(Entry {
        id: row.try_get(0)?,
        reader: row.try_get(1)?,
        source: row.try_get(2)?,
        key: row.try_get(3)?,
        lane: row.try_get::<String, _>(4)?.into(),
        slot: row.try_get::<Option<String>, _>(5)?.map(Into::into),
        attempts: u32::try_from(row.try_get::<i64, _>(6)?).unwrap_or(u32::MAX),
        received_at: row.try_get(7)?,
        due_at: row.try_get(8)?,
        begun: row.try_get(9)?,
        payload: row.try_get::<Vec<u8>, _>(10)?.into(),
    })
}

pub(super) fn dead_letter(row: &SqliteRow) -> Result<DeadLetter, JournalError> {
    Ok(DeadLetter {
        id: row.try_get(0)?,
        reader: row.try_get(1)?,
        source: row.try_get(2)?,
        key: row.try_get(3)?,
        lane: row.try_get(4)?,
        attempts: row.try_get(5)?,
        received_at: row.try_get(6)?,
        error: row.try_get(7)?,
    })
}
