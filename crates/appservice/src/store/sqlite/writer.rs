//! The one connection that writes, and whether its commits wait for the disk.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::settled::Settled;
use crate::journal::JournalError;

#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    /// Whether commits wait for the disk.
    durable: bool,
    /// The id of the newest transaction that was ever pushed here.
    pub(super) pushed: i64,
    pub(super) settled: Arc<Settled>,
}

impl Writer {
    /// A connection that was opened with `synchronous = FULL`.
    pub(super) fn new(connection: Connection, pushed: i64, settled: Arc<Settled>) -> Self {
        Self {
            connection,
            durable: true,
            pushed,
            settled,
        }
    }

    /// For one statement whose commit waits for the disk.
    pub(super) fn durable(&mut self) -> Result<&Connection, JournalError> {
        self.ready(true)?;
        Ok(&self.connection)
    }

    /// For one statement whose commit need not wait for the disk.
    pub(super) fn relaxed(&mut self) -> Result<&Connection, JournalError> {
        self.ready(false)?;
        Ok(&self.connection)
    }

    /// Begins a commit.
    pub(super) fn begin(&mut self, durable: bool) -> Result<Transaction<'_>, JournalError> {
        self.ready(durable)?;
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }

    fn ready(&mut self, durable: bool) -> Result<(), JournalError> {
        if !self.connection.is_autocommit() {
            // Taking the last commit back has failed: SQLite ignores the change of `synchronous` then.
            self.connection.execute_batch("ROLLBACK")?;
        }
        if self.durable != durable {
            self.connection.execute_batch(if durable {
                "PRAGMA synchronous = FULL"
            } else {
                "PRAGMA synchronous = NORMAL"
            })?;
            self.durable = durable;
        }
        Ok(())
    }
}
