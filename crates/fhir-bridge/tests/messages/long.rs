//! Texts that no event can hold, or none with an edit's second copy.

use serde_json::json;

use crate::place::Place;

/// Of so many bytes and some more, with what is easily broken in it, and a mark.
fn text(bytes: usize, mark: &str) -> String {
    let piece = "Tien \"duizend\" tekens \\ 👩🏽‍⚕️ שלום\u{200B}e\u{301}\n";
    format!("{mark} {}", piece.repeat(bytes / piece.len() + 1))
}

/// What the file of an event says.
async fn in_file(place: &Place, event: &str) -> String {
    let content = place.wait_for_event(event).await["content"].clone();
    assert_eq!(content["msgtype"], "m.file", "{}", content["msgtype"]);
    assert_eq!(content["filename"], "message.txt");
    let bytes = place.download(content["url"].as_str().unwrap()).await;
    assert_eq!(content["info"]["size"], bytes.len());
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_too_long_for_an_event_comes_as_a_file_and_back_as_text() {
    let place = Place::open().await;

    // From the record: as an event for as long as it fits, then as a file, with every character.
    let (fits, long) = (text(25_000, "fits"), text(60_000, "long"));
    let message = place.nurse_writes(json!([{"contentString": fits}])).await;
    let first = place.sent(&message, 1).await.remove(0);
    let event = place.wait_for_event(&first).await;
    assert_eq!(event["content"]["body"], fits.as_str());
    let file = place.nurse_writes(json!([{"contentString": long}])).await;
    let file = place.sent(&file, 1).await.remove(0);
    assert!(in_file(&place, &file).await == long, "the same text");

    // Changed to what fits in an event but not twice, then in none: what stood there goes, the new comes.
    let mut before = first;
    for (bytes, mark) in [(40_000, "longer"), (70_000, "longest")] {
        let longer = text(bytes, mark);
        place
            .change(&message, |json| {
                json["payload"][0]["contentString"] = longer.clone().into();
            })
            .await;
        place.is_redacted(&before).await;
        let sent = place
            .until("the event that took its place", async || {
                let mut events = crate::place::event_ids(&place.read(&message).await);
                let last = events.pop()?;
                (last != before).then_some(last)
            })
            .await;
        let event = place.wait_for_event(&sent).await;
        if bytes < 55_000 {
            assert_eq!(event["content"]["body"], longer.as_str());
        } else {
            assert!(in_file(&place, &sent).await == longer, "the same text");
        }
        before = sent;
    }

    // From Matrix: as much as the homeserver takes is text in the record.
    let most = text(38_000, "most");
    let event = place
        .gp_says(json!({"msgtype": "m.text", "body": most}))
        .await;
    let stored = place.stored(&event).await;
    assert_eq!(stored["payload"][0]["contentString"], most.as_str());
    place.stays_the_same().await;
    place.bridge.stop().await;
}
