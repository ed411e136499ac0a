//! What operators type beside a bridge at work, and between two: `export`, and `database move`.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use testbed::{Database, Postgres, Testbed, scene};
use url::Url;

use super::{APPSERVICE, assert_silent, command, start};

/// What the bridge holds of a scene is written down beside it, whole and without what people said, once for each file.
pub(super) async fn assert_exported(folder: &Path, played: &scene::Played) {
    let file = folder.join("client.jsonl");
    let words = [
        "export",
        &played.thread,
        &played.space,
        "--output",
        "client.jsonl",
    ];
    let (is_done, said) = command(folder, &words).await;
    assert!(is_done && said.is_empty(), "{said}");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (end, lines) = lines.split_last().unwrap();
    assert_eq!(end, &json!({"kind": "end", "records": lines.len()}));
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((of_kind("room"), of_kind("message")), (2, played.messages));
    assert_eq!(of_kind("event"), played.messages);
    assert!(of_kind("audit") >= played.messages, "{text}");
    for id in [&played.space, &played.room, &played.thread] {
        assert!(text.contains(id.as_str()), "{id} is not in\n{text}");
    }
    for (number, word) in played.private.iter().enumerate() {
        let is_told = text.contains(word.as_str());
        assert!(!is_told, "private word {number} is in the export");
    }

    // What is there is not written over.
    let (is_done, said) = command(folder, &words).await;
    assert!(
        !is_done && said.contains("must not be there before"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    fs::remove_file(file).unwrap();
    // An id that nobody knows is no empty answer.
    let (is_done, said) = command(folder, &["export", "CareTeam/none", &played.thread]).await;
    assert!(
        is_done && said.contains("nothing is linked to `CareTeam/none`"),
        "{said}"
    );
    assert!(!said.contains(&format!("to `{}`", played.thread)), "{said}");
    // Nor is a server.
    let words = [
        "export",
        "CareTeam/1",
        "--server",
        "none",
        "--output",
        "none.jsonl",
    ];
    let (is_done, said) = command(folder, &words).await;
    assert!(!is_done && said.contains("is `--server` right?"), "{said}");
    assert!(
        !folder.join("none.jsonl").exists(),
        "nothing is left behind"
    );
}

/// What is said on the record once more, by the same person and about the same client; returns when it is in the room.
pub(super) async fn write_again(testbed: &Testbed, fhir: &Url, played: &mut scene::Played) {
    const TEXT: &str = "Nog een vraag over de dosering.";
    let record = scene::Record::new(fhir).unwrap();
    let query = [("part-of", played.thread.as_str()), ("_count", "100")];
    let messages = record.search("Communication", &query).await.unwrap();
    let is_first = |one: &&Value| {
        let text = one["payload"][0]["contentString"].as_str();
        text.is_some_and(|text| text.contains("bloeddruk"))
    };
    let first = messages.iter().find(is_first).unwrap();
    let again = json!({
        "resourceType": "Communication", "status": "completed",
        "partOf": first["partOf"], "subject": first["subject"], "sender": first["sender"],
        "payload": [{"contentString": TEXT}],
    });
    record.create(&again).await.unwrap();
    played.messages += 1;
    played.private.push(TEXT.to_owned());
    let arriving = async {
        let once = Duration::ZERO;
        while let Err(error) = scene::stays_the_same(testbed, fhir, played, once).await {
            println!("not yet: {error:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let arrived = tokio::time::timeout(Duration::from_mins(1), arriving).await;
    arrived.unwrap();
}

/// What `database move` says to this configuration of where the databases are.
async fn refused(folder: &Path, config: &Value, database: &Value) -> String {
    let mut config = config.clone();
    if !database.is_null() {
        config["database"] = database.clone();
    }
    fs::write(folder.join("bridge.yaml"), config.to_string()).unwrap();
    let (is_done, said) = command(folder, &["database", "move"]).await;
    assert!(!is_done, "{said}");
    assert!(!said.contains("canary"), "the password is told");
    said
}

async fn assert_refused(folder: &Path, database: &Database) {
    let config = fs::read_to_string(folder.join("bridge.yaml")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let in_file = json!({"url_file": "database.url"});
    let said = refused(folder, &config, &Value::Null).await;
    assert!(said.contains("`database` isn't set"), "{said}");
    let said = refused(folder, &config, &in_file).await;
    assert!(
        said.contains("`database.url_file`") && said.contains("can't be read"),
        "{said}"
    );
    let nobody = "postgres://me:canary@127.0.0.1:9/d";
    for (address, words) in [
        ("mysql://me:canary@127.0.0.1/d", "doesn't hold an address"),
        (nobody, "can't be opened at postgres://127.0.0.1:9/d"),
    ] {
        fs::write(folder.join("database.url"), address).unwrap();
        let said = refused(folder, &config, &in_file).await;
        assert!(said.contains(words), "{said}");
    }
    // All is where it was.
    for file in ["journal.db", "links.db"] {
        assert!(folder.join("data").join(file).is_file(), "{file}");
    }
    // And what is right is left in the configuration.
    fs::write(folder.join("database.url"), database.url()).unwrap();
    let mut config = config;
    config["database"] = in_file;
    fs::write(folder.join("bridge.yaml"), config.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_moves_to_postgres_goes_on_where_it_was() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice(APPSERVICE).await.unwrap();
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bridge = start(testbed, &appservice, folder, json!({})).await;
    let fhir = testbed.fhir_url().unwrap();
    let tell = |line: &str| println!("{line}");
    let prefix = &appservice.user_prefix;
    let mut played = scene::play(testbed, &fhir, prefix, scene::Names::Unique, &tell)
        .await
        .unwrap();

    // Beside a bridge at work, nothing is moved.
    let config = fs::read_to_string(folder.join("bridge.yaml")).unwrap();
    fs::write(folder.join("database.url"), database.url()).unwrap();
    let at_work = serde_json::from_str(&config).unwrap();
    let said = refused(folder, &at_work, &json!({"url_file": "database.url"})).await;
    assert!(said.contains("stop the bridge first"), "{said}");
    fs::write(folder.join("bridge.yaml"), config).unwrap();
    fs::remove_file(folder.join("database.url")).unwrap();
    bridge.stop().await;

    assert_refused(folder, &database).await;
    // Nor does the bridge leave anything behind.
    let (is_done, said) = command(folder, &["run"]).await;
    assert!(
        !is_done && said.contains("fhir-bridge database move"),
        "{said}"
    );

    let (is_done, said) = command(folder, &["database", "move", "--json"]).await;
    assert!(is_done, "{said}");
    // Behind it, what the log has to say.
    let moved = said.lines().next().unwrap();
    let moved: Value = serde_json::from_str(moved).unwrap();
    // What other tests did in the minute before is there as well.
    let least = u64::try_from(played.messages).unwrap();
    assert!(moved["rooms"].as_u64() >= Some(2) && moved["messages"].as_u64() >= Some(least));
    assert!(moved["keys"].as_u64() > Some(0) && moved["cursors"].as_u64() > Some(0));
    let (is_done, said) = command(folder, &["database", "move"]).await;
    assert!(
        !is_done && said.contains("there is nothing to move"),
        "{said}"
    );
    // Somebody puts the files back, and tries again.
    for file in ["journal.db", "links.db"] {
        let file = folder.join("data").join(file);
        fs::copy(file.with_extension("db.moved"), &file).unwrap();
    }
    let (is_done, said) = command(folder, &["database", "move"]).await;
    assert!(
        !is_done && said.contains("holds the links of") && said.contains("already"),
        "{said}"
    );
    for file in ["journal.db", "links.db"] {
        fs::remove_file(folder.join("data").join(file)).unwrap();
    }

    bridge.restart().await.unwrap();
    write_again(testbed, &fhir, &mut played).await;
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8))
        .await
        .unwrap();
    assert_silent(&bridge, &appservice, &played.private);
    bridge.stop().await;
}
