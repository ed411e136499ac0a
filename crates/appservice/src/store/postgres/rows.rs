//! Rows in and out, many in one statement.

use std::collections::HashSet;

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::text;
use crate::{
    journal::{DeadLetter, Entry, JournalError},
    store::{Key, LatestRow, Row, Settlement, State},
};

/// Bytes of payload that go into one statement, unless one alone is larger.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

/// Rows, column by column.
#[derive(Default)]
struct Columns {
    ids: Vec<i64>,
    readers: Vec<String>,
    sources: Vec<String>,
    keys: Vec<Option<String>>,
    lanes: Vec<String>,
    slots: Vec<Option<String>>,
    states: Vec<i16>,
    attempts: Vec<i64>,
    received_at: Vec<i64>,
    due_at: Vec<i64>,
    begun: Vec<bool>,
    errors: Vec<Option<String>>,
    payloads: Vec<Vec<u8>>,
    bytes: usize,
}

impl Columns {
    fn push(&mut self, row: &Row, payload: Vec<u8>) {
        let Row {
            entry,
            state,
            error,
            seen: _,
        } = row;
        let stored = |text: &str| text::stored(text).into_owned();
        self.ids.push(entry.id);
        self.readers.push(stored(&entry.reader));
        self.sources.push(stored(&entry.source));
        self.keys.push(entry.key.as_deref().map(stored));
        self.lanes.push(stored(&entry.lane));
        self.slots.push(entry.slot.as_deref().map(stored));
        self.states.push(number(*state));
        self.attempts.push(i64::from(entry.attempts));
        self.received_at.push(entry.received_at);
        self.due_at.push(entry.due_at);
        self.begun.push(entry.begun);
        self.errors.push(error.as_deref().map(stored));
        self.bytes += payload.len();
        self.payloads.push(payload);
    }

    async fn insert(&self, commit: &mut PgConnection) -> Result<u64, JournalError> {
        if self.ids.is_empty() {
            return Ok(0);
        }
        let done = sqlx::query(
            "INSERT INTO entry (id, reader, source, key, lane, slot, state, attempts, received_at,
                                due_at, begun, error, payload)
             SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[],
                                  $6::text[], $7::smallint[], $8::bigint[], $9::bigint[],
                                  $10::bigint[], $11::boolean[], $12::text[], $13::bytea[])
             ON CONFLICT DO NOTHING",
        )
        .bind(&self.ids)
        .bind(&self.readers)
        .bind(&self.sources)
        .bind(&self.keys)
        .bind(&self.lanes)
        .bind(&self.slots)
        .bind(&self.states)
        .bind(&self.attempts)
        .bind(&self.received_at)
        .bind(&self.due_at)
        .bind(&self.begun)
        .bind(&self.errors)
        .bind(&self.payloads)
        .execute(commit)
        .await?;
        Ok(done.rows_affected())
    }
}

/// Stores entries, those whose id is stored already excepted. Returns how many were stored.
async fn insert<'a>(
    commit: &mut PgConnection,
    rows: impl Iterator<Item = &'a Row>,
) -> Result<u64, JournalError> {
    let mut new = 0;
    let mut columns = Columns::default();
    for row in rows {
        columns.push(row, row.entry.payload.to_vec());
        if columns.bytes >= BYTES_AT_ONCE {
            new += columns.insert(commit).await?;
            columns = Columns::default();
        }
    }
    Ok(new + columns.insert(commit).await?)
}

/// Remembers keys. Returns those that are new.
async fn remember(
    commit: &mut PgConnection,
    keys: &[&str],
    now: i64,
) -> Result<HashSet<String>, JournalError> {
    let new: Vec<String> = sqlx::query_scalar(
        "INSERT INTO seen (key, at) SELECT key, $2 FROM UNNEST($1::text[]) AS key
         ON CONFLICT DO NOTHING RETURNING key",
    )
    .bind(keys)
    .bind(now)
    .fetch_all(commit)
    .await?;
    Ok(new.into_iter().collect())
}

/// Stores rows whose keys are new, and remembers those. Returns how many were stored.
pub(super) async fn append(
    commit: &mut PgConnection,
    rows: &[Row],
    now: i64,
) -> Result<u64, JournalError> {
    let keys: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.seen.as_ref().map(Key::as_str))
        .collect();
    let mut new = match keys.as_slice() {
        [] => HashSet::new(),
        keys => remember(commit, keys, now).await?,
    };
    // Of two rows with one key, the first.
    let rows = rows
        .iter()
        .filter(|row| row.seen.as_ref().is_none_or(|key| new.remove(key.as_str())));
    insert(commit, rows).await
}

pub(super) async fn settle(
    commit: &mut PgConnection,
    settlement: &Settlement,
) -> Result<(), JournalError> {
    if !settlement.seen.is_empty() {
        let keys: Vec<&str> = settlement.seen.iter().map(Key::as_str).collect();
        remember(commit, &keys, settlement.now).await?;
    }
    insert(commit, settlement.rows.iter()).await?;
    for latest in &settlement.latest {
        put_latest(commit, latest).await?;
    }
    let mut done = settlement.done_unstored;
    if !settlement.done.is_empty() {
        if settlement.keep_payloads {
            done += sqlx::query(
                "UPDATE entry SET state = 1, due_at = $2, error = NULL
                 WHERE state = 0 AND slot IS NULL AND id = ANY($1)",
            )
            .bind(&settlement.done)
            .bind(settlement.now)
            .execute(&mut *commit)
            .await?
            .rows_affected();
        }
        // Those that are left wait no more.
        let removed: i64 = sqlx::query_scalar(
            "WITH gone AS (DELETE FROM entry WHERE state = 0 AND id = ANY($1) RETURNING slot)
             SELECT COUNT(*) FROM gone WHERE slot IS NULL",
        )
        .bind(&settlement.done)
        .fetch_one(&mut *commit)
        .await?;
        done += u64::try_from(removed).unwrap_or(0);
    }
    if !settlement.transactions.is_empty() {
        sqlx::query("DELETE FROM inbox WHERE id = ANY($1)")
            .bind(&settlement.transactions)
            .execute(&mut *commit)
            .await?;
    }
    count_done(commit, done).await
}

pub(super) async fn count_done(commit: &mut PgConnection, more: u64) -> Result<(), JournalError> {
    if more > 0 {
        sqlx::query("UPDATE counter SET value = value + $1 WHERE name = 'done'")
            .bind(i64::try_from(more).unwrap_or(i64::MAX))
            .execute(commit)
            .await?;
    }
    Ok(())
}

/// Puts an entry into its slot and takes out what was there, in whatever state.
async fn put_latest(commit: &mut PgConnection, latest: &LatestRow) -> Result<(), JournalError> {
    let LatestRow { row, merge } = latest;
    let older: Option<Vec<u8>> =
        sqlx::query_scalar("DELETE FROM entry WHERE slot = $1 AND id < $2 RETURNING payload")
            .bind(row.entry.slot.as_deref().map(text::stored))
            .bind(row.entry.id)
            .fetch_optional(&mut *commit)
            .await?;
    let payload = match (merge, older) {
        (Some(merge), Some(older)) => merge(&older, &row.entry.payload),
        _ => row.entry.payload.to_vec(),
    };
    let mut columns = Columns::default();
    columns.push(row, payload);
    columns.insert(commit).await?;
    Ok(())
}

fn number(state: State) -> i16 {
    match state {
        State::Waiting => 0,
        State::Done => 1,
        State::Dead => 2,
        State::Kept => 4,
    }
}

pub(super) fn entry(row: &PgRow) -> Result<Entry, JournalError> {
    Ok(Entry {
        id: row.try_get(0)?,
        reader: text::read(row.try_get(1)?),
        source: text::read(row.try_get(2)?).into(),
        key: row.try_get::<Option<String>, _>(3)?.map(text::read),
        lane: text::read(row.try_get(4)?).into(),
        slot: row
            .try_get::<Option<String>, _>(5)?
            .map(|slot| text::read(slot).into()),
        attempts: attempts(row.try_get(6)?),
        received_at: row.try_get(7)?,
        due_at: row.try_get(8)?,
        begun: row.try_get(9)?,
        payload: row.try_get::<Vec<u8>, _>(10)?.into(),
    })
}

pub(super) fn dead_letter(row: &PgRow) -> Result<DeadLetter, JournalError> {
    Ok(DeadLetter {
        id: row.try_get(0)?,
        reader: text::read(row.try_get(1)?),
        source: text::read(row.try_get(2)?),
        key: row.try_get::<Option<String>, _>(3)?.map(text::read),
        lane: text::read(row.try_get(4)?),
        attempts: attempts(row.try_get(5)?),
        received_at: row.try_get(6)?,
        error: text::read(row.try_get(7)?),
    })
}

fn attempts(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(u32::MAX)
}
