//! A journal that an earlier version has written is gone on with, and one of a later version is refused.
//!
//! A database of each version of the schema is made by that version's own migrations, which stay as they are, and filled with
//! what a program of that version left in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{collections::BTreeMap, fs, path::Path};

use matrix_appservice::{
    Journal, JournalError, NewEntry,
    store::{PostgresStore, Queue, SqliteStore, Store},
};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, migrate::Migrator};
use testbed::{Database, Postgres};

/// The SHA-256 of each migration. What databases were made with is never changed: a change is a migration of its own, with
/// its line here and its rows below.
const MIGRATIONS: [(&str, &str); 2] = [
    (
        "postgres/0001_journal.sql",
        "9706cc68ca5b723f2244fbff28266458c2edfc2a20127f8f6a4efe1ba26fc0f6",
    ),
    (
        "sqlite/0001_journal.sql",
        "068ea866078d298f22befb5a239120392bea7a44d069c67ff1798cfab313aaaa",
    ),
];

/// What a program of the first version leaves behind that was ended in the middle of things: `{…}` is a value in hex.
const FIRST: &str = "
    INSERT INTO inbox (txn_id, received_at, body) VALUES ('7', 1000, {7b226576656e7473223a5b5d7d});
    INSERT INTO entry (id, reader, source, key, lane, state, attempts, received_at, due_at, error, payload) VALUES
        (11, '', 'fhir', 'CareTeam/8/1', 'CareTeam/8', 0, 2, 1001, 5, 'the FHIR server is away', {7b7d}),
        (12, '', 'matrix', '$dead', '!room:vvt', 2, 9, 1002, 0, 'refused', {7b2261223a317d}),
        (13, '', 'matrix.to_device', NULL, 'device', 4, 0, 1003, 0, NULL, {7b7d});
    INSERT INTO seen (key, at) VALUES ({seen 754e79644b7379617a464f4c375a496a384356594941}, 1000);
    INSERT INTO cursor (name, value, moved_at) VALUES ('fhir/CareTeam', '2026-11-21T10:00:00Z', 1000);
    UPDATE counter SET value = 41 WHERE name = 'done';";

/// What it had not put in its place yet: a key, and that an entry was done.
const FIRST_SQLITE: &str = "
    INSERT INTO settled (id, at, keys, transactions, done)
        VALUES (1, 1000, x'6f6e4634326e536b70384e686f50456939364e4b3277', x'', 1);";
const FIRST_POSTGRES: &str = "
    INSERT INTO seen (key, at) VALUES ('onF42nSkp8NhoPEi96NK2w', 1000);
    UPDATE counter SET value = 42 WHERE name = 'done';";

async fn database() -> Database {
    Postgres::shared().await.unwrap().database().await.unwrap()
}

/// The migrations of a database, in order.
fn migrations(of: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("migrations")
        .join(of);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts.collect()
}

/// The rows for SQLite, whose keys are bytes.
fn for_sqlite() -> String {
    format!("{FIRST}{FIRST_SQLITE}")
        .replace("{seen ", "{")
        .replace('{', "x'")
        .replace('}', "'")
}

/// The rows for PostgreSQL, whose keys are text.
fn for_postgres() -> String {
    let rows = format!("{FIRST}{FIRST_POSTGRES}");
    rows.replace(
        "{seen 754e79644b7379617a464f4c375a496a384356594941}",
        "'uNydKsyazFOL7ZIj8CVYIA'",
    )
    .replace('{', "'\\x")
    .replace('}', "'")
}

/// Notes how many migrations were run.
fn set_version(made: &Connection, version: usize) {
    let version = u32::try_from(version).unwrap();
    made.pragma_update(None, "user_version", version).unwrap();
}

/// All is there, and goes on from where it was.
async fn assert_taken_over<S: Store>(open: impl AsyncFn() -> S) {
    let store = open().await;
    let transactions = store.transactions(0, 10).await.unwrap();
    assert_eq!(transactions.len(), 1);
    assert_eq!(&transactions[0].body[..], b"{\"events\":[]}");
    let waiting = store
        .waiting("", Queue::Each, None, (0, i64::MAX), 10)
        .await;
    let waiting = waiting.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].id, waiting[0].attempts), (11, 2));
    assert_eq!(waiting[0].key.as_deref(), Some("CareTeam/8/1"));
    let (letter, payload) = store.dead_letter(12).await.unwrap().unwrap();
    assert_eq!(
        (&*letter.error, &payload[..]),
        ("refused", &b"{\"a\":1}"[..])
    );
    let counts = store.stats().await.unwrap();
    assert_eq!(
        (counts.waiting, counts.dead, counts.kept, counts.done),
        (1, 1, 1, 42)
    );
    drop(store);

    let journal = Journal::with_store(open().await).await.unwrap();
    let cursor = journal.cursor("fhir/CareTeam").await.unwrap();
    assert_eq!(cursor.as_deref(), Some("2026-11-21T10:00:00Z"));
    // What was seen is not new, wherever it is noted.
    let entry =
        |source: &'static str, key: &str| NewEntry::new(source, key, "lane", b"{}".to_vec());
    let entries = [
        entry("matrix", "$done"),
        entry("fhir", "CareTeam/7/1"),
        entry("fhir", "new"),
    ];
    assert_eq!(journal.append(&entries, None).await.unwrap(), 1);
    assert!(journal.retry_dead_letter(12).await.unwrap());
}

#[tokio::test]
async fn a_file_of_each_earlier_version_is_gone_on_with() {
    let migrations = migrations("sqlite");
    for version in 1..=migrations.len() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("journal.db");
        let made = Connection::open(&file).unwrap();
        for (number, migration) in migrations[..version].iter().enumerate() {
            made.execute_batch(migration).unwrap();
            if number == 0 {
                made.execute_batch(&for_sqlite()).unwrap();
            }
        }
        set_version(&made, version);
        drop(made);
        assert_taken_over(async || SqliteStore::open(&file).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_postgres_of_each_earlier_version_is_gone_on_with() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let all = Migrator::new(folder).await.unwrap();
    for version in 1..=all.iter().count() {
        let database = database().await;
        let mut owner = PgConnection::connect(database.url()).await.unwrap();
        let schema = "CREATE SCHEMA matrix_appservice; SET search_path TO matrix_appservice";
        owner.execute(schema).await.unwrap();
        for number in 1..=version {
            let earlier = all.iter().take(number).cloned().collect();
            Migrator::with_migrations(earlier)
                .run(&mut owner)
                .await
                .unwrap();
            if number == 1 {
                owner.execute(AssertSqlSafe(for_postgres())).await.unwrap();
            }
        }
        owner.close().await.unwrap();
        assert_taken_over(async || PostgresStore::open(database.url()).await.unwrap()).await;
    }
}

/// Why a journal is refused, with what caused it.
async fn refused(file: &Path) -> String {
    let before = fs::read(file).unwrap();
    let error = Journal::open(file).await.unwrap_err();
    let JournalError::Schema(cause) = &error else {
        panic!("{error:?}");
    };
    // The file is as it was, for the program that can read it.
    assert_eq!(fs::read(file).unwrap(), before);
    format!("{error}: {cause}")
}

#[tokio::test]
async fn a_file_of_another_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.db");
    drop(Journal::open(&newer).await.unwrap());
    let made = Connection::open(&newer).unwrap();
    let version = migrations("sqlite").len() + 1;
    set_version(&made, version);
    drop(made);
    let told = refused(&newer).await;
    assert!(
        told.contains("newer version") && told.contains("its version is"),
        "{told}"
    );

    // From before versions were counted.
    let older = folder.path().join("older.db");
    let made = Connection::open(&older).unwrap();
    let set: String = made
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(set, "wal");
    made.execute_batch(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY);
         CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, txn_id TEXT NOT NULL) STRICT;",
    )
    .unwrap();
    drop(made);
    let told = refused(&older).await;
    assert!(told.contains("before the first release"), "{told}");
}

#[test]
fn what_databases_were_made_with_is_never_changed() {
    let known: BTreeMap<&str, &str> = MIGRATIONS.into();
    let mut there = 0;
    for of in ["sqlite", "postgres"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("migrations")
            .join(of);
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let name = format!("{of}/{}", file.file_name().unwrap().to_str().unwrap());
            let hash = Sha256::digest(fs::read(&file).unwrap());
            let hash = format!("{hash:x}");
            assert_eq!(known.get(&*name), Some(&&*hash), "{name} is {hash}");
            there += 1;
        }
    }
    assert_eq!(there, known.len());
}
