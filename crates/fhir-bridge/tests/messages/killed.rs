//! The bridge dies behind each of its writes, in a conversation with all that can happen to messages.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::http::Method;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use testbed::Testbed;
use tokio::sync::mpsc;

use crate::{
    between::{self, Asked, Fate},
    place::{Place, reference},
};

/// Swallows the answer to each write that has not been seen before, and has the bridge killed.
fn deadly(
    kill: mpsc::UnboundedSender<String>,
    armed: Arc<AtomicBool>,
) -> impl Fn(&Asked) -> Fate + Send + Sync + 'static {
    let seen = Mutex::new(HashSet::new());
    move |asked| {
        let is_write = asked.method == Method::PUT
            || asked.method == Method::DELETE
            || asked.method == Method::POST
                && !asked.path.ends_with("/_search")
                && !asked.path.ends_with("/ping");
        let what = (asked.method.clone(), asked.path.clone(), asked.body.clone());
        if armed.load(Relaxed)
            && asked.succeeded == Some(true)
            && is_write
            && seen.lock().unwrap().insert(what)
        {
            let route = asked.path.split('?').next().unwrap_or_default();
            kill.send(format!("{} {route}", asked.method)).unwrap();
            return Fate::Silence;
        }
        Fate::Pass
    }
}

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
    let testbed = Testbed::shared().await.unwrap();
    let (kill, mut killed) = mpsc::unbounded_channel();
    let armed = Arc::new(AtomicBool::new(false));
    let vvt = testbed.homeserver("vvt").unwrap().client_url().clone();
    let fhir = testbed.start_fhir().await.unwrap();
    let homeserver = between::put(&vvt, deadly(kill.clone(), armed.clone())).await;
    let fhir = between::put(&fhir, deadly(kill, armed.clone())).await;
    let place = Place::open_with(|setup| {
        setup.homeserver = homeserver;
        setup.fhir = fhir;
    })
    .await;
    armed.store(true, Relaxed);
    let mut deaths = Vec::new();
    let dying = async {
        loop {
            let behind = killed.recv().await.unwrap();
            place.bridge.kill().await;
            deaths.push(behind);
            // What else had been done by then, beside it: of that, too, it never heard.
            while let Ok(also) = killed.try_recv() {
                deaths.push(also);
            }
            place.bridge.restart().await.unwrap();
        }
    };
    tokio::select! {
        () = converse(&place) => {}
        () = dying => unreachable!(),
    }
    armed.store(false, Relaxed);
    place.bridge.restart_if_dead().await.unwrap();
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
