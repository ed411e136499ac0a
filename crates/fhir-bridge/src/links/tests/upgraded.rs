//! Tables that an earlier version has made and filled are gone on with; that version refuses them then.
//!
//! They are made by its own migrations, which stay as they are, with rows as its program wrote them.

use std::collections::BTreeMap;

use matrix_appservice::ruma::user_id;
use sha2::{Digest as _, Sha256};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection,
    migrate::{Migrate, Migrator},
    sqlite::SqliteConnectOptions,
};

use super::{
    super::{Links, LinksError, State, columns::TABLES},
    database, event, reference, room, schema, thread,
};
use crate::mapping::phase::Phase;

/// The SHA-256 of each migration. What tables were made with is never changed: a change is a migration of its own, with its
/// line here and its rows below.
const MIGRATIONS: [(&str, &str); 7] = [
    (
        "sqlite/0001_links.sql",
        "da34da1ad1b643cd29d79c236a389f26000df2500731164bc428df34824a3f5b",
    ),
    (
        "sqlite/0002_messages.sql",
        "e0cc1575534d9afaedcf1d61f66144adfeb2ce5e3dbc2ec9ccf28953f53bd1c0",
    ),
    (
        "sqlite/0003_network.sql",
        "e55a9e8fd7de9f0a93f5cf23c3fa68be1dd9d868aef51f7e902e34561a562964",
    ),
    (
        "sqlite/0004_arrivals.sql",
        "98b1b399ebdfb429791ebf262a07f99ee3c045f32148544c729f2753ed824857",
    ),
    (
        "sqlite/0005_unlinked.sql",
        "1ddd38e8d0b45679022c9a888e47ea0b789510f23a1a42c1869e8090bb8f5e52",
    ),
    (
        "sqlite/0006_look_back.sql",
        "044fc92bd626558754527e2ac296af709b70a37e3908e6cb65e82c926e5ad959",
    ),
    (
        "postgres/0001_links.sql",
        "739d42aee38d69ed588fc7b2a146f0b9e1afd802255ce8a6eb98c643d05eaec5",
    ),
];

/// What the program of each version wrote into the tables that were new with it.
const ROWS: [&str; 6] = [
    "INSERT INTO room VALUES ('CareTeam/1', '!space:x'), ('CommunicationRequest/1', '!a:x');
     INSERT INTO event (event_id, resource, part) VALUES ('$one', 'Communication/1', 0), ('$two', 'Communication/1', 1);
     INSERT INTO account VALUES ('@arts:x', 'Practitioner/1');
     INSERT INTO secret VALUES ('pseudonym key', 'kept');",
    "INSERT INTO message (resource, room_id, sender, from_matrix, state, fingerprint, pending, changed_at,
                          changed_in_record, correction, linked_at)
     VALUES ('Communication/2', '!a:x', '@arts:x', TRUE, 'live', 'print', 'next', 7, FALSE, '$notice', 8),
            ('Communication/3', '!a:x', '@ghost:x', FALSE, 'sending', 'other', NULL, 9, TRUE, NULL, 9);
     INSERT INTO event (event_id, resource, part, fingerprint) VALUES ('$three', 'Communication/2', 0, 'print');
     INSERT INTO edit (event_id, resource, edits) VALUES ('$edit', 'Communication/2', '$three');
     INSERT INTO file VALUES ('Binary/1', 'Communication/2');
     INSERT INTO task VALUES ('Task/1', 'Communication/2', 'Practitioner/1', TRUE),
                             ('Task/2', 'Communication/3', 'Practitioner/1', FALSE);
     INSERT INTO reading VALUES ('!a:x', 'Practitioner/1', 1);",
    "INSERT INTO placed VALUES ('CommunicationRequest/1', '@arts:x', 'Practitioner/1', TRUE);
     INSERT INTO former VALUES ('CareTeam/1', 'Practitioner/9');
     INSERT INTO depends VALUES ('CommunicationRequest/1', 'CareTeam/1');
     INSERT INTO due VALUES ('CommunicationRequest/1', 77);
     INSERT INTO phase VALUES ('CommunicationRequest/1', 'held');
     INSERT INTO identity VALUES ('Practitioner/1', '@arts:x', 'proof');
     INSERT INTO retired VALUES ('Practitioner/2', 3);
     INSERT INTO guest_room VALUES ('!guest:x', 'pseudonym', 'Patient/1');
     INSERT INTO hung VALUES ('!hung:x', 'CareTeam/1', '@arts:x');
     INSERT INTO first_message VALUES ('CommunicationRequest/1', '$first');",
    "INSERT INTO arrival VALUES ('!a:x', 5, 6);",
    "INSERT INTO unlinked VALUES ('CommunicationRequest/8', '!gone:x', 4);
     INSERT INTO leaving VALUES ('!gone:x', 'CommunicationRequest/8', TRUE, 4);",
    "INSERT INTO look_back VALUES ('!a:x', 9, 2);",
];

/// The migrations up to a version, as the program of that version has them.
fn up_to(all: &Migrator, version: usize) -> Migrator {
    Migrator::with_migrations(all.iter().take(version).cloned().collect())
}

/// Each row of the tables that there are, with each of its columns as text.
async fn rows(file: &mut SqliteConnection) -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
    let mut all = BTreeMap::new();
    for (table, columns) in TABLES {
        let there =
            "SELECT name FROM pragma_table_info($1) UNION ALL SELECT 'rowid' WHERE $1 = 'edit'";
        let there: Vec<String> = sqlx::query_scalar(there)
            .bind(*table)
            .fetch_all(&mut *file)
            .await
            .unwrap();
        let columns = columns.iter().map(|(name, _)| *name);
        let columns: Vec<&str> = columns
            .filter(|name| there.iter().any(|one| one == name))
            .collect();
        if columns.is_empty() || there == ["rowid"] {
            continue;
        }
        let quoted: Vec<String> = columns
            .iter()
            .map(|name| format!("quote({name})"))
            .collect();
        let sql = format!("SELECT {} FROM {table} ORDER BY 1, 2", quoted.join(", "));
        let found = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(&mut *file)
            .await
            .unwrap();
        let rows = found.iter().map(|row| {
            let named = columns.iter().enumerate();
            named
                .map(|(at, name)| ((*name).to_owned(), row.get(at)))
                .collect()
        });
        all.insert((*table).to_owned(), rows.collect());
    }
    all
}

/// What a program of this version has noted means the same now.
async fn assert_known(links: &Links, version: usize) {
    let team = reference("CareTeam/1");
    assert_eq!(links.room(&team).await.unwrap(), Some(room("space")));
    assert_eq!(links.room(&thread(1)).await.unwrap(), Some(room("a")));
    let first = reference("Communication/1");
    assert_eq!(
        links.resource_of_event(&event("two")).await.unwrap(),
        Some(first)
    );
    let arts = user_id!("@arts:x");
    let practitioner = reference("Practitioner/1");
    assert_eq!(links.person(arts).await.unwrap(), Some(practitioner));
    assert_eq!(links.secret("pseudonym key", "new").await.unwrap(), "kept");
    if version >= 2 {
        let second = reference("Communication/2");
        let known = links.message(&second).await.unwrap().unwrap();
        assert!(known.from_matrix && !known.changed_in_record);
        assert_eq!(
            (known.state, known.fingerprint.as_str()),
            (State::Live, "print")
        );
        assert_eq!(known.pending.as_deref(), Some("next"));
        assert_eq!(known.correction, Some(event("notice")));
        let third = links.message(&reference("Communication/3")).await.unwrap();
        assert_eq!(third.unwrap().state, State::Sending);
        assert_eq!(
            links.edits_of(&event("three")).await.unwrap(),
            [event("edit")]
        );
        assert!(links.is_completed(&reference("Task/1")).await.unwrap());
        assert!(!links.is_completed(&reference("Task/2")).await.unwrap());
    }
    if version >= 3 {
        assert_eq!(links.placed(&thread(1)).await.unwrap().len(), 1);
        assert_eq!(links.phase(&thread(1)).await.unwrap(), Some(Phase::Held));
        assert_eq!(links.first_due().await.unwrap(), Some((thread(1), 77)));
        assert!(links.was_begun(&thread(1)).await.unwrap());
        assert_eq!(
            links.retired().await.unwrap(),
            [(reference("Practitioner/2"), 3)]
        );
    }
    if version >= 4 {
        assert_eq!(links.arrivals().await.unwrap().len(), 1);
    }
    if version >= 5 {
        assert!(links.is_unlinked(&thread(8)).await.unwrap());
        assert!(links.leaving().await.unwrap()[0].keep);
    }
    if version >= 6 {
        assert_eq!(links.look_backs().await.unwrap().len(), 1);
    }
    // And it is worked with.
    links.link_room(&thread(2), &room("b")).await.unwrap();
    links
        .unlink_room(&thread(2), &room("b"), true)
        .await
        .unwrap();
    assert!(links.is_unlinked(&thread(2)).await.unwrap());
}

/// What the program of an earlier version says to tables that are newer.
async fn assert_refused(earlier: &Migrator, tables: &mut impl Migrate, version: usize) {
    let error = earlier.run_direct(None, tables, false).await.unwrap_err();
    let error = LinksError::from(error);
    let LinksError::Schema(_) = error else {
        panic!("{version}: {error:?}");
    };
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn a_file_of_each_earlier_version_is_gone_on_with_and_refused_by_that_version() {
    let all = sqlx::migrate!("migrations/sqlite");
    assert_eq!(all.iter().count(), ROWS.len(), "each version has rows here");
    for version in 1..=ROWS.len() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("links.db");
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true);
        let open = async || SqliteConnection::connect_with(&options).await.unwrap();
        let mut made = open().await;
        for number in 1..=version {
            up_to(&all, number).run(&mut made).await.unwrap();
            made.execute(ROWS[number - 1]).await.unwrap();
        }
        let before = rows(&mut made).await;
        made.close().await.unwrap();

        drop(Links::open(&file).await.unwrap());
        let mut made = open().await;
        let after = rows(&mut made).await;
        assert_eq!(after.len(), TABLES.len());
        for (table, rows) in &before {
            assert_eq!(rows.len(), after[table].len(), "{version}: {table}");
            for (was, is) in rows.iter().zip(&after[table]) {
                assert!(
                    was.iter().all(|column| is.get(column.0) == Some(column.1)),
                    "{version}: {was:?} {is:?}"
                );
            }
        }
        for earlier in version..ROWS.len() {
            assert_refused(&up_to(&all, earlier), &mut made, earlier).await;
        }
        made.close().await.unwrap();
        assert_known(&Links::open(&file).await.unwrap(), version).await;
    }
}

#[tokio::test]
async fn a_postgres_of_each_earlier_version_is_gone_on_with() {
    let all = sqlx::migrate!("migrations/postgres");
    assert_eq!(
        all.iter().count(),
        1,
        "a version that came later has rows of its own here"
    );
    let database = database().await;
    let mut owner = PgConnection::connect(database.url()).await.unwrap();
    let made = "CREATE SCHEMA fhir_bridge; SET search_path TO fhir_bridge";
    owner.execute(made).await.unwrap();
    up_to(&all, 1).run(&mut owner).await.unwrap();
    owner.execute(AssertSqlSafe(ROWS.concat())).await.unwrap();
    owner.close().await.unwrap();
    let links = Links::connect(&schema(&database)).await.unwrap();
    assert_known(&links, ROWS.len()).await;
}

#[test]
fn what_tables_were_made_with_is_never_changed() {
    let known: BTreeMap<&str, &str> = MIGRATIONS.into();
    let mut there = 0;
    for of in ["sqlite", "postgres"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("migrations")
            .join(of);
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let name = format!("{of}/{}", file.file_name().unwrap().to_str().unwrap());
            let hash = Sha256::digest(std::fs::read(&file).unwrap());
            let hash = format!("{hash:x}");
            assert_eq!(known.get(&*name), Some(&&*hash), "{name} is {hash}");
            there += 1;
        }
    }
    assert_eq!(there, known.len());
}
