//! Writes that others are in the way of, and whose answers are lost.

use std::time::Duration;

use fhir::{Condition, Edit, Error, FhirClient, Identifier, Modified, ResourceRef, Retry};
use serde_json::{Value, json};
use testbed::Fault;

use super::stub;

fn condition() -> Condition {
    Condition::identifier(Identifier {
        system: Some("https://test.example/key".into()),
        value: "abc".into(),
    })
}

fn message() -> Value {
    json!({"resourceType": "Communication", "status": "completed",
        "identifier": [{"system": "https://test.example/key", "value": "abc"}]})
}

async fn note(client: &FhirClient, reference: &str) -> Result<Modified, Error> {
    let reference = ResourceRef::parse(reference).unwrap();
    let mut edit = |json: &mut Value| {
        if json["noted"] == true {
            return Edit::Unchanged;
        }
        json["noted"] = true.into();
        Edit::Changed
    };
    client.modify(&reference, &mut edit).await
}

#[tokio::test]
async fn a_change_gets_through_a_storm_of_others_and_loses_nothing_of_theirs() {
    let (stub, client) = stub().await;
    let mut json = message();
    json["foreign"] = json!({"kept": [1, null, "x"]});
    let reference = stub.put(json);
    stub.plan(4, "GET", &reference, Fault::ChangedBehind);
    let modified = note(&client, &reference).await.unwrap();
    assert!(
        matches!(modified, Modified::Stored(Some(_))),
        "{modified:?}"
    );
    let stored = stub.get(&reference).unwrap();
    assert_eq!(stored["noted"], true);
    assert_eq!(stored["foreign"], json!({"kept": [1, null, "x"]}));

    // A storm without end is told, and is worth another try.
    let reference = stub.put(message());
    stub.plan(5, "GET", &reference, Fault::ChangedBehind);
    let error = note(&client, &reference).await.unwrap_err();
    assert!(
        matches!(error, Error::VersionConflict { status: 412, .. }),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Later(None));
    assert_eq!(stub.get(&reference).unwrap()["noted"], Value::Null);
}

#[tokio::test]
async fn a_create_whose_answer_says_nothing_is_found_by_its_key() {
    let (stub, client) = stub().await;
    for was_there in [false, true] {
        stub.plan(1, "POST", "Communication", Fault::SayNothing);
        let created = client
            .create_if_none_exist(&message(), &condition())
            .await
            .unwrap();
        assert_eq!(created.reference.to_string(), "Communication/1");
        assert_eq!(created.was_there, was_there);
    }
    assert_eq!(stub.all("Communication").len(), 1);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_done_once() {
    let (stub, client) = stub().await;
    stub.plan(2, "POST", "Communication", Fault::LoseAnswer);
    for _ in 0..2 {
        let error = client
            .create_if_none_exist(&message(), &condition())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert_eq!(error.retry(), Retry::Later(None));
    }
    let created = client
        .create_if_none_exist(&message(), &condition())
        .await
        .unwrap();
    assert!(created.was_there);
    assert_eq!(stub.all("Communication").len(), 1);

    let reference = created.reference.to_string();
    stub.plan(1, "PUT", &reference, Fault::LoseAnswer);
    assert!(matches!(
        note(&client, &reference).await,
        Err(Error::Unavailable { .. })
    ));
    assert!(matches!(
        note(&client, &reference).await,
        Ok(Modified::Unchanged(_))
    ));
    assert_eq!(stub.versions(), 2);
}

#[tokio::test]
async fn how_long_to_wait_is_passed_on() {
    let (stub, client) = stub().await;
    for (status, after, wait) in [
        (429, Some(7), Some(Duration::from_secs(7))),
        (503, Some(3), Some(Duration::from_secs(3))),
        (503, None, None),
        (429, Some(1_000_000), Some(Duration::from_hours(1))),
    ] {
        stub.plan(1, "POST", "Communication", Fault::Refuse(status, after));
        let error = client
            .create_if_none_exist(&message(), &condition())
            .await
            .unwrap_err();
        assert_eq!(error.retry(), Retry::Later(wait), "{error}");
    }
    assert_eq!(stub.versions(), 0);
}
