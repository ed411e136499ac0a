//! Nothing about people, and no secret, gets into an error, a log or `Debug`.

use std::{
    fmt::Debug,
    io::Write,
    sync::{Arc, Mutex},
};

use fhir::{
    CareTeam, Communication, CommunicationRequest, Condition, Edit, HistoryQuery, Identifier,
    NewCommunication, Person, ResourceRef, ResourceType, RestHook, Sender,
};
use serde_json::{Value, json};
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt};

use crate::{
    codecs::base,
    stub::{Answer, Stub, answer},
    writing::message,
};

const CANARY: &str = "Canarina";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn check(what: &str, text: &str) {
    assert!(!text.contains(CANARY), "{what} shows a canary: {text}");
}

fn check_result<T: Debug, E: Debug + std::error::Error>(what: &str, result: &Result<T, E>) {
    check(what, &format!("{result:?} {result:#?}"));
    if let Err(error) = result {
        check(what, &error.to_string());
        let mut source = error.source();
        while let Some(error) = source {
            check(what, &format!("{error} {error:?}"));
            source = error.source();
        }
    }
}

/// A person's resource, full of canaries, its id included.
fn person(resource_type: &str) -> Value {
    json!({"resourceType": resource_type, "id": CANARY, "meta": {"versionId": "1", "lastUpdated": "2026-11-21T10:00:00Z"},
        "name": [{"text": CANARY}], "identifier": [{"system": "urn:x", "value": CANARY}],
        "telecom": [{"system": "other", "value": format!("@{CANARY}:a.example")}]})
}

fn faults() -> Vec<Answer> {
    let outcome = json!({"resourceType": "OperationOutcome", "text": {"div": CANARY}, "issue": [
        {"severity": "error", "code": "value", "diagnostics": CANARY, "details": {"text": CANARY},
         "expression": [format!("Patient.where(name='{CANARY}')"), CANARY], "location": [format!("Patient.{CANARY}")]},
        {"severity": "error", "code": CANARY}]});
    let mut answers: Vec<Answer> = [302, 400, 401, 403, 409, 412, 418, 422, 429, 500, 501, 503]
        .into_iter()
        .map(|status| {
            answer(status)
                .header("location", format!("http://a.example/{CANARY}"))
                .header("retry-after", CANARY)
                .json(&outcome)
        })
        .collect();
    answers.push(answer(200).text(CANARY));
    answers.push(answer(200).text(format!("{{\"resourceType\": \"{CANARY}\"")));
    answers.push(
        answer(200)
            .header("location", format!("{CANARY}/{CANARY}"))
            .json(&person("Patient")),
    );
    answers.push(answer(200).json(&json!({"resourceType": "Bundle", "link": [{"relation": "next", "url": format!("http://{CANARY}.example/")}],
        "entry": [{"resource": person("Patient")}, {"resource": {"resourceType": "Patient", "x": CANARY}}, {"resource": {"resourceType": "Patient", "id": format!("{CANARY} {CANARY}")}},
            {"fullUrl": CANARY, "request": {"method": "DELETE", "url": CANARY}}]})));
    answers
}

#[tokio::test]
async fn no_error_and_no_log_line_shows_what_passes_through() {
    let log = Log::default();
    let writer = log.clone();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .with_filter(Targets::new().with_target("fhir", tracing::Level::TRACE));
    // For the whole program: a subscriber of one thread is not always asked while other threads
    // have none.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();

    let patient = ResourceRef::try_new(ResourceType::Patient, CANARY).unwrap();
    let mut json = message().to_json().unwrap();
    let identifier = Identifier {
        system: Some("urn:x".into()),
        value: CANARY.into(),
    };
    json["identifier"] = json!([{"system": "urn:x", "value": CANARY}]);
    json["payload"] = json!([{"contentString": CANARY}]);
    let condition = Condition::identifier(identifier);
    let hook = RestHook {
        criteria: format!("Patient?name={CANARY}"),
        endpoint: format!("http://bridge.example/{CANARY}").into(),
        bearer: CANARY.to_owned().into(),
        topic: None,
        lifetime: None,
    };
    let calls = faults().len();
    for call in 0..7 {
        for fault in 0..calls {
            // The same fault again and again, for calls that make several requests.
            let again = (0..3).filter_map(|_| faults().into_iter().nth(fault));
            let stub = Stub::new(again).await;
            let client = stub
                .builder()
                .bearer(CANARY.to_owned().into())
                .build()
                .unwrap();
            match call {
                0 => check_result("read", &client.read(&patient).await),
                1 => check_result(
                    "search",
                    &client
                        .search(&ResourceType::Patient, &[("name", CANARY)], 10)
                        .await,
                ),
                2 => check_result(
                    "history",
                    &client
                        .history_since(&ResourceType::Patient, &HistoryQuery::since(None))
                        .await,
                ),
                3 => check_result(
                    "create",
                    &client.create_if_none_exist(&json, &condition).await,
                ),
                4 => check_result(
                    "update",
                    &client.update(&person("Patient"), Some("1")).await,
                ),
                5 => check_result(
                    "modify",
                    &client.modify(&patient, &mut |_| Edit::Changed).await,
                ),
                _ => check_result("subscribe", &client.ensure_subscription(&hook).await),
            }
            check("client", &format!("{client:?}"));
        }
    }
    check("hook and condition", &format!("{hook:?} {condition:?}"));
    json["status"] = CANARY.into();
    let stub = Stub::new([]).await;
    check_result(
        "invalid",
        &stub.client().create_if_none_exist(&json, &condition).await,
    );
    check_result(
        "token",
        &stub.builder().bearer(format!("{CANARY}\n").into()).build(),
    );
    check_result(
        "base",
        &fhir::FhirClient::builder(&format!("http://{CANARY}:{CANARY}@a.example")).build(),
    );

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("Patient/_search"), "the log was captured");
    check("log", &log);
}

#[test]
fn no_type_shows_its_contents_in_debug() {
    let message_json = json!({"resourceType": "Communication", "id": "1", "status": CANARY,
        "identifier": [{"system": "urn:x", "value": CANARY}], "extension": [{"url": fhir::SOURCE_SYSTEM_EXTENSION, "valueString": CANARY}],
        "sender": {"display": CANARY, "reference": format!("#{CANARY}"), "identifier": {"value": CANARY}},
        "subject": {"reference": format!("Patient/{CANARY}")}, "recipient": [{"reference": format!("Practitioner/{CANARY}")}, {"display": CANARY}],
        "payload": [{"contentString": CANARY}, {"contentAttachment": {"title": CANARY, "data": CANARY, "url": CANARY, "contentType": CANARY}}, {"contentReference": {"display": CANARY}}]});
    let read = Communication::from_json(&message_json, &base()).unwrap();
    check(
        "Communication",
        &format!(
            "{read:?} {:?} {:?} {:?} {:?} {:?}",
            read.sender, read.recipients, read.subject, read.payload, read.identifiers
        ),
    );

    let mut thread = message_json.clone();
    thread["resourceType"] = "CommunicationRequest".into();
    thread["reasonCode"] = json!([{"text": CANARY}]);
    check(
        "CommunicationRequest",
        &format!(
            "{:?}",
            CommunicationRequest::from_json(&thread, &base()).unwrap()
        ),
    );

    let team = json!({"resourceType": "CareTeam", "id": "1", "name": CANARY, "subject": {"display": CANARY},
        "participant": [{"member": {"reference": format!("RelatedPerson/{CANARY}"), "display": CANARY}, "role": [{"text": CANARY, "coding": [{"code": CANARY, "display": CANARY}]}]}]});
    let team = CareTeam::from_json(&team, &base()).unwrap();
    check(
        "CareTeam",
        &format!(
            "{team:?} {:?} {:?}",
            team.participants, team.participants[0].roles
        ),
    );

    for resource_type in [
        "Patient",
        "Practitioner",
        "RelatedPerson",
        "PractitionerRole",
    ] {
        let person = Person::from_json(&person(resource_type), &base()).unwrap();
        check(
            "Person",
            &format!(
                "{person:?} {:?} {:?}",
                person.matrix_accounts, person.identifiers
            ),
        );
    }
    let new = NewCommunication {
        payload: vec![fhir::NewPayload::Text(CANARY.into())],
        event_id: CANARY.into(),
        sender: Sender::MatrixUser {
            user_id: CANARY.into(),
            display: Some(CANARY.into()),
        },
        ..message()
    };
    check("NewCommunication", &format!("{new:?} {:?}", new.sender));
}
