//! Appending: all or nothing, and once.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use super::{
    Due, Entry, Journal, JournalError, MATRIX, NewEntry, PushError, Retention, intake::Intake,
    ledger::Also, lock, now_ms,
};
use crate::store::Queue;

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

    journal.sqlite().set_full(true).await;
    let large = [entry("3", 10), entry("4", 1_000_000)];
    let full = journal.append(&large, Some(("patients", "4"))).await;
    assert!(matches!(full, Err(JournalError::DiskFull(_))));
    assert_eq!(journal.cursor("patients").await.unwrap().unwrap(), "2");
    assert_eq!(journal.stats().await.unwrap().waiting, 2);

    journal.sqlite().set_full(false).await;
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
    let keyless = NewEntry::without_key("other", "lane", Vec::new());
    let new = journal
        .append(&[other, keyless.clone(), keyless], None)
        .await;
    assert_eq!(new.unwrap(), 3);
    drop(journal);
    let journal = self::journal(&folder).await;
    assert_eq!(journal.stats().await.unwrap().waiting, 5);
}

/// Transactions, entries that wait, dead letters, entries that are done.
async fn numbers(journal: &Journal) -> (u64, u64, u64, u64) {
    let stats = journal.stats().await.unwrap();
    (stats.transactions, stats.waiting, stats.dead, stats.done)
}

async fn push(journal: &Journal, body: &str) {
    let pushed = journal
        .push("1".to_owned(), body.to_owned().into(), Arc::default())
        .await;
    pushed.unwrap();
}

fn events(ids: &[usize]) -> String {
    let events: Vec<_> = ids
        .iter()
        .map(|nth| format!(r#"{{"event_id":"${nth}","room_id":"!a"}}"#))
        .collect();
    format!(r#"{{"events":[{}]}}"#, events.join(","))
}

#[tokio::test]
async fn a_transaction_that_can_not_be_taken_in_waits_whole() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let intake = Intake::default();
    push(&journal, &events(&[1, 2])).await;
    journal.sqlite().set_unreadable(true).await;
    assert!(journal.take_in(&intake).await.is_err());
    journal.sqlite().set_unreadable(false).await;
    assert_eq!(numbers(&journal).await, (1, 0, 0, 0));
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(numbers(&journal).await, (0, 2, 0, 0));
}

#[tokio::test]
async fn a_body_that_is_refused_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    for body in ["{", "[]", "{}", r#"{"events":{}}"#] {
        let pushed = journal
            .push("1".to_owned(), body.into(), Arc::default())
            .await;
        assert!(matches!(pushed, Err(PushError::Bad(_))), "{body}");
    }
    assert_eq!(numbers(&journal).await, (0, 0, 0, 0));
    assert!(!journal.take_in(&Intake::default()).await.unwrap());
}

#[tokio::test]
async fn the_homeserver_has_its_answer_before_anything_is_taken_in() {
    let journal = Journal::in_memory().await.unwrap();
    let stop = CancellationToken::new();
    let taking = {
        let (journal, stop) = (journal.clone(), stop.clone());
        tokio::spawn(async move { journal.take_in_all(Arc::default(), stop).await })
    };
    // It waits for the first.
    tokio::task::yield_now().await;
    for nth in 1..4 {
        // As the server's task does, which the homeserver's connection wakes.
        let pushing = journal.clone();
        let taken_before = tokio::spawn(async move {
            push(&pushing, &events(&[nth])).await;
            lock(&pushing.0.ledger).open().1
        });
        assert_eq!(taken_before.await.unwrap(), nth - 1);
        while lock(&journal.0.ledger).open().1 < nth {
            tokio::task::yield_now().await;
        }
    }
    stop.cancel();
    taking.await.unwrap();
}

#[tokio::test]
async fn an_event_that_comes_again_adds_nothing_wherever_the_first_is() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let intake = Intake::default();
    // In the same transaction, and in the same batch.
    push(&journal, &events(&[1, 1, 2])).await;
    push(&journal, &events(&[2, 3])).await;
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(numbers(&journal).await, (0, 3, 0, 0));
    // While the first is in memory.
    push(&journal, &events(&[3, 4])).await;
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(numbers(&journal).await, (0, 4, 0, 0));
    // When one is done, one is stored, one is dead.
    journal.done(1);
    journal.settle_one(2).await.unwrap();
    journal.bury(3, 1, "dead").await.unwrap();
    push(&journal, &events(&[1, 2, 3, 4])).await;
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(numbers(&journal).await, (0, 2, 1, 1));
    // After a restart.
    drop(journal);
    let journal = self::journal(&folder).await;
    push(&journal, &events(&[4, 3, 2, 1])).await;
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(numbers(&journal).await, (0, 2, 1, 1));
}

#[tokio::test]
async fn what_is_too_much_for_memory_is_read_from_the_store_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let intake = Intake::default();
    while journal.take_in(&intake).await.unwrap() {}
    let feed = journal.feed("", Queue::Each);
    let filler = "x".repeat(60_000);
    for nth in 1..=400 {
        let event =
            format!(r#"{{"event_id":"${nth}","room_id":"!a","content":{{"body":"{filler}"}}}}"#);
        push(&journal, &format!(r#"{{"events":[{event}]}}"#)).await;
    }
    let (mut seen, mut scanned_to) = (Vec::new(), 0);
    let mut key = |entry: &Entry| seen.push(entry.key.clone().unwrap());
    let mut handled = 0;
    while handled < 400 {
        let bytes = lock(&journal.0.ledger).bytes();
        assert!(bytes < 17 * 1024 * 1024, "{bytes} in memory");
        journal.take_in(&intake).await.unwrap();
        journal.settle(Also::Old).await.unwrap();
        let entries = match feed.next(7) {
            Due::Entries(entries) => entries,
            Due::Stored(up_to) => {
                let page = feed.waiting(None, (scanned_to, up_to), 7).await.unwrap();
                if !page.more {
                    feed.read(up_to);
                }
                page.entries
            }
            Due::Nothing => Vec::new(),
        };
        for entry in entries {
            key(&entry);
            scanned_to = entry.id;
            handled += 1;
            // The first ones stay.
            if handled > 200 {
                journal.done(entry.id);
            }
        }
    }
    assert_eq!(
        seen,
        (1..=400).map(|nth| format!("${nth}")).collect::<Vec<_>>()
    );
    assert_eq!(numbers(&journal).await, (0, 200, 0, 200));
}

#[tokio::test]
async fn each_reader_has_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let handles = |source: &str| HashSet::from([source.to_owned()]);
    let intake = Intake {
        readers: BTreeMap::from([
            (String::new(), handles(MATRIX)),
            ("audit".to_owned(), handles(MATRIX)),
            ("other".to_owned(), handles("fhir")),
        ]),
        rooms: None,
    };
    journal.adopt(&intake, Retention::default()).await.unwrap();
    push(&journal, &events(&[1])).await;
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(numbers(&journal).await, (0, 2, 0, 0));
    let ids = |reader: &'static str| {
        let feed = journal.feed(reader, Queue::Each);
        async move {
            let page = feed.waiting(None, (0, i64::MAX), 10).await.unwrap();
            page.entries
                .iter()
                .map(|entry| entry.id)
                .collect::<Vec<_>>()
        }
    };
    let (main, audit) = (ids("").await, ids("audit").await);
    assert_eq!(
        (main.len(), audit.len(), ids("other").await.len()),
        (1, 1, 0)
    );
    // One is done and the process ends: the other is still to be handled, and only that one.
    journal.done(audit[0]);
    journal.settle_all().await.unwrap();
    drop(journal);
    let journal = self::journal(&folder).await;
    journal.adopt(&intake, Retention::default()).await.unwrap();
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(numbers(&journal).await, (0, 1, 0, 1));
    let left = lock(&journal.0.ledger).waiting("", None, (0, i64::MAX), 10);
    assert!(left[0].begun, "an earlier process had it");
}

#[tokio::test]
async fn payloads_and_keys_stay_for_as_long_as_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let day = std::time::Duration::from_hours(24);
    let kept = Retention {
        payloads: day,
        keys: Some(day),
    };
    journal.adopt(&Intake::default(), kept).await.unwrap();
    // One is done in memory, one in the store.
    journal.append(&[entry("1", 10)], None).await.unwrap();
    push(&journal, &events(&[1])).await;
    while journal.take_in(&Intake::default()).await.unwrap() {}
    for id in 1..=2 {
        journal.done(id);
    }
    let rows = async |journal: &Journal| -> (i64, i64) {
        journal.settle_all().await.unwrap();
        let done = "SELECT COUNT(*) FROM entry WHERE state = 1 AND length(payload) > 0";
        let keys = "SELECT COUNT(*) FROM seen";
        (
            journal.sqlite().number(done).await,
            journal.sqlite().number(keys).await,
        )
    };
    assert_eq!(rows(&journal).await, (2, 2));
    assert!(!journal.purge().await.unwrap());
    assert_eq!(rows(&journal).await, (2, 2));
    *lock(&journal.0.retention) = Retention::default();
    // The clock has to be past the millisecond in which they were done.
    let done_at = now_ms();
    while now_ms() <= done_at {
        tokio::task::yield_now().await;
    }
    journal.purge().await.unwrap();
    assert_eq!(rows(&journal).await, (0, 2), "keys stay for ever");
    *lock(&journal.0.retention) = Retention {
        keys: Some(std::time::Duration::ZERO),
        ..Retention::default()
    };
    journal.purge().await.unwrap();
    assert_eq!(rows(&journal).await, (0, 0));
    assert_eq!(numbers(&journal).await, (0, 0, 0, 2));
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

#[tokio::test]
async fn events_that_were_never_pushed_are_appended_once_wherever_the_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let intake = Intake::default();
    let append = async |ids: &[usize], cursor: &str| {
        let events: Vec<_> = ids
            .iter()
            .map(|nth| {
                let json = format!(
                    r#"{{"event_id":"${nth}","room_id":"!a","sender":"@a:hs","type":"t","content":{{}}}}"#
                );
                crate::Event::parse(json.as_bytes()).unwrap()
            })
            .collect();
        journal
            .append_events(&events, Some(("heard", cursor)))
            .await
            .unwrap()
    };
    push(&journal, &events(&[1])).await;
    while journal.take_in(&intake).await.unwrap() {}
    // One is in memory, one is stored as it came, two are new.
    push(&journal, &events(&[2])).await;
    assert_eq!(append(&[1, 2, 3, 4], "$4").await, 3);
    assert_eq!(append(&[3, 4], "$4").await, 0);
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(journal.stats().await.unwrap().waiting, 4);
    // One is done, and pushed late.
    journal.done(1);
    journal.settle_all().await.unwrap();
    assert_eq!(append(&[1, 5], "$5").await, 1);
    push(&journal, &events(&[3, 5])).await;
    while journal.take_in(&intake).await.unwrap() {}
    assert_eq!(journal.stats().await.unwrap().waiting, 4);
    assert_eq!(journal.cursor("heard").await.unwrap().unwrap(), "$5");
}
