//! Messages that are changed or taken back, on either side.

use serde_json::{Value, json};

use crate::place::{Place, event_ids, reference};

fn edit(event: &str, body: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": format!("* {body}"),
        "m.new_content": {"msgtype": "m.text", "body": body},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    })
}

fn says(message: &Value, text: &str) -> bool {
    message["payload"][0]["contentString"] == text
}

/// Whether an event edits another one and says this.
fn edits(event: &testbed::Event, original: &str, body: &str) -> bool {
    let relation = &event.content["m.relates_to"];
    relation["rel_type"] == "m.replace"
        && relation["event_id"] == original
        && event.content["m.new_content"]["body"] == body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_and_redactions_come_through_both_ways_and_are_not_echoed() {
    let place = Place::open().await;
    from_the_record(&place).await;
    let (message, event) = from_matrix(&place).await;
    strangers(&place, &message, &event).await;
    in_both(&place).await;
    taken_back(&place, &message, &event).await;
    place.stays_the_same().await;
    place.bridge.stop().await;
}

/// A new version becomes an edit by the ghost; what the bridge writes into the record itself becomes none.
async fn from_the_record(place: &Place) {
    let message = place
        .nurse_writes(json!([{"contentString": "one"}, {"contentString": "two"}]))
        .await;
    let events = place.sent(&message, 2).await;
    place
        .change(&message, |json| {
            json["payload"][1]["contentString"] = "deux".into();
        })
        .await;
    let edited = place
        .find("an edit", |event| edits(event, &events[1], "deux"))
        .await;
    assert_eq!(
        edited.sender,
        place.event(&events[0]).await.unwrap()["sender"]
            .as_str()
            .unwrap()
    );
    // Something that is not said changes nothing in the room.
    place
        .change(&message, |json| json["priority"] = "urgent".into())
        .await;
    // A part more, a part less.
    place
        .change(&message, |json| {
            json["payload"] = json!([{"contentString": "one"}, {"contentString": "deux"}, {"contentString": "three"}]);
        })
        .await;
    place
        .find("a new part", |event| event.body() == "three")
        .await;
    place
        .change(&message, |json| {
            json["payload"] = json!([{"contentString": "uno"}]);
        })
        .await;
    place
        .find("an edit", |event| edits(event, &events[0], "uno"))
        .await;
    place.is_redacted(&events[1]).await;
    place.is_redacted(&edited.event_id).await;
    let replacements = place.timeline().await;
    let replacements = replacements
        .iter()
        .filter(|event| event.content["m.relates_to"]["rel_type"] == "m.replace")
        .count();
    assert_eq!(
        replacements, 1,
        "one edit is left, and none came of nothing"
    );
}

/// An edit in Matrix updates the same resource, whose history keeps the old text.
async fn from_matrix(place: &Place) -> (String, String) {
    let event = place
        .gp_says(json!({"msgtype": "m.text", "body": "first"}))
        .await;
    let message = reference(&place.stored(&event).await);
    let second = place.gp_says(edit(&event, "second")).await;
    place.gp_says(edit(&event, "third")).await;
    place
        .until("the last edit", async || {
            says(&place.read(&message).await, "third").then_some(())
        })
        .await;
    let history = place.read(&format!("{message}/_history")).await.to_string();
    for text in ["first", "second"] {
        assert!(history.contains(text), "{text} is in the history");
    }
    assert_eq!(
        event_ids(&place.read(&message).await).as_slice(),
        std::slice::from_ref(&event)
    );
    // An edit that is taken back: the one before counts again, or stays the latest.
    place.gp_redacts(&second).await;
    let last = place.gp_says(edit(&event, "wrong")).await;
    place
        .until("an edit", async || {
            says(&place.read(&message).await, "wrong").then_some(())
        })
        .await;
    place.gp_redacts(&last).await;
    place
        .until("the edit before it", async || {
            says(&place.read(&message).await, "third").then_some(())
        })
        .await;
    (message, event)
}

/// Only the sender's edits count.
async fn strangers(place: &Place, message: &str, event: &str) {
    let nurse = place.nurse_writes(json!([{"contentString": "mine"}])).await;
    let nurse_event = place.sent(&nurse, 1).await.remove(0);
    // A homeserver takes no relation to what it doesn't have yet.
    place.wait_for_event(&nurse_event).await;
    place.gp_says(edit(&nurse_event, "not yours")).await;
    // What comes behind it in the room is there: so it was looked at.
    let behind = place
        .gp_says(json!({"msgtype": "m.text", "body": "behind"}))
        .await;
    place.stored(&behind).await;
    assert!(says(&place.read(&nurse).await, "mine"));
    assert!(says(&place.read(message).await, "third"));
    assert!(place.event(event).await.is_some());
}

/// A change in the record of what somebody with an account wrote is told in the room; the later change wins.
async fn in_both(place: &Place) {
    let event = place
        .gp_says(json!({"msgtype": "m.text", "body": "as written"}))
        .await;
    let message = reference(&place.stored(&event).await);
    place
        .change(&message, |json| {
            json["payload"][0]["contentString"] = "as amended".into();
        })
        .await;
    let notice = place
        .find("a notice of the change", |one| {
            one.sender == place.bot && one.body().ends_with("as amended")
        })
        .await;
    assert_eq!(
        notice.content["m.relates_to"]["m.in_reply_to"]["event_id"],
        event.as_str()
    );
    // The writer has the last word: the notice is no longer true, and goes.
    place.gp_says(edit(&event, "as rewritten")).await;
    place
        .until("the last word", async || {
            says(&place.read(&message).await, "as rewritten").then_some(())
        })
        .await;
    place.is_redacted(&notice.event_id).await;

    // At once: whoever wins, both sides say the same in the end.
    let event = place
        .gp_says(json!({"msgtype": "m.text", "body": "zero"}))
        .await;
    let message = reference(&place.stored(&event).await);
    let amend = place.change(&message, |json| {
        json["payload"][0]["contentString"] = "from the record".into();
    });
    let ((), _) = tokio::join!(amend, place.gp_says(edit(&event, "from Matrix")));
    place
        .until("one word on both sides", async || {
            let now = place.read(&message).await;
            let events = place.timeline().await;
            let told = events
                .iter()
                .any(|one| one.sender == place.bot && one.body().ends_with("from the record"));
            let settled =
                says(&now, "from the record") && told || says(&now, "from Matrix") && !told;
            settled.then_some(())
        })
        .await;
}

async fn taken_back(place: &Place, message: &str, event: &str) {
    // In Matrix.
    place.gp_redacts(event).await;
    let now = place
        .until("the mark", async || {
            let now = place.read(message).await;
            (now["status"] == "entered-in-error").then_some(now)
        })
        .await;
    assert!(now.get("payload").is_none(), "what it said is gone");
    assert_eq!(now["statusReason"]["text"], "typo");
    place
        .until("the end of its edits", async || {
            let events = place.timeline().await;
            let shows = |event: &testbed::Event| event.content["m.new_content"]["body"] == "third";
            (!events.iter().any(shows)).then_some(())
        })
        .await;

    // In the record: what a ghost sent, what somebody with an account sent, and by deletion.
    let [marked, deleted] = [
        place
            .nurse_writes(json!([{"contentString": "wrong client"}]))
            .await,
        place
            .nurse_writes(json!([{"contentString": "wrong again"}]))
            .await,
    ];
    let events = [
        place.sent(&marked, 1).await.remove(0),
        place.sent(&deleted, 1).await.remove(0),
    ];
    let theirs = place
        .gp_says(json!({"msgtype": "m.text", "body": "mistake"}))
        .await;
    let stored = reference(&place.stored(&theirs).await);
    for message in [&marked, &stored] {
        place
            .change(message, |json| json["status"] = "entered-in-error".into())
            .await;
    }
    place.delete_message(&deleted).await;
    for event in events.iter().chain([&theirs]) {
        place.is_redacted(event).await;
    }
    assert_eq!(place.status(&deleted).await, 410);
}
