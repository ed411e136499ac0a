//! Subscriptions: made, mended, prolonged, removed.

use std::time::Duration;

use fhir::{
    FhirClient, Instant, NotificationKind, ResourceRef, RestHook, SubscriptionStatus, Topic,
};
use serde_json::{Value, json};
use testbed::{Fault, FhirStub};

use super::stub;

const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-";

fn hook() -> RestHook {
    RestHook {
        criteria: "Communication?".into(),
        endpoint: "http://127.0.0.1:9/hooks/a-secret".to_owned().into(),
        bearer: "a-token".to_owned().into(),
        topic: None,
        lifetime: None,
    }
}

/// What the server holds when everything is as wanted.
async fn stored(stub: &FhirStub, client: &FhirClient, hook: &RestHook) -> Value {
    for _ in 0..2 {
        let _ = client.ensure_subscription(hook).await.unwrap();
    }
    let versions = stub.versions();
    let state = client.ensure_subscription(hook).await.unwrap();
    assert_eq!(state.status, SubscriptionStatus::Active);
    assert_eq!(stub.versions(), versions, "nothing is left to mend");
    let all = stub.all("Subscription");
    assert_eq!(all.len(), 1);
    all.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_subscription_to_a_topic_has_the_form_of_the_guide() {
    let (stub, client) = stub().await;
    let hook = RestHook {
        topic: Some(Topic {
            url: "http://fhir.example/topic".into(),
            filters: vec!["Communication?status=completed".into()],
            heartbeat: Some(Duration::from_mins(1)),
        }),
        ..hook()
    };
    let json = stored(&stub, &client, &hook).await;
    assert_eq!(json["criteria"], "http://fhir.example/topic");
    assert_eq!(
        json["_criteria"]["extension"],
        json!([{"url": format!("{GUIDE}filter-criteria"), "valueString": "Communication?status=completed"}])
    );
    let channel = &json["channel"];
    assert_eq!(channel["type"], "rest-hook");
    assert_eq!(channel["payload"], "application/fhir+json");
    assert_eq!(channel["_payload"]["extension"][0]["valueCode"], "empty");
    assert_eq!(channel["extension"][0]["valueUnsignedInt"], 60);
    assert_eq!(channel["header"], json!(["Authorization: Bearer a-token"]));

    // Somebody who goes back to a plain subscription leaves nothing of it behind.
    let json = stored(&stub, &client, &self::hook()).await;
    assert_eq!(json["criteria"], "Communication?");
    assert_eq!(json["_criteria"], Value::Null);
    for name in ["payload", "_payload", "extension"] {
        assert_eq!(json["channel"][name], Value::Null, "{name}");
    }
}

#[tokio::test]
async fn a_subscription_that_failed_or_is_about_to_end_begins_again() {
    let (stub, client) = stub().await;
    let mut json = stored(&stub, &client, &hook()).await;
    json["status"] = "error".into();
    json["error"] = "it failed".into();
    json["foreign"] = "kept".into();
    let _ = stub.put(json);
    let state = client.ensure_subscription(&hook()).await.unwrap();
    assert_eq!(state.status, SubscriptionStatus::Requested);
    let mut json = stored(&stub, &client, &hook()).await;
    assert_eq!(
        (&json["error"], &json["foreign"]),
        (&Value::Null, &json!("kept"))
    );

    // An end that the server has set is no fault while it is far away.
    json["end"] = Instant::now()
        .later_by(Duration::from_hours(5))
        .as_str()
        .into();
    let _ = stub.put(json);
    let json = stored(&stub, &client, &hook()).await;
    assert!(json["end"].is_string());

    let hook = RestHook {
        lifetime: Some(Duration::from_hours(24)),
        ..hook()
    };
    let json = stored(&stub, &client, &hook).await;
    let end = Instant::parse(json["end"].as_str().unwrap()).unwrap();
    assert!(end > Instant::now().later_by(Duration::from_hours(23)));
}

#[tokio::test]
async fn status_is_asked_for_where_it_is_offered() {
    let (stub, client) = stub().await;
    let state = client.ensure_subscription(&hook()).await.unwrap();
    assert_eq!(
        client.subscription_status(&state.reference).await.unwrap(),
        None
    );
    let answer = json!({"resourceType": "Bundle", "type": "searchset", "entry": [{"resource":
        {"resourceType": "Parameters", "parameter": [{"name": "status", "valueCode": "active"},
        {"name": "type", "valueCode": "query-status"},
        {"name": "events-since-subscription-start", "valueString": "12"}]}}]});
    let path = format!("{}/$status", state.reference);
    stub.plan(1, "GET", &path, Fault::Answer(answer));
    let status = client
        .subscription_status(&state.reference)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.kind, NotificationKind::QueryStatus);
    assert_eq!(status.newest_event(), Some(12));
}

#[tokio::test]
async fn a_subscription_is_restarted_and_removed_on_demand_and_others_stay() {
    let (stub, client) = stub().await;
    let state = client.ensure_subscription(&hook()).await.unwrap();
    let before = stub.versions();
    client.restart_subscription(&state.reference).await.unwrap();
    assert_eq!(stub.versions(), before + 1);

    let mut other = stub.all("Subscription").remove(0);
    other["id"] = "other".into();
    other["channel"]["endpoint"] = "http://127.0.0.1:9/hooks/of-another".into();
    let _ = stub.put(other);
    assert_eq!(client.remove_subscription(&hook()).await.unwrap(), 1);
    assert_eq!(client.remove_subscription(&hook()).await.unwrap(), 0);
    let left = stub.all("Subscription");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["id"], "other");
    let gone = ResourceRef::parse(&state.reference.to_string()).unwrap();
    assert_eq!(client.read(&gone).await.unwrap(), None);
}
