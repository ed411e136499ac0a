//! `fhir-bridge import --dry-run`: what the bridge would do, and nothing done.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use testbed::FhirStub;

const REGISTRATION: &str = include_str!("../../../registration/fhir-bridge.yaml");

fn dry_run(folder: &Path, stub: &FhirStub) -> String {
    dry_run_with(folder, stub, "communication-request")
}

fn dry_run_with(folder: &Path, stub: &FhirStub, threads: &str) -> String {
    let config = json!({
        "registration": "registration.yaml",
        "data": "data",
        "homeserver": {"name": "vvt", "url": "http://127.0.0.1:9"},
        "fhir": {"url": stub.url(), "threads": threads},
    });
    fs::write(folder.join("bridge.yaml"), config.to_string()).unwrap();
    fs::write(folder.join("registration.yaml"), REGISTRATION).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fhir-bridge"))
        .args(["import", "--dry-run", "--config", "bridge.yaml"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn message(json: &Value) -> Value {
    let mut message = json!({"resourceType": "Communication", "status": "completed",
        "partOf": [{"reference": "CommunicationRequest/t1"}],
        "payload": [{"contentString": "kanari"}]});
    for (key, value) in json.as_object().unwrap() {
        message[key] = value.clone();
    }
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dry_run_tells_what_would_become_of_each_resource_and_changes_nothing() {
    let stub = FhirStub::start().await.unwrap();
    let team = |id: &str, status: &str| json!({"resourceType": "CareTeam", "id": id, "status": status, "name": "kanari"});
    for json in [
        team("Team-1", "active"),
        team("team-2", "proposed"),
        json!({"resourceType": "CommunicationRequest", "id": "t1", "status": "active"}),
        message(&json!({"id": "m1"})),
        message(&json!({"id": "m2", "status": "entered-in-error"})),
        message(&json!({"id": "m3", "partOf": []})),
        message(&json!({"id": "m4", "payload": []})),
        message(
            &json!({"id": "m5", "identifier": [{"system": "https://matrix.org/event-id", "value": "$1"}]}),
        ),
        message(&json!({"id": "no id at all"})),
    ] {
        let _ = stub.put(json);
    }
    let before = stub.versions();
    let folder = tempfile::tempdir().unwrap();
    let told = dry_run(folder.path(), &stub);
    for line in [
        "CareTeam/Team-1 new #_fhir_bridge_careteam__team-1:vvt",
        "CareTeam/team-2 left out: it is not active",
        "# CareTeam: 1 new, 0 there, 1 left out",
        "CommunicationRequest/t1 new #_fhir_bridge_communicationrequest_t1:vvt",
        "Communication/m1 new in CommunicationRequest/t1",
        "Communication/m2 left out: it is neither completed nor in progress",
        "Communication/m3 left out: it is part of no conversation",
        "Communication/m4 left out: it has no payload",
        "Communication/m5 is there",
        "# Communication: 1 new, 1 there, 4 left out",
    ] {
        assert!(
            told.lines().any(|told| told == line),
            "{line} is missing in\n{told}"
        );
    }
    assert!(!told.contains("kanari"));
    assert_eq!(stub.versions(), before);
    let seen = stub.take_seen();
    assert!(
        seen.iter()
            .all(|seen| seen.method == "POST" && seen.path.ends_with("/_search")),
        "{seen:?}"
    );
    assert!(!folder.path().join("data").exists(), "no database was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_conversations_are_headers_requests_are_not_looked_at() {
    let stub = FhirStub::start().await.unwrap();
    let header = |id: &str, status: &str| json!({"resourceType": "Communication", "id": id, "status": status});
    let of = |thread: &str| json!([{"reference": thread}]);
    for json in [
        json!({"resourceType": "CommunicationRequest", "id": "t1", "status": "active"}),
        header("h1", "in-progress"),
        header("h2", "completed"),
        message(&json!({"id": "m1", "partOf": of("Communication/h1")})),
        message(&json!({"id": "m2", "partOf": of("CommunicationRequest/t1")})),
        message(&json!({"id": "m3", "partOf": []})),
    ] {
        let _ = stub.put(json);
    }
    let folder = tempfile::tempdir().unwrap();
    let told = dry_run_with(folder.path(), &stub, "communication-header");
    for line in [
        "Communication/h1 new #_fhir_bridge_communication_h1:vvt",
        "Communication/h2 left out: it is not active",
        "Communication/m1 new in Communication/h1",
        "Communication/m2 left out: it is part of no conversation",
        "Communication/m3 left out: it is part of no conversation",
    ] {
        assert!(
            told.lines().any(|told| told == line),
            "{line} is missing in\n{told}"
        );
    }
    assert!(!told.contains("CommunicationRequest"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_conversations_have_no_resource_each_care_team_has_one() {
    let stub = FhirStub::start().await.unwrap();
    let team =
        |id: &str, status: &str| json!({"resourceType": "CareTeam", "id": id, "status": status});
    let to = |team: &str| json!([{"reference": team}]);
    for json in [
        team("one", "active"),
        team("two", "suspended"),
        message(&json!({"id": "m1", "partOf": [], "recipient": to("CareTeam/one")})),
        message(&json!({"id": "m2", "recipient": to("CareTeam/one")})),
        message(&json!({"id": "m3", "partOf": [], "recipient": to("Patient/1")})),
    ] {
        let _ = stub.put(json);
    }
    let folder = tempfile::tempdir().unwrap();
    let told = dry_run_with(folder.path(), &stub, "flat");
    for line in [
        "CareTeam/one new #_fhir_bridge_careteam_one:vvt",
        "Conversation/one new #_fhir_bridge_conversation_one:vvt",
        "CareTeam/two left out: it is not active",
        "Conversation/two left out: it is not active",
        "Communication/m1 new in Conversation/one",
        "Communication/m2 left out: it is part of no conversation",
        "Communication/m3 left out: it is part of no conversation",
    ] {
        assert!(
            told.lines().any(|told| told == line),
            "{line} is missing in\n{told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_world_of_thousands_is_listed_in_full_and_each_once() {
    let stub = FhirStub::start().await.unwrap();
    for n in 0..1500 {
        let _ =
            stub.put(json!({"resourceType": "CareTeam", "id": n.to_string(), "status": "active"}));
    }
    let folder = tempfile::tempdir().unwrap();
    let told = dry_run(folder.path(), &stub);
    assert!(
        told.lines()
            .any(|line| line == "# CareTeam: 1500 new, 0 there, 0 left out")
    );
    let mut lines: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("CareTeam/"))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 1500);
}
