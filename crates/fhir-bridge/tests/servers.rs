//! Two FHIR servers in one bridge: each has its own people, rooms and messages, and gets nothing of the other's.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; what it prints helps when it does"
)]

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use testbed::{Bridge, BridgeSetup, FhirStub, Testbed, scene, unique};

const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until something is there.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

fn practitioner(id: &str, account: Option<&str>) -> Value {
    let telecom: Vec<Value> = account
        .map(|user| json!({"system": "other", "value": user}))
        .into_iter()
        .collect();
    json!({"resourceType": "Practitioner", "id": id, "name": [{"text": "T. Proef"}], "telecom": telecom})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_fhir_servers_share_a_bridge_and_nothing_else() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hapi = testbed.start_fhir().await.unwrap();
    let north = FhirStub::start().await.unwrap();
    let notify_url = format!("http://{}", appservice.listen_addr);
    let program = Path::new(env!("CARGO_BIN_EXE_fhir-bridge"));
    let setup = BridgeSetup::of(&appservice, program, folder.path(), hapi.clone()).with(json!({
        "fhir": null,
        "fhir_servers": [
            {"url": hapi, "notify_url": notify_url, "poll_interval_seconds": 5},
            {"name": "north", "url": north.url(), "notify_url": notify_url, "poll_interval_seconds": 5},
        ],
    }));
    let bridge = Bridge::start(testbed, setup).await.unwrap();

    // The second one, whose ids may be those of the first as well.
    let gp = testbed.client("huisarts", &unique("arts")).await.unwrap();
    let nurse = north.put(practitioner("1", None));
    let doctor = north.put(practitioner("2", Some(gp.user_id())));
    let team = north.put(json!({"resourceType": "CareTeam", "status": "active",
        "participant": [{"member": {"reference": nurse}}, {"member": {"reference": doctor}}]}));
    let thread = north.put(
        json!({"resourceType": "CommunicationRequest", "status": "active",
        "requester": {"reference": nurse}, "recipient": [{"reference": team}]}),
    );
    let asks = unique("vraag");
    let message = north.put(
        json!({"resourceType": "Communication", "status": "completed",
        "partOf": [{"reference": thread}], "sender": {"reference": nurse},
        "payload": [{"contentString": asks}]}),
    );
    let mut rooms = Vec::new();
    for invite in gp.wait_for_invites(2, PATIENCE).await.unwrap() {
        gp.join(&invite.room_id).await.unwrap();
        rooms.push(invite.room_id);
    }
    let (room, sender) = until(async || {
        for room in &rooms {
            let messages = gp.messages(room, 50).await.unwrap();
            if let Some(found) = messages.into_iter().find(|event| event.body() == asks) {
                return Some((room.clone(), found.sender));
            }
        }
        None
    })
    .await;
    let prefix = &appservice.user_prefix;
    assert_eq!(sender, format!("@{prefix}north_practitioner_1:vvt"));
    until(async || {
        let json = north.get(&message).unwrap();
        json["identifier"][0]["value"].is_string().then_some(())
    })
    .await;
    let answers = unique("antwoord");
    gp.send_text(&room, &answers).await.unwrap();
    let stored = until(async || {
        let mut all = north.all("Communication");
        all.retain(|one| one["payload"][0]["contentString"] == answers.as_str());
        all.pop()
    })
    .await;
    assert_eq!(stored["sender"]["reference"], doctor.as_str());
    assert_eq!(stored["partOf"][0]["reference"], thread.as_str());

    // And the first one, as if it were alone.
    let before = north.all("Communication").len();
    let played = scene::play(testbed, &hapi, prefix, scene::Names::Unique, &|_| {})
        .await
        .unwrap();
    assert_eq!(
        north.all("Communication").len(),
        before,
        "nothing of it went to the other"
    );
    let log = bridge.log_text().unwrap();
    for private in played.private.iter().chain([&asks, &answers]) {
        assert!(!log.contains(private.as_str()));
    }
    bridge.stop().await;
}
