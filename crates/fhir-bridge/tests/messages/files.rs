//! Files, both ways.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::place::{Place, event_ids};

/// Bytes that are no text, of any length.
fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from(n * 7 % 251).unwrap())
        .collect()
}

fn hash(bytes: &[u8]) -> String {
    STANDARD.encode(Sha1::digest(bytes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_through_both_ways_and_what_does_not_is_told() {
    let place = Place::open().await;
    from_the_record(&place).await;
    from_matrix(&place).await;
    refused(&place).await;
    place.stays_the_same().await;
    place.bridge.stop().await;
}

async fn from_the_record(place: &Place) {
    let [small, large] = [bytes(500), bytes(3_000_000)];
    let binary = place.put_bytes("application/pdf", large.clone()).await;
    let message = place
        .nurse_writes(json!([
            {"contentString": "see these"},
            {"contentAttachment": {"contentType": "image/png", "title": "../wond\u{202E}.png",
                "data": STANDARD.encode(&small), "size": small.len(), "hash": hash(&small)}},
            {"contentAttachment": {"contentType": "application/pdf", "url": binary, "hash": hash(&large)}},
        ]))
        .await;
    let events = place.sent(&message, 3).await;
    for (event, msgtype, name, bytes) in [
        (&events[1], "m.image", "wond.png", &small),
        (&events[2], "m.file", "attachment.pdf", &large),
    ] {
        let content = place.wait_for_event(event).await["content"].clone();
        assert_eq!(content["msgtype"], msgtype);
        assert_eq!(content["body"], name);
        assert_eq!(content["info"]["size"], bytes.len());
        let came = place.download(content["url"].as_str().unwrap()).await;
        assert!(came == *bytes, "the same bytes");
    }
}

async fn from_matrix(place: &Place) {
    for (length, is_inline) in [(700, true), (2_000_000, false)] {
        let bytes = bytes(length);
        let uri = place.upload("application/pdf", bytes.clone()).await;
        let event = place
            .gp_says(
                json!({"msgtype": "m.file", "body": "the result", "filename": "/tmp/uitslag.pdf",
                "url": uri, "info": {"mimetype": "application/pdf", "size": length}}),
            )
            .await;
        let stored = place.stored(&event).await;
        assert_eq!(stored["payload"][0]["contentString"], "the result");
        let file = &stored["payload"][1]["contentAttachment"];
        assert_eq!(file["title"], "uitslag.pdf");
        assert_eq!(file["contentType"], "application/pdf");
        assert_eq!(file["size"], length);
        assert_eq!(file["hash"], hash(&bytes));
        let came = if is_inline {
            STANDARD.decode(file["data"].as_str().unwrap()).unwrap()
        } else {
            place.bytes_of(file["url"].as_str().unwrap()).await
        };
        assert!(came == bytes, "the same bytes");
        if !is_inline {
            let url = file["url"].as_str().unwrap().to_owned();
            place.gp_redacts(&event).await;
            place
                .until("the file's end", async || {
                    (place.status(&url).await == 410).then_some(())
                })
                .await;
        }
    }
}

async fn refused(place: &Place) {
    let data = STANDARD.encode(bytes(10));
    let attachment = |change: Value| {
        let mut attachment = json!({"contentType": "text/plain", "data": data});
        for (key, value) in change.as_object().unwrap() {
            attachment[key] = value.clone();
        }
        json!({"contentAttachment": attachment})
    };
    let elsewhere = "http://169.254.169.254/latest/meta-data";
    let message = place
        .nurse_writes(json!([
            attachment(json!({"contentType": "text/html"})),
            attachment(json!({"hash": hash(b"other")})),
            attachment(json!({"size": 9})),
            {"contentAttachment": {"contentType": "text/plain", "url": elsewhere}},
            {"contentAttachment": {"contentType": "text/plain", "url": "Binary/not-there"}},
            attachment(json!({})),
            attachment(json!({})),
        ]))
        .await;
    let events = place.sent(&message, 6).await;
    for (event, words) in events.iter().zip([
        "of its type",
        "not what the record says",
        "not what the record says",
        "own server",
        "can't be found",
        "2 more attachments",
    ]) {
        let content = place.wait_for_event(event).await["content"].clone();
        assert_eq!(content["msgtype"], "m.notice");
        assert!(
            content["body"].as_str().unwrap().contains(words),
            "{content}"
        );
    }
    let uri = place.upload("text/html", bytes(10)).await;
    let event = place
        .gp_says(json!({"msgtype": "m.file", "body": "x.html", "url": uri, "info": {"mimetype": "text/html"}}))
        .await;
    let stored = place.stored(&event).await;
    let text = stored["payload"][0]["contentString"].as_str().unwrap();
    assert!(text.contains("files of its type"), "{text}");
    assert_eq!(event_ids(&stored), [event]);
}
