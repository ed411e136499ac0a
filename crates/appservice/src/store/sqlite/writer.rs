//! The one connection that writes, and whether its commits wait for the disk.

use sqlx::SqliteConnection;

use crate::journal::JournalError;

#[derive(Debug)]
pub(super) struct Writer {
    connection: SqliteConnection,
    /// Whether commits wait for the disk; `None` when a change of it was broken off.
    durable: Option<bool>,
    /// A transaction was begun and not ended: its future was dropped, or ending it failed.
    begun: bool,
}

impl Writer {
    /// A connection that was opened with `synchronous = FULL`.
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self {
            connection,
            durable: Some(true),
            begun: false,
        }
    }

    /// For one statement whose commit waits for the disk.
    pub(super) async fn durable(&mut self) -> Result<&mut SqliteConnection, JournalError> {
        self.ready(true).await?;
        Ok(&mut self.connection)
    }

    /// For one statement whose commit need not wait for the disk.
    pub(super) async fn relaxed(&mut self) -> Result<&mut SqliteConnection, JournalError> {
        self.ready(false).await?;
        Ok(&mut self.connection)
    }

    /// Whatever the last one wanted.
    pub(super) fn any(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Begins a transaction; [`Writer::end`] has to follow, whatever happens in between.
    pub(super) async fn begin(
        &mut self,
        durable: bool,
    ) -> Result<&mut SqliteConnection, JournalError> {
        self.ready(durable).await?;
        self.begun = true;
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut self.connection)
            .await?;
        Ok(&mut self.connection)
    }

    /// Commits what went well, and takes back what didn't.
    pub(super) async fn end<T>(
        &mut self,
        result: Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let ended = match result {
            Ok(value) => match sqlx::query("COMMIT").execute(&mut self.connection).await {
                Ok(_) => {
                    self.begun = false;
                    Ok(value)
                }
                Err(error) => Err(error.into()),
            },
            Err(error) => Err(error),
        };
        // The next push finds the writer as it needs it.
        if let Err(error) = self.ready(true).await {
            tracing::debug!(%error, "the journal's writer is not ready");
        }
        ended
    }

    async fn ready(&mut self, durable: bool) -> Result<(), JournalError> {
        if self.begun {
            // SQLite has often rolled back by itself, and says so.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
            self.begun = false;
        }
        if self.durable == Some(durable) {
            return Ok(());
        }
        // This future can be dropped before the answer: then nothing is known.
        self.durable = None;
        let pragma = if durable {
            "PRAGMA synchronous = FULL"
        } else {
            "PRAGMA synchronous = NORMAL"
        };
        sqlx::query(pragma).execute(&mut self.connection).await?;
        self.durable = Some(durable);
        Ok(())
    }
}
