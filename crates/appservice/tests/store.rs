//! Each adapter, held to the rules of the port.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::{cell::Cell, sync::Arc};

use matrix_appservice::{
    Entry, JournalError,
    store::{
        Bytes, Key, MemoryStore, PostgresStore, Queue, Row, Settlement, SqliteStore, State, Store,
    },
    testing::store,
};
use sqlx::{Connection as _, Executor as _};
use testbed::{Database, Postgres};

async fn database() -> Database {
    Postgres::shared().await.unwrap().database().await.unwrap()
}

static EMPTY: Bytes = Bytes::from_static(b"{}");

#[tokio::test]
async fn sqlite_holds_to_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let opened = Cell::new(0);
    store::conformance(async || {
        opened.set(opened.get() + 1);
        let path = folder.path().join(opened.get().to_string());
        SqliteStore::open(&path).await.unwrap()
    })
    .await;
    let again = folder.path().join("again");
    store::reopening(async || SqliteStore::open(&again).await).await;
}

#[tokio::test]
async fn memory_holds_to_the_rules() {
    store::conformance(async || MemoryStore::default()).await;
}

#[tokio::test]
async fn postgres_holds_to_the_rules() {
    let database = database().await;
    let mut owner = sqlx::PgConnection::connect(database.url()).await.unwrap();
    owner
        .execute("DO $$ BEGIN FOR n IN 1..100 LOOP EXECUTE format('CREATE SCHEMA journal_%s', n); END LOOP; END $$")
        .await
        .unwrap();
    let opened = Cell::new(0);
    store::conformance(async || {
        opened.set(opened.get() + 1);
        let schema = format!("&options=-csearch_path=journal_{}", opened.get());
        let url = [database.url(), &schema].concat();
        PostgresStore::open(&url).await.unwrap()
    })
    .await;
    store::reopening(async || PostgresStore::open(database.url()).await).await;
}

#[tokio::test]
async fn an_address_that_is_wrong_is_an_error_without_its_password() {
    let right = database().await;
    let password = right.url().split([':', '@']).nth(2).unwrap();
    for (url, expected) in [
        (
            right.url().replace(password, "canary-guess"),
            "the journal can't be opened at postgres://127.",
        ),
        (
            "postgres://user:canary-guess@127.0.0.1:1/none".to_owned(),
            "the journal can't be opened at postgres://127.0.0.1:1/none",
        ),
        (
            "postgres://user:canary-guess@:x:y/".to_owned(),
            "the journal's address can't be read",
        ),
    ] {
        let error: JournalError = PostgresStore::open(&url).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(
            !format!("{error} {error:?}").contains("canary"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_database_that_is_gone_is_an_outage_and_its_store_goes_on_when_it_is_back() {
    let database = database().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    store.push("1", &EMPTY, 1).await.unwrap();

    database.cut().await.unwrap();
    let (push, cursor) = (
        store.push("2", &EMPTY, 2).await,
        store.cursor("place").await,
    );
    for outage in [push.unwrap_err(), cursor.unwrap_err()] {
        assert!(matches!(outage, JournalError::Unavailable(_)), "{outage:?}");
    }

    database.restore().await.unwrap();
    store.push("3", &EMPTY, 3).await.unwrap();
    assert_eq!(store.cursor("place").await.unwrap(), None);
    assert_eq!(store.transactions(0, 10).await.unwrap().len(), 2);
    // It has the journal again.
    let second = PostgresStore::open(database.url()).await.unwrap_err();
    assert!(matches!(second, JournalError::InUse(_)), "{second:?}");
}

#[tokio::test]
async fn who_has_lost_the_journal_to_another_can_not_write_any_more() {
    let database = database().await;
    let first = PostgresStore::open(database.url()).await.unwrap();
    first.push("1", &EMPTY, 1).await.unwrap();
    // All its connections break, and somebody else is there first.
    database.cut().await.unwrap();
    database.restore().await.unwrap();
    let second = PostgresStore::open(database.url()).await.unwrap();

    let push = first.push("2", &EMPTY, 2).await;
    let append = first.append(&[], Some(("place", "1")), 2).await;
    for refused in [
        push.map(|_| ()),
        append.map(|_| ()),
        first.bury(1, 1, "x").await,
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, JournalError::InUse(_)), "{refused:?}");
    }
    // Also when it could have it again: what it remembers is out of date.
    drop(second);
    let third = PostgresStore::open(database.url()).await.unwrap();
    drop(third);
    let late = first.push("3", &EMPTY, 3).await.unwrap_err();
    assert!(matches!(late, JournalError::InUse(_)), "{late:?}");
    let fourth = PostgresStore::open(database.url()).await.unwrap();
    assert_eq!(fourth.transactions(0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_journal_that_was_gone_is_held_again_also_when_nothing_is_pushed() {
    let database = database().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    store.append(&[], Some(("place", "1")), 1).await.unwrap();
    database.cut().await.unwrap();
    database.restore().await.unwrap();

    store.append(&[], Some(("place", "2")), 2).await.unwrap();
    let second = PostgresStore::open(database.url()).await.unwrap_err();
    assert!(matches!(second, JournalError::InUse(_)), "{second:?}");
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_costs_nothing() {
    let database = database().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    store.push("1", &EMPTY, 1).await.unwrap();

    database.fill().await.unwrap();
    for _ in 0..2 {
        let full = store.push("2", &EMPTY, 2).await.unwrap_err();
        assert!(matches!(full, JournalError::DiskFull(_)), "{full:?}");
        let full = store
            .append(&[], Some(("place", "1")), 2)
            .await
            .unwrap_err();
        assert!(matches!(full, JournalError::DiskFull(_)), "{full:?}");
    }
    assert_eq!(store.transactions(0, 10).await.unwrap().len(), 1);

    database.make_room().await.unwrap();
    store.push("2", &EMPTY, 2).await.unwrap();
    store.append(&[], Some(("place", "1")), 2).await.unwrap();
    assert_eq!(store.cursor("place").await.unwrap().as_deref(), Some("1"));
}

/// A key that ends in these letters.
fn remembered(letters: &str) -> Key {
    format!("{letters:a>22}").parse().unwrap()
}

#[tokio::test]
async fn a_journal_moves_to_postgres_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(&folder.path().join("journal.db"))
        .await
        .unwrap();
    let pushed = file.push("\\1\0", &EMPTY, 7).await.unwrap();
    let row = |id: i64, state: State, key: &str| Row {
        entry: Arc::new(Entry {
            id,
            reader: String::new(),
            source: "fhir".into(),
            key: Some(key.to_owned()),
            lane: "Communication/7".into(),
            attempts: 2,
            received_at: 5,
            due_at: 6,
            begun: true,
            slot: None,
            payload: (*b"\0\xffp").into(),
        }),
        state,
        error: None,
        seen: Some(remembered(key)),
    };
    let rows = [row(41, State::Waiting, "one"), row(42, State::Dead, "two")];
    file.append(&rows, Some(("place", "9")), 8).await.unwrap();
    // Not in its place yet, in that file.
    let settlement = Settlement {
        now: 9,
        seen: vec![remembered("three")],
        done: vec![],
        ..Settlement::default()
    };
    file.settle(&Arc::new(settlement)).await.unwrap();

    let database = database().await;
    let store = PostgresStore::open(database.url()).await.unwrap();
    // Halfway there is no room left.
    database.fill().await.unwrap();
    let full = store.take_over(&file).await.unwrap_err();
    assert!(matches!(full, JournalError::DiskFull(_)), "{full:?}");
    database.make_room().await.unwrap();
    assert_eq!(store.cursor("place").await.unwrap(), None);

    let taken = store.take_over(&file).await.unwrap();
    assert_eq!(
        (taken.transactions, taken.entries, taken.keys, taken.cursors),
        (1, 2, 3, 1)
    );
    let transactions = store.transactions(0, 10).await.unwrap();
    assert_eq!(transactions[0].txn_id, "\\1\0");
    assert_eq!(
        (transactions[0].id, &*transactions[0].body),
        (pushed, &b"{}"[..])
    );
    let waiting = store
        .waiting("", Queue::Each, None, (0, 100), 10)
        .await
        .unwrap();
    assert_eq!(waiting.len(), 1);
    let entry = &waiting[0];
    assert_eq!((entry.id, entry.attempts, entry.due_at), (41, 2, 6));
    assert!(entry.begun);
    assert_eq!(&*entry.payload, b"\0\xffp");
    assert_eq!(store.dead_letters(0, 10).await.unwrap()[0].id, 42);
    assert_eq!(store.cursor("place").await.unwrap().as_deref(), Some("9"));
    let keys = ["one", "two", "three"].map(remembered);
    assert_eq!(store.seen(&keys).await.unwrap().len(), 3);
    assert_eq!(store.newest().await.unwrap().entry, 42);
    // What comes next is behind it all.
    assert!(store.push("2", &EMPTY, 9).await.unwrap() > pushed);

    // Once.
    let twice = store.take_over(&file).await.unwrap_err();
    assert!(matches!(twice, JournalError::NotEmpty), "{twice:?}");
    assert_eq!(store.dead_letters(0, 10).await.unwrap().len(), 1);
}
