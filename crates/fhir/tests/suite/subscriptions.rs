//! Asking to be notified.

use fhir::{Error, RestHook, SubscriptionStatus};
use serde_json::{Value, json};

use crate::stub::{Stub, answer};

fn wanted() -> RestHook {
    RestHook {
        criteria: "Communication?".into(),
        endpoint: "https://bridge.example/hooks/s3cret".to_owned().into(),
        bearer: "t0ken".to_owned().into(),
        topic: None,
        lifetime: None,
    }
}

fn stored(status: &str) -> Value {
    json!({"resourceType": "Subscription", "id": "5", "meta": {"versionId": "2"}, "status": status, "reason": "x",
        "criteria": "Communication?", "own": true,
        "channel": {"type": "rest-hook", "endpoint": "https://bridge.example/hooks/s3cret", "header": ["Authorization: Bearer t0ken"]}})
}

fn found(resources: &[Value]) -> Value {
    let entries: Vec<_> = resources.iter().map(|r| json!({"resource": r})).collect();
    json!({"resourceType": "Bundle", "entry": entries})
}

#[tokio::test]
async fn a_subscription_is_created_when_there_is_none_with_its_endpoint() {
    let mut another = stored("active");
    another["channel"]["endpoint"] = "https://bridge.example/hooks/another".into();
    let stub = Stub::new([
        answer(200).json(&found(&[another])),
        answer(201).header("location", "Subscription/5"),
    ])
    .await;
    let state = stub.client().ensure_subscription(&wanted()).await.unwrap();
    assert_eq!(
        (state.reference.to_string().as_str(), state.status),
        ("Subscription/5", SubscriptionStatus::Requested)
    );
    let seen = stub.seen();
    assert_eq!(seen[0].line, "POST /fhir/Subscription/_search");
    assert_eq!(
        seen[0].form()[0],
        ("url".into(), "https://bridge.example/hooks/s3cret".into())
    );
    assert_eq!(
        seen[1].header("if-none-exist"),
        Some("url=https://bridge.example/hooks/s3cret")
    );
    let sent = seen[1].json();
    assert_eq!(sent["status"], "requested");
    assert_eq!(sent["channel"], stored("")["channel"]);
}

#[tokio::test]
async fn a_subscription_at_work_is_left_alone() {
    for (status, expected) in [
        ("active", SubscriptionStatus::Active),
        ("requested", SubscriptionStatus::Requested),
    ] {
        let stub = Stub::new([
            answer(200).json(&found(&[stored(status)])),
            answer(200).json(&stored(status)),
        ])
        .await;
        assert_eq!(
            stub.client()
                .ensure_subscription(&wanted())
                .await
                .unwrap()
                .status,
            expected
        );
        assert_eq!(stub.lines()[1], "GET /fhir/Subscription/5");
    }
}

#[tokio::test]
async fn a_failed_or_changed_subscription_is_asked_for_again() {
    let mut failed = stored("error");
    failed["error"] = "Connection refused".into();
    let mut ended = stored("active");
    ended["end"] = "2020-01-01T00:00:00Z".into();
    let mut with_payload = stored("active");
    with_payload["channel"]["payload"] = "application/fhir+json".into();
    let mut old_token = stored("active");
    old_token["channel"]["header"] = json!(["Authorization: Bearer old"]);
    let mut other_criteria = stored("active");
    other_criteria["criteria"] = "Patient?".into();
    for before in [
        failed,
        stored("off"),
        ended,
        with_payload,
        old_token,
        other_criteria,
    ] {
        let stub = Stub::new([
            answer(200).json(&found(std::slice::from_ref(&before))),
            answer(200).json(&before),
            answer(200),
        ])
        .await;
        let state = stub.client().ensure_subscription(&wanted()).await.unwrap();
        assert_eq!(state.status, SubscriptionStatus::Requested);
        assert_eq!(stub.seen()[2].json(), stored("requested"), "{before}");
    }
}

#[tokio::test]
async fn of_doubles_the_oldest_is_taken_and_one_that_vanishes_is_off() {
    let mut older = stored("active");
    older["id"] = "9".into();
    older["meta"]["lastUpdated"] = "2026-01-01T00:00:00Z".into();
    let mut newer = stored("active");
    newer["meta"]["lastUpdated"] = "2026-01-02T00:00:00Z".into();
    let stub = Stub::new([answer(200).json(&found(&[newer, older])), answer(410)]).await;
    let state = stub.client().ensure_subscription(&wanted()).await.unwrap();
    assert_eq!(
        (state.reference.id(), state.status),
        ("9", SubscriptionStatus::Off)
    );
}

#[tokio::test]
async fn a_server_that_refuses_subscriptions_says_so() {
    let stub = Stub::new([answer(200).json(&found(&[])), answer(405)]).await;
    let error = stub
        .client()
        .ensure_subscription(&wanted())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Rejected { status: 405, .. }),
        "{error}"
    );
}
