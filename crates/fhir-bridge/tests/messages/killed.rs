//! The bridge dies behind each of its writes, in a conversation with all that can happen to messages.

use std::{collections::HashSet, sync::Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    deadly::Deadly,
    place::{Place, reference},
};

/// Writes that the bridge must have died behind.
const STEPS: [&str; 6] = [
    "/send/m.room.message",
    "/redact/",
    "/upload",
    "/Communication",
    "/Binary/",
    "/Task",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_dies_behind_each_write_edits_and_takes_back_once() {
    let seen = Mutex::new(HashSet::new());
    let mut deadly = Deadly::set(move |asked| {
        // Each that was not seen before.
        let what = (asked.method.clone(), asked.path.clone(), asked.body.clone());
        let is_new = seen.lock().unwrap().insert(what);
        let route = asked.path.split('?').next().unwrap_or_default();
        is_new.then(|| format!("{} {route}", asked.method))
    })
    .await;
    let place = deadly.open(|_| {}).await;
    let deaths = deadly.during(&place, converse(&place)).await;
    for step in STEPS {
        assert!(
            deaths.iter().any(|death| death.contains(step)),
            "it never died behind {step}: {deaths:?}"
        );
    }
    place.stays_the_same().await;
    let (ours, gps, stored) = place.count().await;
    // Two parts and an edit of the nurse's, a notice of the bridge's; text, edit and file of the GP's.
    assert_eq!(
        (ours, gps, stored),
        (4, 3, 3),
        "each once; it died {} times",
        deaths.len()
    );
    place.bridge.stop().await;
}

async fn converse(place: &Place) {
    let note = STANDARD.encode("a note");
    let asked = place
        .nurse_writes(json!([
            {"contentString": "asked"},
            {"contentAttachment": {"contentType": "text/plain", "title": "note.txt", "data": note}},
        ]))
        .await;
    let question = place.sent(&asked, 2).await;
    let answer = place
        .gp_says(json!({"msgtype": "m.text", "body": "answered",
            "m.relates_to": {"m.in_reply_to": {"event_id": question[0]}}}))
        .await;
    let answered = reference(&place.stored(&answer).await);
    place
        .change(&asked, |json| {
            json["payload"][0]["contentString"] = "asked again".into();
        })
        .await;
    place
        .find("an edit", |event| {
            event.content["m.new_content"]["body"] == "asked again"
        })
        .await;
    place
        .gp_says(json!({"msgtype": "m.text", "body": "* more",
            "m.new_content": {"msgtype": "m.text", "body": "more"},
            "m.relates_to": {"rel_type": "m.replace", "event_id": answer}}))
        .await;
    let says = async |text: &str| {
        place
            .until(text, async || {
                (place.read(&answered).await["payload"][0]["contentString"] == text).then_some(())
            })
            .await;
    };
    says("more").await;
    place
        .change(&answered, |json| {
            json["payload"][0]["contentString"] = "amended".into();
        })
        .await;
    place
        .find("a notice", |event| event.body().ends_with("amended"))
        .await;
    let uri = place.upload("application/pdf", vec![7; 100_000]).await;
    let file = place
        .gp_says(json!({"msgtype": "m.file", "body": "a.pdf", "url": uri,
            "info": {"mimetype": "application/pdf"}}))
        .await;
    let stored = place.stored(&file).await;
    let binary = stored["payload"][0]["contentAttachment"]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    place.gp_redacts(&file).await;
    place
        .until("the file's end", async || {
            let now = place.read(&reference(&stored)).await;
            (now["status"] == "entered-in-error" && place.status(&binary).await == 410)
                .then_some(())
        })
        .await;
    place
        .change(&asked, |json| json["status"] = "entered-in-error".into())
        .await;
    for event in &question {
        place.is_redacted(event).await;
    }
    place
        .until("the readers' tasks", async || {
            (place.tasks(&answered, &place.nurse).await.len() == 1).then_some(())
        })
        .await;
}
