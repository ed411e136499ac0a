//! Rows in and out.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{filter::Filter, settled::Settled};
use crate::{
    journal::{DeadLetter, Entry, JournalError},
    store::{Key, LatestRow, Queue, Row, Settlement, State, StoredTransaction},
};

/// Bodies that are read at once, unless one alone is larger.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

pub(super) fn push(
    connection: &Connection,
    id: i64,
    (txn_id, received_at, body): (&str, i64, &[u8]),
) -> Result<(), JournalError> {
    connection
        .prepare_cached("INSERT INTO inbox (id, txn_id, received_at, body) VALUES (?, ?, ?, ?)")?
        .execute(params![id, txn_id, received_at, body])?;
    Ok(())
}

pub(super) fn transactions(
    connection: &Connection,
    settled: &Settled,
    after: i64,
    limit: u32,
) -> Result<Vec<StoredTransaction>, JournalError> {
    let mut transactions = Vec::new();
    let mut bytes = 0;
    let mut statement = connection.prepare_cached(
        "SELECT id, txn_id, received_at, body FROM inbox WHERE id > ? ORDER BY id",
    )?;
    let mut rows = statement.query([after])?;
    while transactions.len() < limit as usize && bytes < BYTES_AT_ONCE {
        let Some(row) = rows.next()? else { break };
        let id = row.get(0)?;
        if settled.removes(id) {
            continue;
        }
        let transaction = StoredTransaction {
            id,
            txn_id: row.get(1)?,
            received_at: row.get(2)?,
            body: row.get(3)?,
        };
        bytes += transaction.body.len();
        transactions.push(transaction);
    }
    Ok(transactions)
}

/// Which of these keys are in the table.
pub(super) fn seen(connection: &Connection, keys: Vec<Key>) -> Result<Vec<Key>, JournalError> {
    // All in one look: each would lock the file, and read anew what has changed.
    let look = connection.unchecked_transaction()?;
    let mut found = Vec::new();
    {
        let mut is_seen = look.prepare_cached("SELECT 1 FROM seen WHERE key = ?")?;
        for key in keys {
            if is_seen.exists([key.as_bytes()])? {
                found.push(key);
            }
        }
    }
    look.commit()?;
    Ok(found)
}

/// Adds all keys in the table to the filter.
pub(super) fn filter_keys(connection: &Connection, filter: &Filter) -> Result<(), JournalError> {
    let mut statement = connection.prepare("SELECT key FROM seen")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        filter.add(row.get_ref(0)?.as_blob()?);
    }
    filter.completed();
    Ok(())
}

/// Stores what is appended. Returns how much of it was new.
pub(super) fn append(
    commit: &Transaction<'_>,
    settled: &Settled,
    rows: &[Row],
    now: i64,
) -> Result<u64, JournalError> {
    let mut new = 0;
    for row in rows {
        if let Some(key) = &row.seen {
            settled.filter.add(key.as_bytes());
            let is_new = !settled.knows(key)
                && commit
                    .prepare_cached(
                        "INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![key.as_bytes(), now])?
                    > 0;
            if !is_new {
                continue;
            }
        }
        new += put(commit, row, &row.entry.payload)? as u64;
    }
    Ok(new)
}

/// Stores an entry, unless its id is stored already.
fn put(commit: &Transaction<'_>, row: &Row, payload: &[u8]) -> Result<usize, JournalError> {
    let Row {
        entry,
        state,
        error,
        seen: _,
    } = row;
    let stored = commit
        .prepare_cached(
            "INSERT INTO entry (id, reader, source, key, lane, slot, state, attempts, received_at,
                                due_at, begun, error, payload)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            entry.id,
            entry.reader,
            entry.source,
            entry.key,
            &*entry.lane,
            entry.slot.as_deref(),
            number(*state),
            entry.attempts,
            entry.received_at,
            entry.due_at,
            entry.begun,
            error,
            payload,
        ])?;
    Ok(stored)
}

fn number(state: State) -> i64 {
    match state {
        State::Waiting => 0,
        State::Done => 1,
        State::Dead => 2,
        State::Kept => 4,
    }
}

/// Writes what of a settlement concerns stored entries. Returns how many were done.
pub(super) fn settle(
    commit: &Transaction<'_>,
    settlement: &Settlement,
) -> Result<i64, JournalError> {
    for row in &settlement.rows {
        put(commit, row, &row.entry.payload)?;
    }
    for latest in &settlement.latest {
        put_latest(commit, latest)?;
    }
    let sql = if settlement.keep_payloads {
        "UPDATE entry SET state = 1, due_at = ?2, error = NULL
         WHERE state = 0 AND slot IS NULL AND id = ?1"
    } else {
        "DELETE FROM entry WHERE state = 0 AND slot IS NULL AND ?2 > 0 AND id = ?1"
    };
    let mut done = settlement.done_unstored;
    for id in &settlement.done {
        done += commit.prepare_cached(sql)?.execute([id, &settlement.now])? as u64;
        commit
            .prepare_cached("DELETE FROM entry WHERE state = 0 AND slot IS NOT NULL AND id = ?")?
            .execute([id])?;
    }
    Ok(i64::try_from(done).unwrap_or(i64::MAX))
}

pub(super) fn move_cursor(
    commit: &Transaction<'_>,
    (name, value): (&str, &str),
    now: i64,
) -> Result<(), JournalError> {
    commit
        .prepare_cached(
            "INSERT INTO cursor (name, value, moved_at) VALUES (?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value, moved_at = excluded.moved_at",
        )?
        .execute(params![name, value, now])?;
    Ok(())
}

pub(super) fn cursor(connection: &Connection, name: &str) -> Result<Option<String>, JournalError> {
    Ok(connection
        .prepare_cached("SELECT value FROM cursor WHERE name = ?")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// Gives a dead letter up.
pub(super) fn skip(commit: &Transaction<'_>, id: i64) -> Result<bool, JournalError> {
    let skipped = commit.execute("DELETE FROM entry WHERE id = ? AND state = 2", [id])?;
    let sql = "UPDATE counter SET value = value + ? WHERE name = 'done'";
    commit.execute(sql, [i64::from(skipped > 0)])?;
    Ok(skipped > 0)
}

/// Puts an entry into its slot and takes out what was there, in whatever state.
fn put_latest(commit: &Transaction<'_>, latest: &LatestRow) -> Result<(), JournalError> {
    let LatestRow { row, merge } = latest;
    let older: Option<Vec<u8>> = commit
        .prepare_cached("DELETE FROM entry WHERE slot = ? AND id < ? RETURNING payload")?
        .query_row(params![row.entry.slot.as_deref(), row.entry.id], |row| {
            row.get(0)
        })
        .optional()?;
    let merged = match (merge, older) {
        (Some(merge), Some(older)) => Some(merge(&older, &row.entry.payload)),
        _ => None,
    };
    let payload = merged.as_deref().unwrap_or(&row.entry.payload);
    put(commit, row, payload)?;
    Ok(())
}

/// Entries that wait.
pub(super) fn waiting(
    connection: &Connection,
    (reader, queue): (&str, Queue),
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
    let mut statement = connection.prepare_cached(sql)?;
    let rows = match lane {
        None => statement.query_map(params![reader, range.0, range.1, limit], entry)?,
        Some(lane) => {
            let slots = queue == Queue::Latest;
            let values = params![reader, range.0, range.1, limit, lane, slots];
            statement.query_map(values, entry)?
        }
    };
    Ok(rows.collect::<Result<_, _>>()?)
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        reader: row.get(1)?,
        source: row.get(2)?,
        key: row.get(3)?,
        lane: row.get_ref(4)?.as_str()?.into(),
        slot: row.get_ref(5)?.as_str_or_null()?.map(Into::into),
        attempts: row.get(6)?,
        received_at: row.get(7)?,
        due_at: row.get(8)?,
        begun: row.get(9)?,
        payload: row.get_ref(10)?.as_blob()?.into(),
    })
}

pub(super) fn dead_letter(row: &rusqlite::Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        reader: row.get(1)?,
        source: row.get(2)?,
        key: row.get(3)?,
        lane: row.get(4)?,
        attempts: row.get(5)?,
        received_at: row.get(6)?,
        error: row.get(7)?,
    })
}
