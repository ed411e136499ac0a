//! Appending: all or nothing, and once.

use super::{Journal, JournalError, NewEntry, intake::Intake};

async fn journal(folder: &tempfile::TempDir) -> Journal {
    Journal::open(folder.path().join("journal.db"))
        .await
        .unwrap()
}

fn entry(key: &str, bytes: usize) -> NewEntry {
    NewEntry::new("fhir", key, "lane", vec![b'x'; bytes])
}

#[tokio::test]
async fn a_cursor_moves_with_what_was_read_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    assert_eq!(journal.cursor("patients").await.unwrap(), None);
    let small = [entry("1", 10), entry("2", 10)];
    let new = journal.append(&small, Some(("patients", "2"))).await;
    assert_eq!(new.unwrap(), 2);
    assert_eq!(journal.cursor("patients").await.unwrap().unwrap(), "2");

    journal.store().set_full(true).await;
    let large = [entry("3", 10), entry("4", 1_000_000)];
    let full = journal.append(&large, Some(("patients", "4"))).await;
    assert!(matches!(full, Err(JournalError::DiskFull(_))));
    assert_eq!(journal.cursor("patients").await.unwrap().unwrap(), "2");
    assert_eq!(journal.stats().await.unwrap().waiting, 2);

    journal.store().set_full(false).await;
    let new = journal.append(&large, Some(("patients", "4"))).await;
    assert_eq!(new.unwrap(), 2);
    assert_eq!(journal.cursor("patients").await.unwrap().unwrap(), "4");
}

#[tokio::test]
async fn what_is_appended_again_is_not_new_and_the_cursor_moves_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    journal.append(&[entry("1", 1)], None).await.unwrap();
    let again = [entry("1", 1), entry("1", 2), entry("2", 1)];
    let new = journal.append(&again, Some(("patients", "2"))).await;
    assert_eq!(new.unwrap(), 1);
    assert_eq!(journal.cursor("patients").await.unwrap().unwrap(), "2");
    // The same key of another source is another entry; without a key, each is its own.
    let other = NewEntry::new("other", "1", "lane", Vec::new());
    let keyless = NewEntry {
        key: None,
        ..other.clone()
    };
    let new = journal
        .append(&[other, keyless.clone(), keyless], None)
        .await;
    assert_eq!(new.unwrap(), 3);
    drop(journal);
    let journal = self::journal(&folder).await;
    assert_eq!(journal.stats().await.unwrap().waiting, 5);
}

#[tokio::test]
async fn a_transaction_that_can_not_be_split_waits_whole() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let event = |nth: usize| format!(r#"{{"event_id":"${nth}","room_id":"!a"}}"#);
    let body = format!(r#"{{"events":[{},{}]}}"#, event(1), event(2));
    journal
        .append_transaction("1", body.as_bytes())
        .await
        .unwrap();
    journal.store().set_unwritable(true).await;
    assert!(journal.split(16, &Intake::default()).await.is_err());
    let stats = journal.stats().await.unwrap();
    assert_eq!((stats.transactions, stats.waiting), (1, 0));
    journal.store().set_unwritable(false).await;
    assert_eq!(journal.split(16, &Intake::default()).await.unwrap(), 1);
    let stats = journal.stats().await.unwrap();
    assert_eq!((stats.transactions, stats.waiting), (0, 2));
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(
        &path,
        "something else entirely, and long enough for a header ".repeat(9),
    )
    .unwrap();
    let error = Journal::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("journal.db"), "{error}");
    let nowhere = Journal::open(folder.path().join("no/such/folder.db")).await;
    assert!(matches!(nowhere, Err(JournalError::File { .. })));
}
