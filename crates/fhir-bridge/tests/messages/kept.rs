//! `messages.on_redaction: keep`, for those who have to keep what was said.

use serde_json::json;

use crate::place::{Place, reference};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_in_matrix_stays_on_record_as_an_error_where_it_is_to_be_kept() {
    let place = Place::open_with(|setup| {
        setup.config = Some(json!({"messages": {"on_redaction": "keep"}}));
    })
    .await;
    let text = place
        .gp_says(json!({"msgtype": "m.text", "body": "the wrong client"}))
        .await;
    let uri = place.upload("application/pdf", vec![7; 100_000]).await;
    let file = place
        .gp_says(json!({"msgtype": "m.file", "body": "a.pdf", "url": uri,
            "info": {"mimetype": "application/pdf"}}))
        .await;
    let said = reference(&place.stored(&text).await);
    let sent = place.stored(&file).await;
    let binary = sent["payload"][0]["contentAttachment"]["url"]
        .as_str()
        .unwrap();
    let sent = reference(&sent);
    for event in [&text, &file] {
        place.gp_redacts(event).await;
    }
    for message in [&said, &sent] {
        place
            .until("the mark", async || {
                let now = place.read(message).await;
                (now["status"] == "entered-in-error").then_some(())
            })
            .await;
    }
    place.stays_the_same().await;
    let now = place.read(&said).await;
    assert_eq!(now["payload"][0]["contentString"], "the wrong client");
    assert_eq!(now["statusReason"]["text"], "typo");
    let now = place.read(&sent).await;
    assert_eq!(now["payload"][0]["contentAttachment"]["url"], binary);
    assert_eq!(place.bytes_of(binary).await.len(), 100_000);
    // In the room they are gone all the same.
    for event in [&text, &file] {
        place.is_redacted(event).await;
    }
    place.bridge.stop().await;
}
