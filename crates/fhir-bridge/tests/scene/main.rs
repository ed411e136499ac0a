//! The scene on real homeservers and a real FHIR server: as it should go, and with the bridge killed all the way.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; what it prints helps when it does"
)]

mod moved;
mod upgraded;

use std::{net::TcpListener, path::Path, time::Duration};

use serde_json::{Value, json};
use testbed::{Bridge, BridgeSetup, Postgres, Testbed, scene};

/// The same for all: two bridges at once on one FHIR server would both carry what is there.
const APPSERVICE: &str = "bridge1";
const PROGRAM: &str = env!("CARGO_BIN_EXE_fhir-bridge");

async fn bridge(testbed: &Testbed, appservice: &testbed::Appservice, folder: &Path) -> Bridge {
    start(testbed, appservice, folder, json!({})).await
}

async fn start(
    testbed: &Testbed,
    appservice: &testbed::Appservice,
    folder: &Path,
    config: Value,
) -> Bridge {
    let fhir = testbed.start_fhir().await.unwrap();
    let setup = BridgeSetup::of(appservice, Path::new(PROGRAM), folder, fhir).with(config);
    Bridge::start(testbed, setup).await.unwrap()
}

/// What operators are told of a scene: what was carried, in each number that is documented, and nothing private.
async fn assert_told(address: &str, played: &scene::Played) {
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}{path}")).await;
        answer.unwrap().text().await.unwrap()
    };
    let numbers = get("/metrics").await;
    let told = [
        &numbers,
        &get("/").await,
        &get("/api/v1/status").await,
        &get("/api/v1/links?limit=500").await,
        &get("/api/v1/dead-letters").await,
    ];
    for (number, word) in played.private.iter().enumerate() {
        let is_told = told.iter().any(|told| told.contains(word.as_str()));
        assert!(!is_told, "private word {number} is told to operators");
    }
    for id in [&played.space, &played.room, &played.thread] {
        assert!(!numbers.contains(id.as_str()), "{id} is in the metrics");
    }
    // What other tests wrote in the minute before counts as well.
    for (direction, least) in [("to_matrix", 2), ("to_fhir", 2)] {
        let name =
            format!("fhir_bridge_messages_total{{direction=\"{direction}\",outcome=\"new\"}} ");
        let count = numbers
            .lines()
            .find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok());
        assert!(count >= Some(least), "{direction}: {count:?}\n{numbers}");
    }
    assert!(
        numbers
            .lines()
            .any(|line| line == "fhir_bridge_dead_letters 0")
    );
    let metrics = include_str!("../../../../docs/src/metrics.md");
    let (metrics, _) = metrics.split_once("## Labels").unwrap();
    let names = metrics.lines().filter_map(|row| row.strip_prefix("| `"));
    for name in names.filter_map(|row| row.split('`').next()) {
        // There is no list here.
        let may_miss = name.contains("federation_list");
        assert!(may_miss || numbers.contains(name), "{name}\n{numbers}");
    }
}

/// Nothing private stands in what the bridge has said, at the level `trace`, nor in its folder's files
/// once everything is done.
fn assert_silent(bridge: &Bridge, appservice: &testbed::Appservice, private: &[String]) {
    let log = bridge.log_text().unwrap();
    assert!(
        log.contains("message stored in the record"),
        "the log has something to say"
    );
    let registration =
        matrix_appservice::Registration::load(&appservice.registration_path).unwrap();
    let tokens = [
        registration.as_token.expose().to_owned(),
        registration.hs_token.expose().to_owned(),
    ];
    for (number, word) in private.iter().chain(&tokens).enumerate() {
        assert!(
            !log.contains(word.as_str()),
            "private word {number} is in the log"
        );
    }
}

/// What is said in the log about a message bears the id under which it is written down.
fn assert_traced(bridge: &Bridge, folder: &Path) {
    let log = bridge.log_text().unwrap();
    let stored: serde_json::Value = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find(|line: &serde_json::Value| line["message"] == "message stored in the record")
        .unwrap();
    let id = stored["span"]["id"].as_str().unwrap();
    assert!(id.starts_with("matrix-"), "{stored}");
    assert!(
        stored["span"]["key"].as_str().unwrap().starts_with('$'),
        "{stored}"
    );
    let audit = std::fs::read_to_string(folder.join("data/audit.log")).unwrap();
    assert!(
        audit.contains(&format!("\"value\":\"{id}\"")),
        "{id} is not in the audit"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_goes_from_fhir_to_three_homeservers_and_back() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice(APPSERVICE).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // Free again at the end of the line.
    let operators = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let operators = operators.unwrap().to_string();
    let config = json!({"ops": {"listen": operators}});
    let bridge = start(testbed, &appservice, folder.path(), config).await;
    let fhir = testbed.fhir_url().unwrap();

    let played = scene::play(
        testbed,
        &fhir,
        &appservice.user_prefix,
        scene::Names::Unique,
        &|line| println!("{line}"),
    )
    .await
    .unwrap();
    assert_silent(&bridge, &appservice, &played.private);
    assert_traced(&bridge, folder.path());
    assert_told(&operators, &played).await;
    moved::assert_exported(folder.path(), &played).await;

    // Whoever restarts it finds that nothing happens again.
    bridge.stop().await;
    bridge.restart().await.unwrap();
    let after = scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8)).await;
    after.unwrap();
    // The pharmacist came right behind the GP, whose homeserver may not have heard of it.
    assert!(
        bridge
            .log_text()
            .unwrap()
            .contains("what was sent while somebody came is told to their homeserver")
    );
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice(APPSERVICE).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bridge = bridge(testbed, &appservice, folder.path()).await;
    let fhir = testbed.fhir_url().unwrap();

    let tell = |line: &str| println!("{line}");
    let playing = scene::play(
        testbed,
        &fhir,
        &appservice.user_prefix,
        scene::Names::Unique,
        &tell,
    );
    let killing = async {
        // At other points each time: a bridge that lives 100 ms has just begun to read, one that lives a
        // second is in the middle of making rooms or sending.
        let seed = u64::from(std::process::id());
        println!("the lives of the bridge come from the seed {seed}");
        let mut random = seed;
        loop {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let life = 100 + (random >> 33) % 1_200;
            tokio::time::sleep(Duration::from_millis(life)).await;
            bridge.kill().await;
            bridge.restart().await.unwrap();
        }
    };
    let played = tokio::select! {
        played = playing => played.unwrap(),
        () = killing => unreachable!(),
    };
    let starts = bridge
        .log_text()
        .unwrap()
        .matches("the bridge takes transactions")
        .count();
    println!("the bridge was started {starts} times");
    assert!(starts > 3, "it was killed in the middle of the scene");
    bridge.restart_if_dead().await.unwrap();
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8))
        .await
        .unwrap();
    assert_silent(&bridge, &appservice, &played.private);
    bridge.stop().await;
}

/// What a command of the bridge says, and whether it is content.
async fn command(folder: &Path, words: &[&str]) -> (bool, String) {
    let run = tokio::process::Command::new(PROGRAM)
        .args(words)
        .args(["--config", "bridge.yaml"])
        .current_dir(folder)
        .output();
    let ran = run.await.unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_on_postgres_that_dies_and_loses_its_database_loses_and_doubles_nothing() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice(APPSERVICE).await.unwrap();
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("database.url"), database.url()).unwrap();
    let operators = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let operators = operators.unwrap().to_string();
    let config = json!({
        "database": {"url_file": "database.url"}, "ops": {"listen": operators},
    });
    let bridge = start(testbed, &appservice, folder.path(), config).await;
    let fhir = testbed.fhir_url().unwrap();

    let tell = |line: &str| println!("{line}");
    let prefix = &appservice.user_prefix;
    let playing = scene::play(testbed, &fhir, prefix, scene::Names::Unique, &tell);
    let (mut outages, mut deaths) = (0, 0);
    let troubling = async {
        loop {
            tokio::time::sleep(Duration::from_millis(1_700)).await;
            database.cut().await.unwrap();
            println!("         the database is away");
            tokio::time::sleep(Duration::from_secs(3)).await;
            database.restore().await.unwrap();
            outages += 1;
            tokio::time::sleep(Duration::from_millis(2_300)).await;
            bridge.kill().await;
            bridge.restart().await.unwrap();
            deaths += 1;
        }
    };
    let played = tokio::select! {
        played = playing => played.unwrap(),
        () = troubling => unreachable!(),
    };
    println!("the database was away {outages} times, the bridge died {deaths} times");
    assert!(outages > 0 && deaths > 0);
    database.restore().await.unwrap();
    bridge.restart_if_dead().await.unwrap();
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8))
        .await
        .unwrap();
    assert_silent(&bridge, &appservice, &played.private);
    let log = bridge.log_text().unwrap();
    assert!(!log.contains("dead letter"), "an outage makes none");
    let password = database.url().split([':', '@']).nth(2).unwrap();
    assert!(!log.contains(password), "the password is in the log");

    // What is there for operators works with it, beside the bridge.
    let (_, said) = command(folder.path(), &["links", "--json"]).await;
    for id in [&played.space, &played.room, &played.thread] {
        assert!(said.contains(id.as_str()), "{id} is not in\n{said}");
    }
    let (_, said) = command(folder.path(), &["doctor", "--no-write"]).await;
    for words in ["PostgreSQL ", "a bridge is at work with it"] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    let (fine, said) = command(folder.path(), &["dead-letters", "list"]).await;
    assert!(fine && said.contains("No dead letters"), "{said}");
    let (_, said) = command(folder.path(), &["status", "--json"]).await;
    assert!(
        said.contains("\"database\"") && !said.contains(password),
        "{said}"
    );

    moved::assert_exported(folder.path(), &played).await;

    // A second one is refused, wherever its folder is.
    let second = tempfile::tempdir().unwrap();
    for file in ["bridge.yaml", "database.url"] {
        std::fs::copy(folder.path().join(file), second.path().join(file)).unwrap();
    }
    let (fine, said) = command(second.path(), &["run"]).await;
    assert!(
        !fine && said.contains("in use by another process"),
        "{said}"
    );
    let names = std::fs::read_dir(folder.path().join("data")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    let is_sqlite = |name: &std::ffi::OsString| name.to_string_lossy().contains(".db");
    assert!(!names.iter().any(is_sqlite), "{names:?}");
    bridge.stop().await;
}
