use std::path::Path;

use serde_json::{Value, json};

use crate::stage::{PATIENCE, PRIVATE, Stage};

fn write_list(file: &Path, version: u32, servers: &[&str]) {
    let domains: Vec<Value> = servers
        .iter()
        .map(|server| json!({"domain": server}))
        .collect();
    let list = json!({"version": version, "domainList": domains});
    std::fs::write(file, list.to_string()).unwrap();
}

/// The audit events about a room, or with it.
async fn audited(stage: &Stage, room: &str, deed: &str) -> Vec<Value> {
    let events = stage
        .record
        .search(
            "AuditEvent",
            &[("_sort", "-_lastUpdated"), ("_count", "500")],
        )
        .await
        .unwrap();
    events
        .into_iter()
        .filter(|event| event["subtype"][0]["code"] == deed)
        .filter(|event| {
            let entities = event["entity"].as_array().cloned().unwrap_or_default();
            entities
                .iter()
                .any(|entity| entity["what"]["identifier"]["value"] == room)
        })
        .collect()
}

/// What was done is told to the record a moment after it was done.
async fn on_record(stage: &Stage, room: &str, deed: &str) {
    let found = async || !audited(stage, room, deed).await.is_empty();
    stage.wait(&format!("{deed} to be on record"), found).await;
}

/// A closed federation with the GP's homeserver on its list, and the pharmacy's only later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_on_the_list_is_not_invited_not_heard_and_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.json");
    write_list(&file, 1, &["huisarts"]);
    let stage = Stage::set_with(json!({
        "policy": {"federation": "closed", "list": {"file": file, "refresh_seconds": 2}},
        "audit": {"sink": "fhir"},
    }))
    .await;
    let name = testbed::unique("arts");
    let gp = stage.testbed.client("huisarts", &name).await.unwrap();
    let name = testbed::unique("apotheker");
    let pharmacist = stage.testbed.client("apotheek", &name).await.unwrap();
    let client = stage.client().await;
    let nurse = stage.practitioner(None).await;
    let doctor = stage.practitioner(Some(gp.user_id())).await;
    let chemist = stage.practitioner(Some(pharmacist.user_id())).await;
    let team = stage.team(&client, &[&nurse, &doctor, &chemist]).await;
    let text = testbed::unique("first");
    let thread = stage.thread(&client, &team, &nurse, &text).await;
    for invite in gp.wait_for_invites(2, PATIENCE).await.unwrap() {
        gp.join(&invite.room_id).await.unwrap();
    }
    let room = stage.room_of(&thread).await;
    stage.wait_membership(&room, gp.user_id(), "join").await;
    assert_eq!(stage.membership(&room, pharmacist.user_id()).await, None);
    stage
        .wait("the refusal to be on record", async || {
            let refused = audited(&stage, &room, "refused").await;
            refused.iter().any(|event| {
                event["agent"][0]["who"]["identifier"]["value"] == pharmacist.user_id()
                    && event["outcomeDesc"] == "homeserver not on the federation list"
            })
        })
        .await;
    on_record(&stage, &room, "admitted").await;

    // Whoever invites one of our users from there is declined.
    let ghost = stage.ghost(&nurse);
    let theirs = pharmacist.create_room("Theirs", &[]).await.unwrap();
    pharmacist.invite(&theirs, &ghost).await.unwrap();
    stage
        .wait("the invitation to be declined", async || {
            let members = pharmacist.state(&theirs, "m.room.member").await.unwrap();
            members.iter().any(|event| {
                event.state_key.as_deref() == Some(ghost.as_str())
                    && event.content["membership"] == "leave"
            })
        })
        .await;
    on_record(&stage, &theirs, "refused").await;

    // Somebody else lets them in all the same: what they write is not stored.
    gp.invite(&room, pharmacist.user_id()).await.unwrap();
    pharmacist.wait_for_invite(&room, PATIENCE).await.unwrap();
    pharmacist.join(&room).await.unwrap();
    let unheard = pharmacist.send_text(&room, "Niet gehoord").await.unwrap();
    gp.wait_for_text(&room, "Niet gehoord", PATIENCE)
        .await
        .unwrap();
    let heard = gp.send_text(&room, "Wel gehoord").await.unwrap();
    let event_id = |communication: &Value| {
        let identifiers = communication["identifier"].as_array().cloned();
        identifiers
            .unwrap_or_default()
            .iter()
            .any(|identifier| identifier["value"] == heard)
    };
    let stored = async || {
        let part_of = [("part-of", thread.as_str()), ("_count", "100")];
        stage
            .record
            .search("Communication", &part_of)
            .await
            .unwrap()
    };
    stage
        .wait("what the GP writes to be stored", async || {
            stored().await.iter().any(event_id)
        })
        .await;
    let stored = serde_json::to_string(&stored().await).unwrap();
    assert!(!stored.contains(&unheard) && !stored.contains("Niet gehoord"));

    // On the list at last.
    write_list(&file, 2, &["huisarts", "apotheek"]);
    stage
        .wait("the list to be read", async || {
            let log = stage.bridge.log_text().unwrap();
            log.contains("homeservers=2") || log.contains("\"homeservers\":2")
        })
        .await;
    pharmacist.send_text(&room, "Nu wel").await.unwrap();
    stage
        .wait("what the pharmacist writes to be stored", async || {
            let part_of = [("part-of", thread.as_str()), ("_count", "100")];
            let stored = stage
                .record
                .search("Communication", &part_of)
                .await
                .unwrap();
            serde_json::to_string(&stored).unwrap().contains("Nu wel")
        })
        .await;

    let events = stage
        .record
        .search(
            "AuditEvent",
            &[("_sort", "-_lastUpdated"), ("_count", "500")],
        )
        .await
        .unwrap();
    let events = serde_json::to_string(&events).unwrap();
    for word in PRIVATE.into_iter().chain(["gehoord", "Nu wel"]) {
        assert!(
            !events.contains(word),
            "an audit event holds something private"
        );
    }
    stage.bridge.stop().await;
}
