//! What was settled, and is not in its place yet.
//!
//! A settlement is one small row at the end of a table: the keys to be remembered, the transactions to be
//! removed, the number of entries that are done. In its place, each key would change a page of its own (they
//! are hashes), and each page that changes is written to the log, which the next push waits for. So they are
//! moved there later, many at once and in order: when it is calm, at the latest after some seconds, or when there is no
//! more room. Until then they are known from memory.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, Transaction, params};

use super::{filter::Filter, writer::Writer};
use crate::{
    journal::JournalError,
    store::{Key, Settlement},
};

/// Keys and transactions that are moved in one commit: a push may wait for it.
const MOVED_AT_ONCE: usize = 1024;
/// Keys, and settlements, that are in memory at most, but for the last ones.
const MOST_KEYS: usize = 64 * 1024;
const MOST_ROWS: usize = 4096;
/// How long it may stay there, in ms: as long as a transaction isn't removed, its text is in the file.
const LONGEST_MS: i64 = 5_000;

/// What is known from memory.
#[derive(Debug, Default)]
pub(super) struct Settled {
    state: Mutex<State>,
    /// Of the keys that are in their place.
    pub(super) filter: Filter,
}

#[derive(Debug, Default)]
struct State {
    keys: HashSet<Key>,
    transactions: BTreeSet<i64>,
    /// The rows of the table, oldest first.
    rows: VecDeque<Row>,
    /// The newest row's number.
    newest: i64,
}

#[derive(Debug, Clone)]
struct Row {
    id: i64,
    at: i64,
    keys: Vec<Key>,
    transactions: Vec<i64>,
    done: i64,
}

impl Settled {
    /// What an earlier process has left.
    pub(super) fn load(connection: &Connection) -> Result<Self, JournalError> {
        let mut state = State::default();
        let mut statement = connection
            .prepare("SELECT id, at, keys, transactions, done FROM settled ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            state.push(Row {
                id: row.get(0)?,
                at: row.get(1)?,
                keys: keys(row.get_ref(2)?.as_blob()?),
                transactions: unpack(row.get_ref(3)?.as_blob()?),
                done: row.get(4)?,
            });
        }
        drop(rows);
        drop(statement);
        Ok(Self {
            state: Mutex::new(state),
            filter: Filter::default(),
        })
    }

    /// Whether a key is known from memory.
    pub(super) fn knows(&self, key: &Key) -> bool {
        self.state().keys.contains(key)
    }

    /// Whether a key is surely neither in memory nor in the table.
    pub(super) fn is_new(&self, key: &Key) -> bool {
        // Memory first: a key leaves it when it is in the filter.
        !self.knows(key) && self.filter.excludes(key.as_bytes())
    }

    /// Whether a transaction is to be removed.
    pub(super) fn removes(&self, transaction: i64) -> bool {
        self.state().transactions.contains(&transaction)
    }

    /// Whether there is more than memory should hold.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state();
        state.keys.len() >= MOST_KEYS || state.rows.len() >= MOST_ROWS
    }

    /// Whether some of it has been in memory for too long.
    pub(super) fn is_overdue(&self, now: i64) -> bool {
        let state = self.state();
        let oldest = state.rows.front();
        oldest.is_some_and(|row| now.saturating_sub(row.at) >= LONGEST_MS)
    }

    /// How many keys are in memory.
    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.state().keys.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, row: Row) {
        self.newest = row.id;
        self.keys.extend(&row.keys);
        self.transactions.extend(&row.transactions);
        self.rows.push_back(row);
    }

    /// The oldest rows, as many as are moved at once.
    fn oldest(&self) -> Vec<Row> {
        let mut size = 0;
        let fits = |row: &&Row| {
            let first = size == 0;
            size += 1 + row.keys.len().max(row.transactions.len());
            first || size <= MOVED_AT_ONCE
        };
        self.rows.iter().take_while(fits).cloned().collect()
    }
}

/// A settlement's row, written but not committed.
#[must_use]
pub(super) struct Written(Option<Row>);

/// Writes what of a settlement is moved to its place later.
pub(super) fn write(
    commit: &Transaction<'_>,
    settled: &Settled,
    settlement: &Settlement,
    done: i64,
) -> Result<Written, JournalError> {
    let row = Row {
        id: settled.state().newest + 1,
        at: settlement.now,
        keys: settlement.seen.clone(),
        transactions: settlement.transactions.clone(),
        done,
    };
    if row.keys.is_empty() && row.transactions.is_empty() && row.done == 0 {
        return Ok(Written(None));
    }
    let keys: Vec<u8> = row.keys.iter().flat_map(|key| *key.as_bytes()).collect();
    commit
        .prepare_cached(
            "INSERT INTO settled (id, at, keys, transactions, done) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            row.id,
            row.at,
            keys,
            pack(&row.transactions),
            row.done,
        ])?;
    Ok(Written(Some(row)))
}

impl Written {
    /// It is committed.
    pub(super) fn committed(self, settled: &Settled) {
        if let Some(row) = self.0 {
            settled.state().push(row);
        }
    }
}

/// Moves a bounded piece to its place. Returns whether there is more.
pub(super) fn move_some(writer: &mut Writer) -> Result<bool, JournalError> {
    let settled = writer.settled.clone();
    let rows = settled.state().oldest();
    let Some(last) = rows.last() else {
        return Ok(false);
    };
    let mut keys: Vec<(Key, i64)> = rows
        .iter()
        .flat_map(|row| row.keys.iter().map(|key| (*key, row.at)))
        .collect();
    // Neighbours share a page.
    keys.sort_unstable();
    let mut transactions: Vec<i64> = rows
        .iter()
        .flat_map(|row| row.transactions.iter().copied())
        .collect();
    transactions.sort_unstable();
    let done: i64 = rows.iter().map(|row| row.done).sum();
    let commit = writer.begin(false)?;
    {
        let mut remember = commit
            .prepare_cached("INSERT INTO seen (key, at) VALUES (?, ?) ON CONFLICT DO NOTHING")?;
        for (key, at) in &keys {
            settled.filter.add(key.as_bytes());
            remember.execute(params![&key.as_bytes()[..], at])?;
        }
        let mut remove = commit.prepare_cached("DELETE FROM inbox WHERE id = ?")?;
        for id in &transactions {
            remove.execute([id])?;
        }
        commit
            .prepare_cached("UPDATE counter SET value = value + ? WHERE name = 'done'")?
            .execute([done])?;
        commit
            .prepare_cached("DELETE FROM settled WHERE id <= ?")?
            .execute([last.id])?;
    }
    commit.commit()?;
    let mut state = settled.state();
    for (key, _) in &keys {
        state.keys.remove(key);
    }
    for id in &transactions {
        state.transactions.remove(id);
    }
    state.rows.drain(..rows.len());
    if state.rows.is_empty() {
        // The memory of a burst is given back.
        state.keys = HashSet::new();
        state.rows = VecDeque::new();
    }
    Ok(!state.rows.is_empty())
}

fn keys(bytes: &[u8]) -> Vec<Key> {
    let keys = bytes.chunks_exact(Key::BYTES);
    keys.filter_map(|key| Key::try_from(key).ok()).collect()
}

fn pack(ids: &[i64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

fn unpack(bytes: &[u8]) -> Vec<i64> {
    let (ids, _) = bytes.as_chunks();
    ids.iter().map(|id| i64::from_le_bytes(*id)).collect()
}
