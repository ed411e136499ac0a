//! A connection to the file: how it is set up, and its schema.

use std::{path::Path, time::Duration};

use rusqlite::Connection;

use crate::journal::JournalError;

/// One text for each version of the schema, in order. SQLite counts those that were run in `user_version`.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/sqlite/0001_journal.sql")];

/// How long a statement waits for another connection.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let opened = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             -- What is erased is overwritten: a payload that is done leaves nothing in the file.
             PRAGMA secure_delete = ON;
             -- Not by whoever happens to commit: the homeserver would wait for it.
             PRAGMA wal_autocheckpoint = 0;",
        )?;
        Ok(connection)
    };
    opened().map_err(|error: rusqlite::Error| JournalError::Open {
        path: path.to_owned(),
        source: error.into(),
    })
}

/// Brings the schema up to this version.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), JournalError> {
    let version = |connection: &Connection| {
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))
    };
    let done = version(connection)? as usize;
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let Some(left) = MIGRATIONS.get(done..) else {
        return Err(JournalError::Schema(
            format!(
                "its version is {done}, and this program knows those up to {}",
                MIGRATIONS.len()
            )
            .into(),
        ));
    };
    let failed = |error: rusqlite::Error| JournalError::Schema(error.into());
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'inbox')";
    if done == 0
        && connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(failed)?
    {
        return Err(JournalError::Schema(
            "it has tables and no version, as those from before the first release: let the program that made it finish what waits, then move the file away".into(),
        ));
    }
    let commit = connection.transaction().map_err(failed)?;
    for migration in left {
        commit.execute_batch(migration).map_err(failed)?;
    }
    let version = format!("PRAGMA user_version = {}", MIGRATIONS.len());
    commit.execute_batch(&version).map_err(failed)?;
    commit.commit().map_err(failed)
}
