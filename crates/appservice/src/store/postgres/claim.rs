//! One process at a time: two dispatchers on one journal would do everything twice.
//!
//! The holder has an advisory lock, which ends with the connection that took it, however that ends. What goes over
//! that connection (the pushes) needs no more. What goes over another checks the holder's number in its transaction, so
//! that a process which has lost the lock, and somebody else took it, can't write any more.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use sqlx::{Connection as _, PgConnection};

use crate::journal::JournalError;

/// Tells our advisory locks from others in the same database: "mxas".
const KIND: i64 = 0x6d78_6173;

#[derive(Debug)]
pub(super) struct Claim {
    /// Where the journal is, for people.
    place: String,
    /// The holder's number; 0 before the journal is ours.
    epoch: AtomicI64,
    /// The server's process that had the lock last, and since when there is that process.
    backend: Mutex<Option<(i32, String)>>,
}

impl Claim {
    pub(super) fn new(place: String) -> Self {
        Self {
            place,
            epoch: AtomicI64::new(0),
            backend: Mutex::default(),
        }
    }

    /// Takes the lock for this connection. The first time, the journal is opened by that.
    pub(super) async fn take(&self, connection: &mut PgConnection) -> Result<(), JournalError> {
        self.end_last(connection).await?;
        let mut commit = connection.begin().await?;
        // A process that has just been killed still has it for a moment.
        sqlx::query("SET LOCAL lock_timeout = '3s'")
            .execute(&mut *commit)
            .await?;
        let lock = "SELECT pg_advisory_lock(($1::bigint << 32) | 'holder'::regclass::oid::bigint)";
        let locked = sqlx::query(lock).bind(KIND).execute(&mut *commit).await;
        if let Err(error) = locked {
            // lock_not_available
            let taken = error
                .as_database_error()
                .and_then(sqlx::error::DatabaseError::code)
                .is_some_and(|code| code == "55P03");
            return Err(if taken { self.in_use() } else { error.into() });
        }
        let ours = self.epoch.load(Ordering::Relaxed);
        let epoch: i64 = if ours == 0 {
            sqlx::query_scalar("UPDATE holder SET epoch = epoch + 1 RETURNING epoch")
                .fetch_one(&mut *commit)
                .await?
        } else {
            sqlx::query_scalar("SELECT epoch FROM holder")
                .fetch_one(&mut *commit)
                .await?
        };
        if ours != 0 && epoch != ours {
            return Err(self.in_use());
        }
        let backend: (i32, String) = sqlx::query_as(
            "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .fetch_one(&mut *commit)
        .await?;
        commit.commit().await?;
        self.epoch.store(epoch, Ordering::Relaxed);
        *self.backend.lock().unwrap_or_else(PoisonError::into_inner) = Some(backend);
        Ok(())
    }

    /// Ends the server's process that has the lock for a connection of ours that is lost: the server may not have
    /// noticed yet.
    async fn end_last(&self, connection: &mut PgConnection) -> Result<(), JournalError> {
        let last = self
            .backend
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((pid, since)) = last {
            sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE pid = $1 AND backend_start::text = $2 AND pid <> pg_backend_pid()",
            )
            .bind(pid)
            .bind(since)
            .execute(connection)
            .await?;
        }
        Ok(())
    }

    /// Sees to it that the journal is still ours when this transaction is committed.
    pub(super) async fn check(&self, commit: &mut PgConnection) -> Result<(), JournalError> {
        let ours = sqlx::query("SELECT FROM holder WHERE epoch = $1 FOR SHARE")
            .bind(self.epoch.load(Ordering::Relaxed))
            .fetch_optional(commit)
            .await?;
        ours.map(|_| ()).ok_or_else(|| self.in_use())
    }

    fn in_use(&self) -> JournalError {
        JournalError::InUse(self.place.clone())
    }
}
