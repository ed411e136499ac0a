//! Why the journal could not do what it was asked for.

/// The journal's database failed. Nothing was stored by the call that returned this.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk is full: make room; until then the homeserver gets 503 and keeps its events.
    #[error("the disk of the journal is full: make room, nothing is lost until then")]
    DiskFull(#[source] sqlx::Error),
    /// The file's schema is newer than this version, or its migrations failed.
    #[error("the journal's schema can't be used: was it written by a newer version?")]
    Schema(#[source] sqlx::migrate::MigrateError),
    /// Anything else that the database said.
    #[error("the journal's database failed")]
    Database(#[source] sqlx::Error),
    /// The database is not to be reached: it is asked again, and until it answers the homeserver gets 503
    /// and keeps its events.
    #[error("the journal's database can't be reached")]
    Unavailable(#[source] sqlx::Error),
    /// A [store](crate::store) of the application's own failed.
    #[error("the journal's store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The program is ending.
    #[error("the program ends")]
    Closed,
    /// Another process works on the journal. Two would do everything twice.
    #[error("the journal {0} is in use by another process: is another one running?")]
    InUse(String),
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
        source: sqlx::Error,
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
        source: sqlx::Error,
    },
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        match code.as_deref() {
            // SQLITE_FULL is 13: https://www.sqlite.org/rescode.html#full
            // disk_full of PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
            Some("13" | "53100") => Self::DiskFull(error),
            Some(code) if is_outage(code) => Self::Unavailable(error),
            Some(_) => Self::Database(error),
            None => match error {
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                    Self::Unavailable(error)
                }
                _ => Self::Database(error),
            },
        }
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
