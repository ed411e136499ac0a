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
    /// The program is ending.
    #[error("the program ends")]
    Closed,
    /// Another process works on the file. Two on one journal would do everything twice.
    #[error("the journal {} is in use by another process: is another one running?", .0.display())]
    InUse(std::path::PathBuf),
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
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_FULL is 13: https://www.sqlite.org/rescode.html#full
        let full = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .is_some_and(|code| code == "13");
        if full {
            Self::DiskFull(error)
        } else {
            Self::Database(error)
        }
    }
}
