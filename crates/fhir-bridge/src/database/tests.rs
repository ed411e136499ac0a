//! Where the databases are, and that none is left behind.

use serde_json::json;
use testbed::{Database, Postgres};

use super::*;
use crate::servers::testing::Made;
use fhir::ResourceRef;
use matrix_appservice::ruma::room_id;

async fn postgres() -> Database {
    Postgres::shared().await.unwrap().database().await.unwrap()
}

/// The configuration of a folder, with these words in the file of the address.
fn config(folder: &Path, url: Option<&str>) -> Config {
    let mut config = json!({
        "registration": "registration.yaml", "data": "",
        "homeserver": {"name": "vvt", "url": "http://127.0.0.1:9"},
        "fhir": {"url": "http://127.0.0.1:9/fhir"},
    });
    if let Some(url) = url {
        std::fs::write(folder.join("url"), format!("{url}\n")).unwrap();
        config["database"] = json!({"url_file": "url"});
    }
    let file = folder.join("bridge.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    Config::load(&file).unwrap()
}

async fn refused(config: &Config) -> String {
    let place = Place::of(config).unwrap();
    place.check(config).await.unwrap_err().to_string()
}

async fn is_let_in(config: &Config) {
    Place::of(config).unwrap().check(config).await.unwrap();
}

#[test]
fn an_address_that_is_none_is_told_without_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    for (url, what) in [
        ("mysql://me:canary@h/d", "doesn't hold an address"),
        ("postgres://me:canary@:x:y/", "doesn't hold an address"),
        (
            "postgres://me:canary@h/d?options=-csearch_path=x",
            "search_path",
        ),
    ] {
        let error = format!(
            "{:?}",
            Place::of(&config(folder.path(), Some(url))).unwrap_err()
        );
        assert!(
            error.contains(what) && error.contains("database.url_file"),
            "{error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }
    let place = Place::of(&config(
        folder.path(),
        Some("postgres://me:canary@db.example/d"),
    ));
    let place = place.unwrap();
    assert_eq!(place.to_string(), "postgres://db.example:5432/d");
    assert!(!format!("{place:?}").contains("canary"));
    let Place::Postgres(address) = place else {
        panic!("it is PostgreSQL");
    };
    assert!(address.is_open(), "TLS is not required");
}

#[tokio::test]
async fn nothing_is_left_behind_when_the_databases_move() {
    // A bridge that has worked with files.
    let made = Made::with(json!({"fhir": {"url": "http://127.0.0.1:9/fhir"}})).await;
    let thread = ResourceRef::parse("CommunicationRequest/7").unwrap();
    let bridge = made.servers.iter().next().unwrap();
    bridge
        .links
        .link_room(&thread, room_id!("!a:vvt"))
        .await
        .unwrap();
    let folder = made.folder;
    let journal = Journal::open(journal_file(folder.path())).await.unwrap();
    journal.append(&[], Some(("place", "9"))).await.unwrap();

    let (first, second) = (postgres().await, postgres().await);
    let on_first = config(folder.path(), Some(first.url()));
    let told = refused(&on_first).await;
    assert!(
        told.contains("1 rooms and 0 messages") && told.contains("database move"),
        "{told}"
    );
    // Somebody works with it.
    let error = moving::take_over(&on_first).await.unwrap_err();
    assert!(error.to_string().contains("stop the bridge"), "{error:#}");
    drop((journal, made.servers));

    // Interrupted between the two, the bridge is not let in either.
    let place = Place::of(&on_first).unwrap();
    let server = on_first.servers().next().unwrap();
    let links = place.links(server).await.unwrap();
    links
        .take_over(&folder.path().join("links.db"))
        .await
        .unwrap();
    let told = refused(&on_first).await;
    assert!(told.contains("journal.db"), "{told}");
    let error = moving::take_over(&on_first).await.unwrap_err();
    assert!(error.to_string().contains("already"), "{error:#}");
    // As that says.
    std::fs::rename(folder.path().join("links.db"), folder.path().join("aside")).unwrap();
    let moved = moving::take_over(&on_first).await.unwrap();
    assert_eq!(moved.journal.unwrap().cursors, 1);
    assert!(!journal_file(folder.path()).exists());
    assert!(folder.path().join("journal.db.moved").is_file());

    is_let_in(&on_first).await;
    let journal = place.journal().await.unwrap();
    assert_eq!(journal.cursor("place").await.unwrap().as_deref(), Some("9"));
    let links = place.look(server).await.unwrap().unwrap();
    assert_eq!(
        links.room(&thread).await.unwrap().unwrap(),
        room_id!("!a:vvt")
    );

    // Another database that is empty, or files that are: neither is where the bridge was.
    let on_second = config(folder.path(), Some(second.url()));
    let told = refused(&on_second).await;
    assert!(told.contains(&place.to_string()), "{told}");
    let told = refused(&config(folder.path(), None)).await;
    assert!(told.contains("`database` isn't set"), "{told}");
    std::fs::remove_file(folder.path().join(MARK)).unwrap();
    is_let_in(&config(folder.path(), None)).await;
}

#[tokio::test]
async fn a_folder_and_a_database_that_are_both_new_are_begun_with() {
    let database = postgres().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("url"), database.url()).unwrap();
    is_let_in(&config(folder.path(), Some(database.url()))).await;
    let keys = json!({
        "fhir_servers": [{"url": "http://one.example/fhir"}, {"name": "a-b", "url": "http://b.example/fhir"}],
        "database": {"url_file": "url"},
    });
    let made = Made::in_folder(folder, keys).await;
    let place = Place::of(&made.config).unwrap();
    place.mark(&made.config.data).unwrap();
    place.check(&made.config).await.unwrap();
    for name in ["links.db", "links-a-b.db", "journal.db"] {
        assert!(!made.folder.path().join(name).exists(), "{name}");
    }
    // Each server has tables of its own.
    let thread = ResourceRef::parse("CommunicationRequest/7").unwrap();
    let all: Vec<_> = made.servers.iter().collect();
    all[0]
        .links
        .link_room(&thread, room_id!("!a:vvt"))
        .await
        .unwrap();
    assert_eq!(all[1].links.room(&thread).await.unwrap(), None);
    // One that comes later begins with none.
    let mut more = made.config.clone();
    let mut third = more.fhir_servers[1].clone();
    third.name = Some("later".to_owned());
    more.fhir_servers.push(third);
    place.check(&more).await.unwrap();
}
