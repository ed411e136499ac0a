//! Journals that are gone when the test is.

use std::{path::PathBuf, sync::OnceLock};

use super::until::until;
use crate::journal::{Journal, JournalError};

/// The place of a journal, in a folder of its own that goes when this is dropped.
///
/// ```
/// # use matrix_appservice::testing::TempJournal;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let place = TempJournal::new();
/// let journal = place.open().await;
/// drop(journal);
/// let again = place.open().await; // as after a restart
/// # drop(again);
/// # }
/// ```
#[derive(Debug)]
pub struct TempJournal(tempfile::TempDir);

impl Default for TempJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl TempJournal {
    /// A new place; nothing is there yet.
    #[must_use]
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The journal's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("journal.db")
    }

    /// Opens the journal. One that is still open elsewhere in this process is waited for: what held it
    /// may be about to end.
    pub async fn open(&self) -> Journal {
        let opened = OnceLock::new();
        let done = until(async || match Journal::open(self.path()).await {
            Err(JournalError::InUse(_)) => false,
            other => opened.set(other.unwrap()).is_ok(),
        });
        assert!(done.await, "something still has this journal open");
        opened.into_inner().unwrap()
    }
}
