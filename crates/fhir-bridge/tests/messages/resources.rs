//! FHIR resources as events of their own (MSC4302), both ways.

use std::sync::Mutex;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use testbed::{BridgeSetup, Testbed};

use crate::{
    between::{self, Fate},
    deadly::Deadly,
    place::{Place, event_ids, reference},
};

const KIND: &str = "de.gematik.fhir";
const DEFINITION: &str = "de.gematik.fhir.structure_definition";
const RESOURCE: &str = "de.gematik.fhir.resource";
const FILE: &str = "de.gematik.fhir.file";
const BASE: &str = "http://hl7.org/fhir/StructureDefinition";

fn set(setup: &mut BridgeSetup) {
    setup.config = Some(json!({"messages": {
        "resource_types": ["Observation", "Questionnaire", "QuestionnaireResponse"], "proof": true,
    }}));
}

/// A weight whose last digit counts.
fn weight(client: &str) -> Value {
    json!({
        "resourceType": "Observation", "status": "final", "code": {"text": "weight"},
        "subject": {"reference": client},
        "valueQuantity": {"value": "70.50", "unit": "kg"},
    })
}

fn with_digits(resource: &Value) -> String {
    resource.to_string().replace("\"70.50\"", "70.50")
}

/// A form that no event can hold.
fn form() -> Value {
    let items: Vec<Value> = (0..1_200)
        .map(|n| json!({"linkId": n.to_string(), "type": "decimal", "text": "An invented question, as long as they are."}))
        .collect();
    json!({"resourceType": "Questionnaire", "status": "active", "item": items,
        "meta": {"profile": ["https://example.org/StructureDefinition/Intake|2.1"]}})
}

/// The content of an event that somebody sends.
fn offer(names: &str, kind: &str, resource: &Value) -> Value {
    json!({
        format!("{names}.structure_definition"): {"url": format!("{BASE}/{kind}"), "version": "4.0.1",
            "type": kind, "fhir_version": "4.0.1"},
        format!("{names}.resource"): resource,
        "de.gematik.text": [{"body": "70,5 kg"}],
        "de.gematik.request.status": {"from_device": "PHONE"},
    })
}

async fn gp_sends(place: &Place, kind: &str, content: Value) -> String {
    place.gp.send(&place.room, kind, content).await.unwrap()
}

/// The answer to who asked what became of an event.
async fn status_of(place: &Place, event: &str) -> Value {
    let answer = place
        .find("proof", |one| {
            one.kind == "de.gematik.response.status"
                && one.content["m.relates_to"]["event_id"] == event
        })
        .await;
    answer.content["de.gematik.response.status"].clone()
}

/// How many events with resources the record's people have sent.
async fn shown(place: &Place) -> usize {
    let events = place.timeline().await;
    let shown = events
        .iter()
        .filter(|one| one.kind == KIND && one.sender != place.gp.user_id());
    shown
        .filter(|one| one.content[DEFINITION].is_object())
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_message_refers_to_is_an_event_in_its_room() {
    let place = Place::open_with(set).await;
    let client = place.client().await;
    let text = with_digits(&weight(&client));
    let observation = place.create_text("Observation", text).await;
    let payload = json!([
        {"contentString": "weighed"},
        {"contentReference": {"reference": observation}},
        {"contentReference": {"reference": place.doctor}},
    ]);
    let message = place
        .nurse_writes_with(payload, |json| json["sent"] = "2026-11-01T10:00:00Z".into())
        .await;
    let events = place.sent(&message, 4).await;
    for event in &events {
        let at = place.wait_for_event(event).await["origin_server_ts"].clone();
        assert_eq!(at, 1_793_527_200_000_u64, "when it was said");
    }
    let line = place.wait_for_event(&events[1]).await;
    assert_eq!(line["type"], "m.room.message");
    let line = line["content"]["body"].as_str().unwrap().to_owned();
    assert!(line.contains("Observation"), "{line}");
    let event = place.wait_for_event(&events[3]).await;
    assert_eq!(event["type"], KIND);
    let content = &event["content"];
    assert_eq!(
        content[DEFINITION],
        json!({"url": format!("{BASE}/Observation"), "version": "4.0.1", "type": "Observation",
            "fhir_version": "4.0.1"})
    );
    assert_eq!(content[RESOURCE]["valueQuantity"]["value"], "70.50");
    let text = content["de.gematik.text"][0]["body"].as_str().unwrap();
    assert!(text.contains("Observation"), "{text}");

    large(&place).await;

    // Another one takes its place.
    let height = json!({"resourceType": "Observation", "status": "final",
        "code": {"text": "height"}, "subject": {"reference": client}});
    let other = place.create(&height).await;
    place
        .change(&message, |json| {
            json["payload"][1]["contentReference"]["reference"] = other.clone().into();
        })
        .await;
    let id = other.split('/').nth(1).unwrap();
    let instead = place
        .find("the other resource", |event| {
            event.content[RESOURCE]["id"] == id
        })
        .await;
    place.is_redacted(&events[3]).await;
    // The record names it before anything else is done to the message.
    place
        .until("its id in the record", async || {
            event_ids(&place.read(&message).await)
                .contains(&instead.event_id)
                .then_some(())
        })
        .await;
    // None any more, and the same one again: as an event of its own, for the first one is gone.
    let refers = async |payload: Value| {
        let change = |json: &mut Value| json["payload"][1] = payload.clone();
        place.change(&message, change).await;
    };
    refers(json!({"contentString": "not measured"})).await;
    place.is_redacted(&instead.event_id).await;
    refers(json!({"contentReference": {"reference": other}})).await;
    let again = place
        .find("the same resource again", |event| {
            event.content[RESOURCE]["id"] == id && event.event_id != instead.event_id
        })
        .await;
    place
        .change(&message, |json| json["status"] = "entered-in-error".into())
        .await;
    place.is_redacted(&again.event_id).await;
    place.stays_the_same().await;
    assert_eq!(shown(&place).await, 1, "the form alone");
    place.bridge.stop().await;
}

async fn large(place: &Place) {
    let form = place.create(&form()).await;
    let message = place
        .nurse_writes(json!([{"contentReference": {"reference": form}}]))
        .await;
    let events = place.sent(&message, 2).await;
    let content = place.wait_for_event(&events[1]).await["content"].clone();
    assert_eq!(
        content[DEFINITION]["url"],
        "https://example.org/StructureDefinition/Intake"
    );
    assert_eq!(content[DEFINITION]["version"], "2.1");
    assert!(content.get(RESOURCE).is_none());
    let file = &content[FILE];
    assert_eq!(file["mimetype"], "application/fhir+json");
    assert_eq!(file["name"], "Questionnaire.json");
    let bytes = place.download(file["url"].as_str().unwrap()).await;
    assert_eq!(file["size"], bytes.len());
    let came: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(came, place.read(&form).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_that_people_send_are_in_the_record_once_and_proven() {
    let place = Place::open_with(set).await;
    let client = place.client().await;
    let mut sent = Vec::new();
    for names in [KIND, "de.gematik.msc4302.fhir", "m.fhir"] {
        let event = gp_sends(&place, names, offer(names, "Observation", &weight(&client))).await;
        let stored = place.stored(&event).await;
        assert_eq!(stored["payload"][0]["contentString"], "70,5 kg");
        let to = stored["payload"][1]["contentReference"]["reference"].as_str();
        let to = to.unwrap().to_owned();
        let text = place.text_of(&to).await;
        let compact: String = text.split_whitespace().collect();
        assert!(compact.contains("\"value\":70.50,"), "{text}");
        let status = status_of(&place, &event).await;
        assert_eq!(
            status,
            json!({"from_device": "fhir-bridge", "to_device": "PHONE", "status": "success"})
        );
        sent.push((event, to));
    }
    let file = in_a_file(&place, &client).await;
    refusals(&place, &client).await;

    // A bridge that begins anew finds what is there.
    place.bridge.kill().await;
    place.bridge.restart().await.unwrap();
    place.stays_the_same().await;
    let all = place.found(&format!("Observation?subject={client}")).await;
    assert_eq!(all.len(), sent.len());
    assert_eq!(shown(&place).await, 0, "nothing is sent back");

    // What is taken back goes, unless others refer to it by now.
    let (event, to) = &sent[0];
    place.gp_redacts(event).await;
    place
        .until("the end of an observation", async || {
            (place.status(to).await == 410).then_some(())
        })
        .await;
    let (event, to) = &sent[1];
    let listed = json!({"resourceType": "List", "status": "current", "mode": "working",
        "entry": [{"item": {"reference": to}}]});
    place.create(&listed).await;
    let message = reference(&place.stored(event).await);
    place.gp_redacts(event).await;
    place
        .until("a message that is taken back", async || {
            let now = place.read(&message).await;
            (now["status"] == "entered-in-error" && now.get("payload").is_none()).then_some(())
        })
        .await;
    place.stays_the_same().await;
    assert_eq!(place.status(to).await, 200);
    assert_eq!(place.status(&file).await, 200);
    let log = place.bridge.log_text().unwrap();
    assert!(!log.contains("dead letter") && !log.contains("70,5"));
    place.bridge.stop().await;
}

async fn in_a_file(place: &Place, client: &str) -> String {
    let items: Vec<Value> = (0..1_200)
        .map(|n| json!({"linkId": n.to_string(), "answer": [{"valueDecimal": "70.50"}]}))
        .collect();
    let filled = json!({"resourceType": "QuestionnaireResponse", "status": "completed",
        "identifier": {"system": "urn:test", "value": "70.5"},
        "subject": {"reference": client}, "author": {"reference": place.doctor}, "item": items});
    let text = with_digits(&filled);
    let bytes = text.into_bytes();
    let mut content = offer(KIND, "QuestionnaireResponse", &Value::Null);
    content[DEFINITION]["url"] = "https://example.org/StructureDefinition/Filled".into();
    content[DEFINITION]["version"] = "3".into();
    content[FILE] = json!({"url": place.upload("application/fhir+json", bytes.clone()).await,
        "name": "filled.json", "mimetype": "application/fhir+json", "size": bytes.len()});
    content.as_object_mut().unwrap().remove(RESOURCE);
    let event = gp_sends(place, KIND, content).await;
    let stored = place.stored(&event).await;
    let to = stored["payload"][1]["contentReference"]["reference"].as_str();
    let to = to.unwrap().to_owned();
    let came = place.read(&to).await;
    assert_eq!(came["item"].as_array().unwrap().len(), 1_200);
    assert_eq!(
        came["meta"]["profile"],
        json!(["https://example.org/StructureDefinition/Filled|3"])
    );
    assert_eq!(came["identifier"]["value"], "70.5");
    assert!(place.text_of(&to).await.contains("70.50"));
    assert_eq!(status_of(place, &event).await["status"], "success");
    to
}

/// What can't be taken is told in the room, in the record and to who asked, and nothing of it is stored.
async fn refusals(place: &Place, client: &str) {
    let other = place.create(&json!({"resourceType": "Patient"})).await;
    let mut no_definition = offer(KIND, "Observation", &weight(client));
    no_definition.as_object_mut().unwrap().remove(DEFINITION);
    // Of a member, by somebody who is none; and of something that the record doesn't have.
    let mut by_stranger = weight(client);
    by_stranger["performer"] = json!([{"reference": other}]);
    let mut of_nothing = weight(client);
    of_nothing["device"] = json!({"reference": "Device/not-there"});
    let mut invalid = weight(client);
    invalid["status"] = "invented".into();
    let uri = place
        .upload("application/fhir+json", vec![b' '; 1_100_000])
        .await;
    let mut too_large = offer(KIND, "Observation", &Value::Null);
    too_large.as_object_mut().unwrap().remove(RESOURCE);
    too_large[FILE] = json!({"url": uri, "name": "x.json"});
    for (content, words) in [
        (
            offer(KIND, "Patient", &json!({"resourceType": "Patient"})),
            "resources of its type",
        ),
        (
            offer(KIND, "Observation", &weight(&other)),
            "not part of this",
        ),
        (
            offer(KIND, "Observation", &weight("Patient?active=true")),
            "not part of this",
        ),
        (offer(KIND, "Observation", &by_stranger), "not part of this"),
        (
            offer(KIND, "Observation", &of_nothing),
            "server does not take it",
        ),
        (offer(KIND, "Observation", &invalid), "not valid FHIR"),
        (
            offer(KIND, "Observation", &json!({"resourceType": "Patient"})),
            "not of the type",
        ),
        (no_definition, "structure definition"),
        (too_large, "too large"),
    ] {
        let event = gp_sends(place, KIND, content).await;
        let stored = place.stored(&event).await;
        let text = stored["payload"][0]["contentString"].as_str().unwrap();
        assert!(text.contains("left out") && text.contains(words), "{text}");
        assert_eq!(stored["payload"].as_array().unwrap().len(), 1);
        place
            .find("an answer of the bridge", |one| {
                one.sender == place.bot
                    && one.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event.as_str()
                    && one.body().contains(words)
            })
            .await;
        let status = status_of(place, &event).await;
        assert_eq!(status["status"], "error");
        let why = status["messages"][0]["de.gematik.text"][0]["body"].as_str();
        assert!(why.unwrap().contains(words), "{status}");
    }
    let theirs = place.found(&format!("Observation?subject={other}")).await;
    assert!(theirs.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_a_resource_is_told_of_and_carried_neither_way() {
    let place = Place::open().await;
    let client = place.client().await;
    let observation = place
        .create_text("Observation", with_digits(&weight(&client)))
        .await;
    let message = place
        .nurse_writes(json!([{"contentReference": {"reference": observation}}]))
        .await;
    let line = place.sent(&message, 1).await.remove(0);
    assert_eq!(place.wait_for_event(&line).await["type"], "m.room.message");
    let event = gp_sends(&place, KIND, offer(KIND, "Observation", &weight(&client))).await;
    let stored = place.stored(&event).await;
    let text = stored["payload"][0]["contentString"].as_str().unwrap();
    assert!(text.contains("left out") && text.contains(KIND), "{text}");
    place
        .find("an answer of the bridge", |one| {
            one.sender == place.bot
                && one.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event.as_str()
        })
        .await;
    place.stays_the_same().await;
    assert_eq!(shown(&place).await, 0);
    let all = place.found(&format!("Observation?subject={client}")).await;
    assert_eq!(all.len(), 1);
    place.bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resource_that_the_bridge_may_not_read_or_that_is_too_large_holds_up_nothing() {
    let testbed = Testbed::shared().await.unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let fhir = between::put(&fhir, |asked| {
        if asked.method == Method::GET && asked.path.contains("/Observation/") {
            return Fate::Instead(StatusCode::FORBIDDEN);
        }
        Fate::Pass
    })
    .await;
    let place = Place::open_with(|setup| {
        setup.fhir = fhir;
        setup.config = Some(json!({"messages": {
            "resource_types": ["Observation"], "max_resource_bytes": 2_000, "proof": true,
        }}));
    })
    .await;
    let client = place.client().await;
    let closed = place.create_text("Observation", with_digits(&weight(&client)));
    let closed = closed.await;
    let message = place
        .nurse_writes(
            json!([{"contentString": "weighed"}, {"contentReference": {"reference": closed}}]),
        )
        .await;
    let line = place.sent(&message, 2).await.remove(1);
    let line = place.wait_for_event(&line).await["content"]["body"].clone();
    assert!(line.as_str().unwrap().contains("Observation"), "{line}");
    let next = place.nurse_writes(json!([{"contentString": "next"}])).await;
    place.sent(&next, 1).await;

    // In an event, and above the limit.
    let mut large = weight(&client);
    large["note"] = json!([{"text": "Onverkort. ".repeat(200)}]);
    let event = gp_sends(&place, KIND, offer(KIND, "Observation", &large)).await;
    let stored = place.stored(&event).await;
    let text = stored["payload"][0]["contentString"].as_str().unwrap();
    assert!(text.contains("too large"), "{text}");
    assert_eq!(status_of(&place, &event).await["status"], "error");
    place.stays_the_same().await;
    assert_eq!(shown(&place).await, 0, "nothing of the one that is closed");
    let all = place.found(&format!("Observation?subject={client}")).await;
    assert_eq!(all.len(), 1);
    let log = place.bridge.log_text().unwrap();
    assert!(log.contains("doesn't let the bridge read it") && !log.contains("dead letter"));
    place.bridge.stop().await;
}

/// Writes that the bridge has to die behind.
const STEPS: [&str; 4] = [
    "/Observation",
    "/Communication",
    "/send/de.gematik.fhir/",
    "/upload",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_dies_behind_each_write_carries_a_resource_once() {
    let left = Mutex::new(STEPS.to_vec());
    let mut deadly = Deadly::set(move |asked| {
        // The first of each.
        let mut left = left.lock().unwrap();
        let at = left.iter().position(|step| asked.path.contains(step))?;
        Some(left.remove(at).to_owned())
    })
    .await;
    let place = deadly.open(set).await;
    let client = place.client().await;
    let form = place.create(&form()).await;
    let converse = async {
        let event = gp_sends(&place, KIND, offer(KIND, "Observation", &weight(&client))).await;
        place.stored(&event).await;
        assert_eq!(status_of(&place, &event).await["status"], "success");
        let message = place
            .nurse_writes(json!([{"contentReference": {"reference": form}}]))
            .await;
        place.sent(&message, 2).await;
    };
    let mut deaths = deadly.during(&place, converse).await;
    place.stays_the_same().await;
    deaths.sort_unstable();
    let mut steps = STEPS;
    steps.sort_unstable();
    assert_eq!(deaths, steps, "it died behind each");
    let all = place.found(&format!("Observation?subject={client}")).await;
    assert_eq!(all.len(), 1, "one resource");
    assert_eq!(shown(&place).await, 1, "one event");
    let proofs = place.timeline().await;
    let proofs = proofs
        .iter()
        .filter(|one| one.kind == "de.gematik.response.status");
    assert_eq!(proofs.count(), 1, "proven once");
    place.bridge.stop().await;
}
