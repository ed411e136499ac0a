//! The official examples of R4 (`hl7.fhir.r4.examples` 4.0.1, CC0, without their narrative): each is bridged, or left out
//! for a reason that is told. None ends the bridge or is tried for ever.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use testbed::{Bridge, BridgeSetup, FhirStub, Testbed};

const EXAMPLES: &str = include_str!("examples.ndjson");
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_official_example_is_bridged_or_left_out_for_a_reason() {
    let stub = FhirStub::start().await.unwrap();
    let mut followed = Vec::new();
    for line in EXAMPLES.lines() {
        let example: Value = serde_json::from_str(line).unwrap();
        let resource_type = example["resourceType"].as_str().unwrap();
        if resource_type == "Communication" {
            // As it is, and as a message in a conversation.
            let mut message = example.clone();
            message["id"] = format!("{}-m", example["id"].as_str().unwrap()).into();
            message["partOf"] = json!([{"reference": "CommunicationRequest/example"}]);
            followed.push(stub.put(message));
        }
        let is_followed =
            ["CareTeam", "Communication", "CommunicationRequest"].contains(&resource_type);
        let reference = stub.put(example);
        if is_followed {
            followed.push(reference);
        }
    }
    assert_eq!(followed.len(), 9);

    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_fhir-bridge"));
    let setup = BridgeSetup::of(&appservice, program, folder.path(), stub.url());
    let bridge = Bridge::start(testbed, setup).await.unwrap();
    let waiting = async {
        loop {
            let log = bridge.log_text().unwrap();
            let untold = followed.iter().find(|reference| {
                let told = format!("\"resource\":\"{reference}\"");
                !log.lines().any(|line| line.contains(&told))
            });
            if untold.is_none() {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let log = tokio::time::timeout(PATIENCE, waiting).await;
    let log = log.unwrap_or_else(|_| panic!("not all are told:\n{}", bridge.log_text().unwrap()));
    for bad in ["panicked", "dead letter", "\"level\":\"ERROR\""] {
        assert!(!log.contains(bad), "{bad}");
    }
    bridge.stop().await;
}
