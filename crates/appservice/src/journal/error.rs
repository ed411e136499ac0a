//! Why the journal could not do what it was asked for.

/// What a database or an operating system said; no content.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The journal's database failed. Nothing was stored by the call that returned this.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk is full: make room; until then the homeserver gets 503 and keeps its events.
    #[error("the disk of the journal is full: make room, nothing is lost until then")]
    DiskFull(#[source] BoxError),
    /// The file's schema is newer than this version, or its migrations failed.
    #[error("the journal's schema can't be used: was it written by a newer version?")]
    Schema(#[source] BoxError),
    /// Anything else that the database said.
    #[error("the journal's database failed")]
    Database(#[source] BoxError),
    /// The database is not to be reached: it is asked again, and until it answers the homeserver gets 503
    /// and keeps its events.
    #[error("the journal's database can't be reached")]
    Unavailable(#[source] BoxError),
    /// A [store](crate::store) of the application's own failed.
    #[error("the journal's store failed")]
    Store(#[source] BoxError),
    /// The program is ending.
    #[error("the program ends")]
    Closed,
    /// Another process works on the journal. Two would do everything twice.
    #[error("the journal {0} is in use by another process: is another one running?")]
    InUse(String),
    /// A journal that is to take over another one holds something already.
    #[error("the journal that is to take over another one is not empty")]
    NotEmpty,
    /// The file can't be created, opened or locked.
    #[error("the journal can't be opened at {}", .path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// SQLite can't open the file.
    #[error("the journal can't be opened at {}", .path.display())]
    Open {
        /// The file.
        path: std::path::PathBuf,
        /// What the operating system or SQLite said.
        #[source]
        source: BoxError,
    },
    /// What was given as the address of PostgreSQL is none.
    #[error(
        "the journal's address can't be read: postgres://user:password@host/database is expected"
    )]
    Address,
    /// PostgreSQL can't be reached, or lets nobody in.
    #[error("the journal can't be opened at {place}")]
    Connect {
        /// The host and the database.
        place: String,
        /// What the operating system or PostgreSQL said.
        #[source]
        source: BoxError,
    },
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            // disk_full of PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
            Some("53100") => Self::DiskFull(error.into()),
            Some(code) if is_outage(code) => Self::Unavailable(error.into()),
            Some(_) => Self::Database(error.into()),
            None => match error {
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                    Self::Unavailable(error.into())
                }
                _ => Self::Database(error.into()),
            },
        }
    }
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull(error.into()),
            _ => Self::Database(error.into()),
        }
    }
}

impl From<rusqlite::types::FromSqlError> for JournalError {
    fn from(error: rusqlite::types::FromSqlError) -> Self {
        rusqlite::Error::from(error).into()
    }
}

/// Whether a code of PostgreSQL says that the connection is of no use any more, or that there can be none for now.
fn is_outage(code: &str) -> bool {
    // connection_exception; too_many_connections; operator_intervention: a shutdown, a crash, a start that takes
    // its time; a standby that can't be written; a database that takes no connections
    code.starts_with("08")
        || [
            "53300", "57P01", "57P02", "57P03", "57P04", "57P05", "25006", "55000",
        ]
        .contains(&code)
}
