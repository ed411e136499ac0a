mod talks;

use matrix_appservice::Registration;
use serde_json::json;
use testbed::{Fault, FhirStub};

use super::*;
use crate::{bridge::Shared, config::Config};

const TEAM: ResourceType = ResourceType::CareTeam;

async fn bridge(folder: &std::path::Path, stub: &FhirStub) -> Bridge {
    bridge_with(folder, json!({"url": stub.url()})).await
}

async fn bridge_with(folder: &std::path::Path, fhir: Value) -> Bridge {
    let config = json!({
        "registration": "registration.yaml",
        "data": "",
        "homeserver": {"name": "vvt", "url": "http://127.0.0.1:9"},
        "fhir": fhir,
    });
    let file = folder.join("bridge.yaml");
    std::fs::write(&file, config.to_string()).unwrap();
    let config = Config::load(&file).unwrap();
    let registration =
        Registration::parse(include_str!("../../../../registration/fhir-bridge.yaml")).unwrap();
    let server = config.servers().next().unwrap();
    {
        let journal = Journal::in_memory().await.unwrap();
        let shared = Shared::open(&config, &registration, journal).unwrap();
        Bridge::open(&config, server, &shared).await.unwrap()
    }
}

fn team(name: &str) -> Value {
    json!({"resourceType": "CareTeam", "status": "active", "name": name})
}

/// Reads until there is no more.
async fn pull_all(bridge: &Bridge, journal: &Journal) {
    for _ in 0..100 {
        if !pull(bridge, journal, &TEAM).await.unwrap() {
            return;
        }
    }
    panic!("it never ends")
}

async fn waiting(journal: &Journal) -> u64 {
    journal.stats().await.unwrap().waiting
}

async fn stands(journal: &Journal) -> String {
    journal
        .cursor("fhir/CareTeam")
        .await
        .unwrap()
        .unwrap_or_default()
}

#[tokio::test]
async fn an_import_goes_on_where_it_was_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let stub = FhirStub::start().await.unwrap();
    for n in 0..2_500 {
        let _ = stub.put(team(&n.to_string()));
    }
    let journal = Journal::in_memory().await.unwrap();
    let first = bridge(folder.path(), &stub).await;
    assert!(
        pull(&first, &journal, &TEAM).await.unwrap(),
        "there is more"
    );
    let part = waiting(&journal).await;
    assert!((1_000..1_200).contains(&part), "{part}");
    drop(first);

    // Another life, and a server that is in trouble for a while.
    let second = bridge(folder.path(), &stub).await;
    stub.plan(1, "POST", "CareTeam/_search", Fault::Refuse(503, Some(7)));
    let error = pull(&second, &journal, &TEAM).await.unwrap_err();
    assert_eq!(error.asked_for(), Duration::from_secs(7));
    let _ = stub.take_seen();
    pull_all(&second, &journal).await;
    assert_eq!(waiting(&journal).await, 2_500);
    assert!(
        stub.take_seen().len() < 60,
        "it did not begin anew, and reads each page once"
    );
    // Nothing comes a second time.
    pull_all(&second, &journal).await;
    pull_all(&second, &journal).await;
    assert_eq!(waiting(&journal).await, 2_500);
}

#[tokio::test]
async fn without_an_import_only_what_follows_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let stub = FhirStub::start().await.unwrap();
    let old = stub.put_at(team("old"), "2026-11-20T12:00:00Z");
    let journal = Journal::in_memory().await.unwrap();
    let bridge = bridge_with(folder.path(), json!({"url": stub.url(), "import": "none"})).await;
    pull_all(&bridge, &journal).await;
    assert_eq!(waiting(&journal).await, 0);
    assert!(stands(&journal).await.starts_with("2026-11-20T23:59:"));
    let _ = stub.put(team("new"));
    pull_all(&bridge, &journal).await;
    assert_eq!(waiting(&journal).await, 1);
    let mut changed = stub.get(&old).unwrap();
    changed["name"] = "changed".into();
    let _ = stub.put(changed);
    pull_all(&bridge, &journal).await;
    assert_eq!(waiting(&journal).await, 2);
}

#[tokio::test]
async fn what_is_deleted_while_an_import_runs_is_read_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let stub = FhirStub::start().await.unwrap();
    let first = stub.put(team("0"));
    for n in 1..1_500 {
        let _ = stub.put(team(&n.to_string()));
    }
    let journal = Journal::in_memory().await.unwrap();
    let bridge = bridge(folder.path(), &stub).await;
    assert!(pull(&bridge, &journal, &TEAM).await.unwrap());
    // Much later, as the server's clock goes.
    stub.set_clock(1_795_219_200_000 + 600_000);
    stub.delete(&first);
    let _ = stub.put(team("last"));
    pull_all(&bridge, &journal).await;
    pull_all(&bridge, &journal).await;
    assert_eq!(
        waiting(&journal).await,
        1_502,
        "all teams, and the deletion"
    );
}

#[tokio::test]
async fn after_a_restored_backup_everything_that_follows_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let stub = FhirStub::start().await.unwrap();
    let reference = stub.put(team("one"));
    let journal = Journal::in_memory().await.unwrap();
    let bridge = bridge(folder.path(), &stub).await;
    pull_all(&bridge, &journal).await;
    let mut changed = stub.get(&reference).unwrap();
    changed["name"] = "two".into();
    let _ = stub.put(changed.clone());
    pull_all(&bridge, &journal).await;
    assert_eq!(waiting(&journal).await, 2);

    // The backup knows version 1; its second version is another one than ours.
    stub.restore_backup(1);
    changed["name"] = "another two".into();
    let _ = stub.put(changed);
    pull_all(&bridge, &journal).await;
    assert_eq!(waiting(&journal).await, 3);
}

#[tokio::test]
async fn after_a_clock_was_set_back_everything_is_read_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let stub = FhirStub::start().await.unwrap();
    let _ = stub.put(team("one"));
    let journal = Journal::in_memory().await.unwrap();
    let bridge = bridge(folder.path(), &stub).await;
    pull_all(&bridge, &journal).await;
    stub.set_clock(1_795_219_200_000 - 3_600_000);
    let _ = stub.put(team("an hour before the other"));
    pull_all(&bridge, &journal).await;
    assert_eq!(waiting(&journal).await, 2);
    // And it comes to rest: the cursor is the server's time again.
    let cursor = stands(&journal).await;
    assert!(cursor.starts_with("2026-11-20T23:00:0"), "{cursor}");
    let _ = stub.take_seen();
    pull_all(&bridge, &journal).await;
    assert_eq!(stub.take_seen().len(), 1);
}

#[tokio::test]
async fn a_resource_that_nobody_can_read_is_kept_aside_once() {
    let folder = tempfile::tempdir().unwrap();
    let stub = FhirStub::start().await.unwrap();
    let mut odd = team("odd");
    odd["id"] = "no id at all".into();
    let _ = stub.put(odd);
    let _ = stub.put(team("one"));
    let journal = Journal::in_memory().await.unwrap();
    let bridge = bridge(folder.path(), &stub).await;
    for _ in 0..3 {
        pull_all(&bridge, &journal).await;
    }
    let stats = journal.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.dead), (1, 1));
}

#[test]
fn what_goes_into_the_journal_comes_out_of_it() {
    let resource = serde_json::json!({"resourceType": "Communication", "id": "7", "x": 1.10});
    for resource in [Some(&resource), None] {
        let payload = Payload {
            reference: "Communication/7".to_owned(),
            resource,
        };
        let stored = Stored::parse(&serde_json::to_vec(&payload).unwrap()).unwrap();
        assert_eq!(stored.reference.to_string(), "Communication/7");
        assert_eq!(stored.resource.as_ref(), resource);
    }
    for other in ["", "{}", "[]", r#"{"reference":"no reference"}"#] {
        assert!(Stored::parse(other.as_bytes()).is_none(), "{other}");
    }
}
