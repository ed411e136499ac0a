//! All rows, a page at a time, for another store that takes them over.

use rusqlite::{Connection, params};

use super::SqliteStore;
use crate::{
    journal::JournalError,
    store::{StoredEntry, StoredTransaction},
};

/// Bytes that are read at once, unless one row alone is larger.
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// Rows that are read at once.
const ROWS_AT_ONCE: u32 = 4096;

impl SqliteStore {
    /// What was pushed and is not taken apart, with ids above `after`.
    pub(in crate::store) async fn page_of_transactions(
        &self,
        after: i64,
    ) -> Result<Vec<StoredTransaction>, JournalError> {
        let settled = self.settled.clone();
        let read = move |connection: &Connection| {
            super::rows::transactions(connection, &settled, after, ROWS_AT_ONCE)
        };
        self.read(&self.aside, read).await
    }

    /// Entries, whatever their state, with ids above `after`.
    pub(in crate::store) async fn page_of_entries(
        &self,
        after: i64,
    ) -> Result<Vec<StoredEntry>, JournalError> {
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, reader, source, key, lane, slot, state, attempts, received_at, due_at, begun, error,
                        payload
                 FROM entry WHERE id > ? ORDER BY id",
            )?;
            let (mut entries, mut bytes) = (Vec::new(), 0);
            let mut rows = statement.query([after])?;
            while entries.len() < ROWS_AT_ONCE as usize && bytes < BYTES_AT_ONCE {
                let Some(row) = rows.next()? else { break };
                let entry = StoredEntry {
                    id: row.get(0)?,
                    reader: row.get(1)?,
                    source: row.get(2)?,
                    key: row.get(3)?,
                    lane: row.get(4)?,
                    slot: row.get(5)?,
                    state: row.get(6)?,
                    attempts: row.get(7)?,
                    received_at: row.get(8)?,
                    due_at: row.get(9)?,
                    begun: row.get(10)?,
                    error: row.get(11)?,
                    payload: row.get(12)?,
                };
                bytes += entry.payload.len();
                entries.push(entry);
            }
            Ok(entries)
        };
        self.read(&self.aside, read).await
    }

    /// Keys that are remembered, and when they were taken in, behind `after`. All are in their place only after
    /// [`Store::stats`](super::Store::stats).
    pub(in crate::store) async fn page_of_keys(
        &self,
        after: String,
    ) -> Result<Vec<(String, i64)>, JournalError> {
        let read = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("SELECT key, at FROM seen WHERE key > ? ORDER BY key LIMIT ?")?;
            let rows = statement.query_map(params![after.as_bytes(), ROWS_AT_ONCE], |row| {
                let key = String::from_utf8_lossy(row.get_ref(0)?.as_blob()?).into_owned();
                Ok((key, row.get(1)?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.read(&self.aside, read).await
    }

    /// All cursors, and when they moved.
    pub(in crate::store) async fn all_cursors(
        &self,
    ) -> Result<Vec<(String, String, i64)>, JournalError> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare("SELECT name, value, moved_at FROM cursor")?;
            let rows =
                statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        self.read(&self.aside, read).await
    }
}
