//! Creating once, updating without losing anything.

use std::time::Duration;

use fhir::{
    Condition, Edit, Error, Identifier, Instant, Modified, NewCommunication, ResourceRef,
    ResourceType, Retry, Sender, event_identifiers, tag_event, with_decimals,
};
use serde_json::{Value, json};

use crate::stub::{Stub, answer};

pub(crate) fn message() -> NewCommunication {
    NewCommunication {
        part_of: ResourceRef::parse("CommunicationRequest/1"),
        in_response_to: None,
        subject: None,
        sender: Sender::Known(ResourceRef::parse("Practitioner/9").unwrap().into()),
        recipients: Vec::new(),
        sent: Instant::from_unix_millis(1_795_255_200_123).unwrap(),
        payload: vec![fhir::NewPayload::Text("Hello".into())],
        event_id: "$event".into(),
    }
}

/// What a server stores of the message.
fn stored(id: &str) -> Value {
    let mut json = message().to_json().unwrap();
    json["id"] = id.into();
    json["meta"] = json!({"versionId": "1", "lastUpdated": "2026-11-21T10:00:00Z"});
    json
}

async fn create(stub: &Stub) -> Result<fhir::Created, Error> {
    let message = message();
    stub.client()
        .create_if_none_exist(&message.to_json().unwrap(), &message.condition())
        .await
}

#[tokio::test]
async fn a_create_is_conditional_on_our_key_and_takes_id_and_version_from_the_headers() {
    let stub = Stub::new([answer(201)
        .header(
            "location",
            "http://inner.example/x/Communication/44/_history/1",
        )
        .header("etag", "W/\"1\"")])
    .await;
    let created = create(&stub).await.unwrap();
    assert_eq!(created.reference.to_string(), "Communication/44");
    assert_eq!(created.version_id.as_deref(), Some("1"));
    assert!(!created.was_there);
    let seen = &stub.seen()[0];
    assert_eq!(seen.line, "POST /fhir/Communication");
    let [_, key] = event_identifiers("$event");
    assert!(key.value.len() == 64 && key.value.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(
        seen.header("if-none-exist").unwrap(),
        format!("identifier={}|{}", fhir::EVENT_KEY_SYSTEM, key.value)
    );
    assert_eq!(seen.header("content-type"), Some("application/fhir+json"));
    assert_eq!(seen.json(), message().to_json().unwrap());
}

#[tokio::test]
async fn a_repeated_create_finds_what_is_there() {
    let stub = Stub::new([
        answer(200).json(&stored("44")),
        // No body: it is read to see whether it is ours.
        answer(200).header("location", "Communication/44"),
        answer(200).json(&stored("44")),
    ])
    .await;
    for _ in 0..2 {
        let created = create(&stub).await.unwrap();
        assert_eq!(created.reference.to_string(), "Communication/44");
        assert_eq!(created.version_id.as_deref(), Some("1"));
        assert!(created.was_there);
    }
    assert_eq!(stub.lines()[2], "GET /fhir/Communication/44");
}

#[tokio::test]
async fn a_server_that_takes_another_resource_for_ours_is_found_out() {
    let mut other = stored("45");
    other["identifier"] = json!([{"system": fhir::EVENT_KEY_SYSTEM, "value": "another"}]);
    let stub = Stub::new([answer(200).json(&other)]).await;
    let error = create(&stub).await.unwrap_err();
    assert!(
        error.to_string().contains("ignores the search parameter"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_that_names_nothing_is_completed_by_searching() {
    let mut later = stored("46");
    later["meta"]["lastUpdated"] = "2026-11-21T10:00:01Z".into();
    let mut foreign = stored("1");
    foreign["identifier"] = json!([]);
    let found = json!({"resourceType": "Bundle", "entry": [{"resource": later}, {"resource": foreign}, {"resource": stored("44")}]});
    let stub = Stub::new([answer(201), answer(200).json(&found)]).await;
    assert_eq!(
        create(&stub).await.unwrap().reference.to_string(),
        "Communication/44"
    );
    assert_eq!(stub.lines()[1], "POST /fhir/Communication/_search");

    let stub = Stub::new([
        answer(201),
        answer(200).json(&json!({"resourceType": "Bundle"})),
    ])
    .await;
    let error = create(&stub).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later(None), "{error}");
}

#[tokio::test]
async fn conflicts_and_several_matches_are_told_apart() {
    let stub = Stub::new([answer(412)]).await;
    let error = create(&stub).await.unwrap_err();
    assert!(matches!(error, Error::SeveralMatch { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    let stub = Stub::new((0..5).map(|_| answer(409))).await;
    let error = create(&stub).await.unwrap_err();
    assert!(matches!(error, Error::VersionConflict { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Later(None));
    stub.seen();
    let stub = Stub::new([answer(409), answer(200).json(&stored("44"))]).await;
    assert!(create(&stub).await.unwrap().was_there);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_may_be_repeated() {
    let stub = Stub::new([
        answer(201).after(Duration::from_secs(5)),
        answer(200).json(&stored("44")),
    ])
    .await;
    let client = stub
        .builder()
        .timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let (json, condition) = (message().to_json().unwrap(), message().condition());
    let error = client
        .create_if_none_exist(&json, &condition)
        .await
        .unwrap_err();
    assert_eq!(error.retry(), Retry::Later(None));
    assert!(
        client
            .create_if_none_exist(&json, &condition)
            .await
            .unwrap()
            .was_there
    );
}

#[tokio::test]
async fn what_is_not_valid_is_never_sent() {
    let valid = message().to_json().unwrap();
    let broken = |name: &str, value: Value| {
        let mut json = valid.clone();
        json[name] = value;
        json
    };
    let stub = Stub::new([]).await;
    let client = stub.client();
    for json in [
        broken("status", "sent".into()),
        broken("status", Value::Null),
        broken("sent", "yesterday".into()),
        broken("sender", "Practitioner/1".into()),
        broken("payloads", json!([])),
        broken("category", json!({"text": "R4 has a list of them"})),
        broken(
            "payload",
            json!([{"contentString": "a", "contentReference": {"reference": "Task/1"}}]),
        ),
        broken("recipient", json!([])),
        broken("identifier", json!([])),
        broken("resourceType", "Messsage".into()),
        broken("resourceType", "no type".into()),
        json!([]),
    ] {
        let error = client
            .create_if_none_exist(&json, &message().condition())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{json}: {error}");
        assert_eq!(error.retry(), Retry::Never);
    }
    assert!(stub.lines().is_empty());
}

#[tokio::test]
async fn special_characters_in_a_condition_are_escaped() {
    let mut json = message().to_json().unwrap();
    let identifier = Identifier {
        system: Some("urn:x".into()),
        value: "a b&c=d,é|$".into(),
    };
    json["identifier"] = json!([{"system": "urn:x", "value": identifier.value}]);
    let stub = Stub::new([answer(201).header("location", "Communication/1")]).await;
    stub.client()
        .create_if_none_exist(&json, &Condition::identifier(identifier))
        .await
        .unwrap();
    assert_eq!(
        stub.seen()[0].header("if-none-exist").unwrap(),
        "identifier=urn:x|a%20b%26c%3Dd%5C%2C%C3%A9%5C|%5C%24"
    );
}

#[tokio::test]
async fn an_update_carries_its_version() {
    let stub = Stub::new([
        answer(200).header("etag", "W/\"2\""),
        answer(200)
            .json(&json!({"resourceType": "CareTeam", "id": "7", "meta": {"versionId": "3"}})),
        answer(200),
        answer(412),
        answer(409),
    ])
    .await;
    let client = stub.client();
    let team = json!({"resourceType": "CareTeam", "id": "7"});
    assert_eq!(
        client.update(&team, Some("1")).await.unwrap().as_deref(),
        Some("2")
    );
    assert_eq!(
        client.update(&team, Some("2")).await.unwrap().as_deref(),
        Some("3")
    );
    assert_eq!(client.update(&team, None).await.unwrap(), None);
    for _ in 0..2 {
        let error = client.update(&team, Some("1")).await.unwrap_err();
        assert!(matches!(error, Error::VersionConflict { .. }), "{error}");
    }
    let seen = stub.seen();
    assert_eq!(seen[0].line, "PUT /fhir/CareTeam/7");
    assert_eq!(seen[0].header("if-match"), Some("W/\"1\""));
    assert_eq!(seen[2].header("if-match"), None);
    for (json, version) in [
        (json!({"id": "7"}), None),
        (json!({"resourceType": "CareTeam"}), None),
        (team, Some("1\"\r\nx")),
    ] {
        assert!(matches!(
            client.update(&json, version).await.unwrap_err(),
            Error::Invalid { .. }
        ));
    }
}

fn team() -> ResourceRef {
    ResourceRef::try_new(ResourceType::CareTeam, "7").unwrap()
}

#[tokio::test]
async fn a_modification_keeps_what_it_doesnt_know() {
    let body = r#"{"resourceType":"CareTeam","id":"7","meta":{"versionId":"1"},"unknown":{"a":[1.10,1e2,-0.0,"1.10"]},"status":"odd"}"#;
    let stub = Stub::new([
        answer(200).text(body),
        answer(200).header("etag", "W/\"2\""),
    ])
    .await;
    let modified = stub
        .client()
        .modify(&team(), &mut |json| {
            json["name"] = "x".into();
            Edit::Changed
        })
        .await
        .unwrap();
    assert_eq!(modified, Modified::Stored(Some("2".into())));
    let put = &stub.seen()[1];
    assert_eq!(put.header("if-match"), Some("W/\"1\""));
    assert!(
        put.body
            .contains(r#""unknown":{"a":[1.10,1e2,-0.0,"1.10"]}"#),
        "{}",
        put.body
    );
    assert!(put.body.contains(r#""name":"x""#) && put.body.contains(r#""status":"odd""#));
}

#[tokio::test]
async fn numbers_survive_a_modification_as_they_were_written() {
    for number in [
        "1.10",
        "-0.50",
        "1e3",
        "1E+2",
        "7",
        "-7",
        "0.1",
        "1e400",
        "123456789012345678901234567890.1200",
        "0.000",
    ] {
        let read = format!(
            r#"{{"resourceType":"CareTeam","id":"7","meta":{{"versionId":"1"}},"n":{number},"t":"\"{number}\\"}}"#
        );
        let stub = Stub::new([answer(200).text(read), answer(200)]).await;
        stub.client()
            .modify(&team(), &mut |_| Edit::Changed)
            .await
            .unwrap();
        let put = &stub.seen()[1].body;
        assert!(
            put.contains(&format!(r#""n":{number},"#))
                && put.contains(&format!(r#""t":"\"{number}\\""#)),
            "{put}"
        );
    }
}

#[tokio::test]
async fn a_modification_begins_again_when_someone_was_faster_and_gives_up_in_the_end() {
    let version = |n: u32| {
        answer(200).json(
            &json!({"resourceType": "CareTeam", "id": "7", "meta": {"versionId": n.to_string()}}),
        )
    };
    let stub = Stub::new([
        version(1),
        answer(412),
        version(2),
        answer(409),
        version(3),
        answer(200).header("etag", "W/\"4\""),
    ])
    .await;
    let mut calls = 0;
    let modified = stub
        .client()
        .modify(&team(), &mut |_| {
            calls += 1;
            Edit::Changed
        })
        .await
        .unwrap();
    assert_eq!((modified, calls), (Modified::Stored(Some("4".into())), 3));
    let versions: Vec<_> = stub
        .seen()
        .iter()
        .filter_map(|s| s.header("if-match").map(str::to_owned))
        .collect();
    assert_eq!(versions, ["W/\"1\"", "W/\"2\"", "W/\"3\""]);

    let stub = Stub::new((1..=5).flat_map(|n| [version(n), answer(412)])).await;
    let error = stub
        .client()
        .modify(&team(), &mut |_| Edit::Changed)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::VersionConflict { .. }), "{error}");
    stub.seen();
}

#[tokio::test]
async fn a_modification_that_changes_nothing_writes_nothing() {
    let stub = Stub::new([
        answer(200)
            .json(&json!({"resourceType": "CareTeam", "id": "7", "meta": {"versionId": "1"}})),
        answer(410),
        answer(200).json(&json!({"resourceType": "CareTeam", "id": "7"})),
    ])
    .await;
    let client = stub.client();
    let modified = client
        .modify(&team(), &mut |_| Edit::Unchanged)
        .await
        .unwrap();
    assert_eq!(modified, Modified::Unchanged(Some("1".into())));
    assert_eq!(
        client
            .modify(&team(), &mut |_| Edit::Changed)
            .await
            .unwrap(),
        Modified::Gone
    );
    let error = client
        .modify(&team(), &mut |_| Edit::Changed)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("versioning"), "{error}");
    assert_eq!(stub.lines().len(), 3);
}

/// Whatever the client is asked to do can be done in a spawned task.
#[tokio::test]
async fn every_call_can_be_spawned() {
    fn spawnable<F: Future + Send>(_: F) {}
    let client = Stub::new([]).await.client();
    let (json, condition) = (message().to_json().unwrap(), message().condition());
    let query = fhir::HistoryQuery::since(None);
    let hook = fhir::RestHook {
        criteria: String::new(),
        endpoint: String::new().into(),
        bearer: String::new().into(),
        topic: None,
        lifetime: None,
    };
    spawnable(client.read(&team()));
    spawnable(client.search(&ResourceType::CareTeam, &[("a", "b")], 1));
    spawnable(client.history_since(&ResourceType::CareTeam, &query));
    spawnable(client.current_since(&ResourceType::CareTeam, &query));
    spawnable(client.create_if_none_exist(&json, &condition));
    spawnable(client.update(&json, None));
    spawnable(client.modify(&team(), &mut |_| Edit::Unchanged));
    spawnable(client.ensure_subscription(&hook));
    spawnable(client.capability());
}

#[tokio::test]
async fn a_deletion_waits_for_other_writers_and_what_is_gone_is_deleted() {
    let team = ResourceRef::try_new(ResourceType::CareTeam, "7").unwrap();
    for answers in [
        vec![answer(409), answer(409), answer(204)],
        vec![answer(404)],
        vec![answer(410)],
    ] {
        let asked = answers.len();
        let stub = Stub::new(answers).await;
        stub.client().delete(&team).await.unwrap();
        let seen = stub.seen();
        assert_eq!(seen.len(), asked);
        assert!(seen.iter().all(|one| one.line == "DELETE /fhir/CareTeam/7"));
    }
    // Something refers to it: that does not pass.
    let stub = Stub::new((0..5).map(|_| answer(409))).await;
    let error = stub.client().delete(&team).await.unwrap_err();
    assert!(matches!(error, Error::VersionConflict { status: 409, .. }));
    assert_eq!(stub.seen().len(), 5);
}

/// A resource from an event, its decimal as a string.
fn weight() -> Value {
    json!({"resourceType": "Observation", "status": "final", "code": {"text": "weight"},
        "valueQuantity": {"value": "70.50"}})
}

#[tokio::test]
async fn a_resource_from_an_event_is_created_once_under_its_tag_digit_by_digit() {
    let mut resource = weight();
    let condition = tag_event(&mut resource, "$event");
    let text = with_decimals(&resource);
    let mut other = weight();
    tag_event(&mut other, "$other");
    other["id"] = "5".into();
    let stub = Stub::new([answer(201).header("location", "Observation/4")]).await;
    let client = stub.client();
    let created = client
        .create_text_if_none_exist(text.clone(), &condition)
        .await
        .unwrap();
    assert_eq!(created.reference.to_string(), "Observation/4");
    let seen = &stub.seen()[0];
    assert!(seen.body.contains("70.50") && seen.body == text);
    let [_, key] = event_identifiers("$event");
    assert_eq!(
        seen.header("if-none-exist").unwrap(),
        format!("_tag={}|{}", fhir::EVENT_KEY_SYSTEM, key.value)
    );
    stub.then(answer(200).json(&other));
    let error = client.create_text_if_none_exist(text, &condition).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("ignores the search parameter"), "{error}");

    // Nothing is sent of what is no resource.
    for odd in ["{".to_owned(), resource.to_string(), weight().to_string()] {
        let refused = client.create_text_if_none_exist(odd, &condition).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(stub.seen().len(), 2);
}

#[tokio::test]
async fn a_resource_is_read_as_it_is_written_within_the_limit() {
    let text = r#"{"resourceType": "Observation", "id": "4", "valueQuantity": {"value": 70.50}}"#;
    let observation = ResourceRef::parse("Observation/4").unwrap();
    let other = ResourceRef::parse("Observation/5").unwrap();
    let stub = Stub::new([
        answer(200).text(text),
        answer(200).text(text),
        answer(404),
        answer(200).text(text),
    ])
    .await;
    let client = stub.client();
    let read = client.read_text(&observation).await.unwrap();
    assert_eq!(read.as_deref(), Some(text));
    assert!(client.read_text(&other).await.is_err());
    assert_eq!(client.read_text(&observation).await.unwrap(), None);
    let small = stub.builder().max_body_bytes(20).build().unwrap();
    let error = small.read_text(&observation).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}
