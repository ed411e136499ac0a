//! The journal's file: one process at a time, and nobody else's business.

use std::os::unix::fs::PermissionsExt;

use matrix_appservice::{Journal, JournalError, NewEntry};

#[tokio::test]
async fn a_journal_that_is_in_use_is_refused_and_free_again_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let first = Journal::open(&path).await.unwrap();
    let clone = first.clone();
    drop(first);
    let error = Journal::open(&path).await.unwrap_err();
    assert!(matches!(error, JournalError::InUse(_)), "{error:?}");
    assert!(error.to_string().contains("journal.db"), "{error}");
    drop(clone);
    Journal::open(&path).await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("journal.db"))
        .await
        .unwrap();
    let entry = NewEntry::new("test", "1", "lane", b"something private".to_vec());
    journal.append(&[entry], None).await.unwrap();
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
        files += 1;
    }
    assert!(files >= 3, "database, log and lock");
}
