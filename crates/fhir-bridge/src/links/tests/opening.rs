//! Opening, looking, and a database that goes away.

use fhir::ResourceRef;
use matrix_appservice::ruma::user_id;
use sqlx::Connection as _;

use super::{
    super::{
        Links, NewMessage, State,
        columns::{Holds, TABLES},
    },
    database, event, reference, room, schema, thread,
};

async fn add_message(links: &Links, resource: &ResourceRef) {
    let new = NewMessage {
        resource,
        room: &room("a"),
        sender: user_id!("@arts:huisarts"),
        from_matrix: true,
        state: State::Live,
        fingerprint: "f",
        changed_at: 1,
    };
    links.add_message(&new).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_reads_the_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("links.db");
    let links = Links::open(&file).await.unwrap();
    links.secret("name", "value").await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn who_looks_makes_and_changes_nothing() {
    let database = database().await;
    let schema = schema(&database);
    assert!(Links::look_at(&schema).await.unwrap().is_none());
    assert!(Links::look_at(&schema).await.unwrap().is_none(), "still");
    let links = Links::connect(&schema).await.unwrap();
    links.link_room(&thread(1), &room("a")).await.unwrap();
    let look = Links::look_at(&schema).await.unwrap().unwrap();
    assert_eq!(look.room(&thread(1)).await.unwrap(), Some(room("a")));
    assert!(look.link_room(&thread(2), &room("b")).await.is_err());
    // And a second start finds what is there.
    let again = Links::connect(&schema).await.unwrap();
    assert_eq!(again.counts().await.unwrap(), (1, 0));
}

#[tokio::test]
async fn tables_that_a_newer_version_has_made_are_refused() {
    let database = database().await;
    let schema = schema(&database);
    drop(Links::connect(&schema).await.unwrap());
    let mut owner = sqlx::PgConnection::connect(database.url()).await.unwrap();
    sqlx::query(
        "INSERT INTO fhir_bridge._sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (999, 'later', true, '', 0)",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let error = Links::connect(&schema).await.unwrap_err().to_string();
    assert!(error.contains("newer version"), "{error}");
}

#[tokio::test]
async fn a_database_that_was_away_is_used_again() {
    let database = database().await;
    let links = Links::connect(&schema(&database)).await.unwrap();
    links.link_room(&thread(1), &room("a")).await.unwrap();
    database.cut().await.unwrap();
    assert!(links.room(&thread(1)).await.is_err());
    assert!(links.link_room(&thread(2), &room("b")).await.is_err());
    database.restore().await.unwrap();
    assert_eq!(links.room(&thread(1)).await.unwrap(), Some(room("a")));
    links.link_room(&thread(2), &room("b")).await.unwrap();
    assert_eq!(links.room(&thread(2)).await.unwrap(), Some(room("b")));
}

#[tokio::test]
async fn all_tables_and_columns_are_taken_over() {
    let database = database().await;
    drop(Links::connect(&schema(&database)).await.unwrap());
    let mut owner = sqlx::PgConnection::connect(database.url()).await.unwrap();
    let there: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = 'fhir_bridge' AND table_name <> '_sqlx_migrations' ORDER BY 1, 2",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let kind = |holds: Holds| match holds {
        Holds::Text => "text",
        Holds::Number => "bigint",
        Holds::Truth => "boolean",
    };
    let mut taken: Vec<_> = TABLES
        .iter()
        .flat_map(|(table, columns)| {
            columns.iter().map(move |(column, holds)| {
                let text = |text: &str| text.to_owned();
                (text(table), text(column), text(kind(*holds)))
            })
        })
        .collect();
    taken.sort();
    assert_eq!(there, taken);
}

#[tokio::test]
async fn links_move_from_a_file_to_postgres() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("links.db");
    let from = Links::open(&file).await.unwrap();
    from.secret("key", "value").await.unwrap();
    from.link_room(&thread(1), &room("a")).await.unwrap();
    let message = reference("Communication/1");
    from.link_part(&message, 0, &event("a"), "f").await.unwrap();
    add_message(&from, &message).await;
    let last = from.place_of(&room("a"), &event("a")).await.unwrap();
    for name in ["z", "y"] {
        from.add_edit(&message, &event(name), &event("a"))
            .await
            .unwrap();
    }
    from.unlink_room(&thread(1), &room("a"), true)
        .await
        .unwrap();
    let task = reference("Task/1");
    from.add_task(&task, &message, &message, true)
        .await
        .unwrap();
    drop(from);

    let database = database().await;
    let to = Links::connect(&schema(&database)).await.unwrap();
    to.take_over(&file).await.unwrap();
    assert_eq!(to.secret("key", "other").await.unwrap(), "value");
    assert!(to.is_unlinked(&thread(1)).await.unwrap());
    assert!(to.leaving().await.unwrap()[0].keep);
    assert!(to.is_completed(&task).await.unwrap());
    // The next one comes behind those that were there.
    to.add_edit(&message, &event("x"), &event("a"))
        .await
        .unwrap();
    let edits = to.edits_of(&event("a")).await.unwrap();
    assert_eq!(edits, ["z", "y", "x"].map(event));
    let next = reference("Communication/2");
    add_message(&to, &next).await;
    to.link_part(&next, 0, &event("b"), "f").await.unwrap();
    let next = to.place_of(&room("a"), &event("b")).await.unwrap();
    assert!(next > last && last.is_some(), "{next:?} behind {last:?}");
    // Nothing twice.
    assert!(to.take_over(&file).await.is_err());
}
