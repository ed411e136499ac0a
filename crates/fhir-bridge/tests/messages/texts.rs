//! What people write comes to the other side as they wrote it.

use serde_json::{Value, json};

use crate::place::{Place, reference};

/// What has to come through unchanged, either way.
fn texts() -> Vec<String> {
    let long: String = "Tien duizend tekens. "
        .chars()
        .cycle()
        .take(10_000)
        .collect();
    vec![
        long,
        "👩🏽‍⚕️ 🙂 é e\u{301} \u{1F1F3}\u{1F1F1}".to_owned(),
        "שלום עולם \u{202B}abc\u{202C} مرحبا".to_owned(),
        "zero\u{200B}width\u{200D}joiner\u{FEFF}\u{2060}".to_owned(),
        " leading and trailing \n\nlines\r\n\ttabs ".to_owned(),
        "<b>not markup</b> & \"quotes\" **nor this** \\ \u{85}\u{9F}".to_owned(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_markup_and_answers_come_through_both_ways() {
    let place = Place::open().await;
    for text in texts() {
        let message = place.nurse_writes(json!([{"contentString": text}])).await;
        let event = place.sent(&message, 1).await.remove(0);
        let event = place.wait_for_event(&event).await;
        assert_eq!(event["content"]["body"], text.as_str());
        assert!(event["content"].get("formatted_body").is_none());
    }
    for text in texts() {
        let event = place
            .gp_says(json!({"msgtype": "m.text", "body": text}))
            .await;
        let stored = place.stored(&event).await;
        assert_eq!(stored["payload"][0]["contentString"], text.as_str());
    }
    markup(&place).await;
    answers(&place).await;
    refusals(&place).await;
    place.stays_the_same().await;
    place.bridge.stop().await;
}

async fn markup(place: &Place) {
    let extension = |url: &str, name: &str, value: &str| {
        let mut extension =
            json!({"url": format!("http://hl7.org/fhir/StructureDefinition/{url}")});
        extension[name] = value.into();
        json!([{"contentString": "one two", "_contentString": {"extension": [extension]}}])
    };
    for payload in [
        extension("rendering-markdown", "valueMarkdown", "one **two**"),
        extension(
            "rendering-xhtml",
            "valueString",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\">one <b>two</b><script>x</script></div>",
        ),
    ] {
        let message = place.nurse_writes(payload).await;
        let event = place.sent(&message, 1).await.remove(0);
        let content = place.wait_for_event(&event).await["content"].clone();
        assert_eq!(content["body"], "one two");
        let html = content["formatted_body"].as_str().unwrap();
        assert!(html.contains("one <strong>two</strong>"), "{html}");
        assert!(!html.contains("script"), "{html}");
    }
    let event = place
        .gp_says(json!({
            "msgtype": "m.text", "body": "one two", "format": "org.matrix.custom.html",
            "formatted_body": "<u>one</u> <em onclick=\"x\">two</em><img src=x>",
        }))
        .await;
    let stored = place.stored(&event).await;
    let payload = &stored["payload"][0];
    assert_eq!(payload["contentString"], "one two");
    assert_eq!(
        payload["_contentString"]["extension"][0]["valueString"],
        "<div xmlns=\"http://www.w3.org/1999/xhtml\"><u>one</u> <em>two</em></div>"
    );
    for msgtype in ["m.notice", "m.emote"] {
        let event = place
            .gp_says(json!({"msgtype": msgtype, "body": "so"}))
            .await;
        let stored = place.stored(&event).await;
        assert_eq!(stored["payload"][0]["contentString"], "so");
    }
}

async fn answers(place: &Place) {
    let asked = place
        .nurse_writes(json!([{"contentString": "How are you?"}]))
        .await;
    let question = place.sent(&asked, 1).await.remove(0);
    let answer = place
        .gp_says(json!({
            "msgtype": "m.text", "body": "> <@x:y> How are you?\n\nWell",
            "m.relates_to": {"m.in_reply_to": {"event_id": question}},
        }))
        .await;
    let stored = place.stored(&answer).await;
    assert_eq!(stored["payload"][0]["contentString"], "Well");
    assert_eq!(stored["inResponseTo"][0]["reference"], asked.as_str());
    let back = place
        .nurse_writes_with(json!([{"contentString": "Good"}]), |json| {
            json["inResponseTo"] = json!([{"reference": reference(&stored)}]);
        })
        .await;
    let event = place.sent(&back, 1).await.remove(0);
    let event = place.wait_for_event(&event).await;
    assert_eq!(
        event["content"]["m.relates_to"],
        json!({"m.in_reply_to": {"event_id": answer}})
    );
    // What nobody knows is no relation.
    let lone = place
        .nurse_writes_with(json!([{"contentString": "Alone"}]), |json| {
            json["inResponseTo"] = json!([{"display": "something on paper"}]);
        })
        .await;
    let event = place.sent(&lone, 1).await.remove(0);
    let event = place.wait_for_event(&event).await;
    assert!(event["content"].get("m.relates_to").is_none());
}

/// What can't be stored is told in the room and in the record, once.
async fn refusals(place: &Place) {
    let mut refused = Vec::new();
    for (content, why) in [
        (
            json!({"msgtype": "m.text", "body": "bell \u{7}"}),
            "control character",
        ),
        (json!({"msgtype": "m.text", "body": "   "}), "no text"),
        (
            json!({"msgtype": "m.location", "body": "here", "geo_uri": "geo:52,5"}),
            "m.location",
        ),
    ] {
        refused.push((place.gp_says(content).await, why));
    }
    for (kind, content) in [
        (
            "m.sticker",
            json!({"body": "a sticker", "url": "mxc://x/y", "info": {}}),
        ),
        ("org.matrix.msc3381.poll.start", json!({"x": 1})),
        ("com.example.thing", json!({"x": 1})),
    ] {
        let event = place.gp.send(&place.room, kind, content).await.unwrap();
        refused.push((event, kind));
    }
    place
        .gp
        .send(
            &place.room,
            "m.reaction",
            json!({"m.relates_to": {
            "rel_type": "m.annotation", "event_id": refused[0].0, "key": "👍"}}),
        )
        .await
        .unwrap();
    for (event, why) in &refused {
        let stored = place.stored(event).await;
        let text = stored["payload"][0]["contentString"].as_str().unwrap();
        assert!(text.contains("left out") && text.contains(why), "{text}");
        let answers_it = |one: &testbed::Event| {
            one.sender == place.bot
                && one.content["m.relates_to"]["m.in_reply_to"]["event_id"] == event.as_str()
        };
        let answer = place.find("an answer of the bridge", answers_it).await;
        assert!(answer.body().contains(why), "{}", answer.body());
        let answers = place.timeline().await;
        let answers = answers.iter().filter(|one| answers_it(one)).count();
        assert_eq!(answers, 1, "it is told once");
    }
    let none: Vec<Value> = place.messages().await;
    assert!(
        none.iter()
            .all(|message| !message.to_string().contains('👍'))
    );
}
