//! A connection that is made anew when it is lost.

use std::{fmt, io, sync::Arc, time::Duration};

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{Mutex, MutexGuard};

use super::claim::Claim;
use crate::journal::JournalError;

/// How long the database may take for anything. A network that swallows everything looks like one that is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection, used by one at a time.
pub(super) struct Link {
    options: PgConnectOptions,
    /// What has to be taken before it is used.
    claim: Option<Arc<Claim>>,
    /// Empty when it was lost, or never made.
    connection: Mutex<Option<PgConnection>>,
}

/// The connection, for as long as somebody has it. Dropped halfway, it is closed: nobody knows what it would say next.
pub(super) struct Session<'a> {
    place: MutexGuard<'a, Option<PgConnection>>,
    connection: PgConnection,
    /// It has just been made.
    fresh: bool,
}

impl Link {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            claim: None,
            connection: Mutex::default(),
        }
    }

    /// The one whose connection holds the claim, and does so already.
    pub(super) fn of_holder(
        options: PgConnectOptions,
        claim: Arc<Claim>,
        connection: PgConnection,
    ) -> Self {
        Self {
            options,
            claim: Some(claim),
            connection: Mutex::new(Some(connection)),
        }
    }

    /// Makes the connection.
    pub(super) async fn open(&self) -> Result<(), JournalError> {
        self.session().await?.end(Ok(()))
    }

    pub(super) async fn session(&self) -> Result<Session<'_>, JournalError> {
        let mut place = self.connection.lock().await;
        if let Some(mut connection) = place.take() {
            // One roundtrip, where nobody waits for it, so that an outage that is over is nobody's error.
            let alive = self.claim.is_some()
                || patiently(async { Ok(connection.ping().await?) })
                    .await
                    .is_ok();
            if alive {
                return Ok(Session {
                    place,
                    connection,
                    fresh: false,
                });
            }
        }
        let connection = patiently(async {
            let mut connection = self.options.connect().await?;
            if let Some(claim) = &self.claim {
                claim.take(&mut connection).await?;
            }
            Ok(connection)
        });
        let connection = connection.await?;
        Ok(Session {
            place,
            connection,
            fresh: true,
        })
    }
}

impl Session<'_> {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Gives the connection back, unless what happened says that it is lost.
    pub(super) fn end<T>(mut self, done: Result<T, JournalError>) -> Result<T, JournalError> {
        if !matches!(done, Err(JournalError::Unavailable(_))) {
            *self.place = Some(self.connection);
        }
        done
    }
}

/// Gives up in time.
pub(super) async fn patiently<T>(
    work: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, JournalError> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(JournalError::Unavailable(
            sqlx::Error::Io(io::ErrorKind::TimedOut.into()).into(),
        )),
    }
}

/// The options hold the password.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}
