use serde_json::json;

use crate::stage::{PATIENCE, Stage, join, telecom};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_professional_moves_when_the_numbers_prove_it_and_the_ghost_goes_then() {
    let stage = Stage::set().await;
    let first = stage
        .testbed
        .client("huisarts", &testbed::unique("old"))
        .await
        .unwrap();
    let second = stage
        .testbed
        .client("apotheek", &testbed::unique("new"))
        .await
        .unwrap();
    let client = stage.client().await;
    let ura = testbed::unique("9000");
    let organization = stage
        .record
        .create(&json!({
            "resourceType": "Organization",
            "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/ura", "value": ura}],
        }))
        .await
        .unwrap();
    let doctor = stage
        .record
        .create(&json!({
            "resourceType": "Practitioner",
            "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers", "value": testbed::unique("u")}],
        }))
        .await
        .unwrap();
    let role = stage
        .record
        .create(&json!({
            "resourceType": "PractitionerRole",
            "practitioner": {"reference": doctor},
            "organization": {"reference": organization},
            "code": [{"coding": [{"system": "http://snomed.info/sct", "code": "62247001"}]}],
        }))
        .await
        .unwrap();
    let nurse = stage.practitioner(None).await;
    let team = stage.team(&client, &[&nurse, &role]).await;
    let space = stage.room_of(&team).await;
    let ghost = stage.ghost(&doctor);
    stage.wait_membership(&space, &ghost, "join").await;

    // An account of their own, in an endpoint as gematik's directory has it: the ghost stays until it has joined.
    let endpoint = stage
        .record
        .create(&json!({
            "resourceType": "Endpoint",
            "status": "active",
            "connectionType": {"system": "https://gematik.de/fhir/directory/CodeSystem/EndpointDirectoryConnectionType", "code": "tim"},
            "payloadType": [{"text": "tim-chat"}],
            "address": format!("matrix:u/{}", first.user_id().trim_start_matches('@')),
        }))
        .await
        .unwrap();
    stage
        .record
        .change(&role, |role| {
            role["endpoint"] = json!([{"reference": endpoint}]);
        })
        .await
        .unwrap();
    first.wait_for_invite(&space, PATIENCE).await.unwrap();
    assert_eq!(
        stage.membership(&space, &ghost).await.as_deref(),
        Some("join")
    );
    join(&first, &space).await;
    stage.wait_membership(&space, &ghost, "leave").await;

    // Another account, but the numbers don't prove whose: nothing changes.
    stage
        .record
        .change(&role, |role| {
            role["telecom"] = telecom(second.user_id());
            role["code"][0]["coding"][0]["code"] = json!("159141008");
        })
        .await
        .unwrap();
    stage
        .wait("the refusal", async || {
            stage
                .bridge
                .log_text()
                .unwrap()
                .contains("is not taken over")
        })
        .await;
    assert_eq!(stage.membership(&space, second.user_id()).await, None);
    assert_eq!(
        stage.membership(&space, first.user_id()).await.as_deref(),
        Some("join")
    );

    // With the same numbers it is the same professional: the new one comes, with the same level, then the old one goes.
    stage
        .record
        .change(&role, |role| {
            role["code"][0]["coding"][0]["code"] = json!("62247001");
        })
        .await
        .unwrap();
    second.wait_for_invite(&space, PATIENCE).await.unwrap();
    assert_eq!(
        stage.membership(&space, first.user_id()).await.as_deref(),
        Some("join")
    );
    join(&second, &space).await;
    stage
        .wait_membership(&space, first.user_id(), "leave")
        .await;
    let levels = stage
        .content(&space, "m.room.power_levels", "")
        .await
        .unwrap();
    assert_eq!(levels["users"][second.user_id()], 75);
    stage.assert_silent(&[&space]).await;
    stage.bridge.stop().await;
}
