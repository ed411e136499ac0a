//! Who has read what.

use serde_json::json;

use crate::place::{Place, reference};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_in_matrix_completes_tasks_and_completing_tasks_is_a_receipt() {
    let place = Place::open().await;
    let mut messages = Vec::new();
    let mut events = Vec::new();
    for text in ["one", "two", "three"] {
        let message = place.nurse_writes(json!([{"contentString": text}])).await;
        events.push(place.sent(&message, 1).await.remove(0));
        messages.push(message);
    }
    let status = async |message: &str, owner: &str| {
        let mut tasks = place.tasks(message, owner).await;
        assert!(tasks.len() < 2, "each reader has one task");
        tasks.pop().map(|task| task["status"].clone())
    };
    let waits_for = async |message: &str, owner: &str, wanted: &str| {
        place
            .until(wanted, async || {
                (status(message, owner).await? == wanted).then_some(())
            })
            .await;
    };
    for message in &messages {
        waits_for(message, &place.doctor, "requested").await;
        waits_for(message, &place.nurse, "completed").await;
    }
    // Up to here.
    let path = format!(
        "_matrix/client/v3/rooms/{}/receipt/m.read/{}",
        place.room, events[1]
    );
    place.wait_for_event(&events[1]).await;
    let (answer, _) = place
        .matrix(reqwest::Method::POST, &path, Some(json!({})))
        .await;
    assert_eq!(answer, 200);
    waits_for(&messages[1], &place.doctor, "completed").await;
    waits_for(&messages[0], &place.doctor, "completed").await;
    waits_for(&messages[2], &place.doctor, "requested").await;

    // The other way.
    let event = place
        .gp_says(json!({"msgtype": "m.text", "body": "read me"}))
        .await;
    let message = reference(&place.stored(&event).await);
    waits_for(&message, &place.doctor, "completed").await;
    waits_for(&message, &place.nurse, "requested").await;
    let task = reference(&place.tasks(&message, &place.nurse).await[0]);
    place
        .change(&task, |json| json["status"] = "completed".into())
        .await;
    place
        .until("a receipt", async || {
            let log = place.bridge.log_text().unwrap();
            log.contains("a receipt says that a message was read in the record")
                .then_some(())
        })
        .await;
    place.stays_the_same().await;
    place.bridge.stop().await;
}
