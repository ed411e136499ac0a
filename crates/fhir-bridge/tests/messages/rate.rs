//! Many messages at once. It prints how long they took into the record, and what the FHIR server was asked for them; that
//! they are asked for little is held by `puller/tests/talks.rs`, where time stands still.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::place::Place;

/// How many messages are said at once, without waiting for the record.
const MESSAGES: usize = 40;

/// What the FHIR server was asked because of what people said in a room: how often, and for how many ms.
fn asked(log: &str) -> BTreeMap<String, (usize, u64)> {
    let mut asked = BTreeMap::new();
    for line in log.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let work = line["span"]["id"].as_str().unwrap_or_default();
        let is_theirs = ["matrix-", "asks-"].map(|source| work.starts_with(source));
        if line["message"] == "FHIR request" && is_theirs.contains(&true) {
            let [method, path] = ["method", "path"].map(|key| line[key].as_str().unwrap());
            let (count, millis) = asked.entry(format!("{method} {path}")).or_default();
            *count += 1;
            *millis += line["millis"].as_u64().unwrap();
        }
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_at_once_get_into_the_record_in_order_with_a_task_for_each_reader() {
    let place = Place::open().await;
    // What is the same for all of them has been read by now.
    let event = place
        .gp_says(json!({"msgtype": "m.text", "body": "first"}))
        .await;
    place.stored(&event).await;
    let before = place.bridge.log_text().unwrap().len();
    let began = Instant::now();
    for number in 0..MESSAGES {
        let text = format!("number {number}");
        let content = json!({"msgtype": "m.text", "body": text});
        let path = format!(
            "_matrix/client/v3/rooms/{}/send/m.room.message/{number}",
            place.room
        );
        let (status, _) = place
            .matrix(reqwest::Method::PUT, &path, Some(content))
            .await;
        assert_eq!(status, 200);
    }
    let said = began.elapsed();
    place
        .until("all messages", async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            (place.messages().await.len() > MESSAGES).then_some(())
        })
        .await;
    let took = began.elapsed();
    println!("{MESSAGES} messages, said within {said:.1?}, in the record after {took:.1?}");
    let mut texts: Vec<_> = place.messages().await;
    texts.sort_by_key(|message| message["id"].as_str().unwrap().parse::<u64>().unwrap());
    let texts: Vec<_> = texts[1..]
        .iter()
        .map(|message| message["payload"][0]["contentString"].clone())
        .collect();
    let wanted: Vec<_> = (0..MESSAGES)
        .map(|number| json!(format!("number {number}")))
        .collect();
    assert_eq!(texts, wanted, "each once, in order");
    // The tasks of the last one.
    place
        .until("the tasks", async || {
            let message =
                place.messages().await.into_iter().max_by_key(|message| {
                    message["id"].as_str().unwrap().parse::<u64>().unwrap()
                })?;
            let message = crate::place::reference(&message);
            let nurses = place.tasks(&message, &place.nurse).await.len();
            let doctors = place.tasks(&message, &place.doctor).await.len();
            (nurses == 1 && doctors == 1).then_some(())
        })
        .await;
    let took = began.elapsed();
    println!("and their readers asked after {took:.1?}");
    let log = place.bridge.log_text().unwrap();
    let asked = asked(&log[before..]);
    println!("{asked:#?}");
    let all: usize = asked.values().map(|(count, _)| count).sum();
    println!("{all} requests for {MESSAGES} messages");
    // The message, and a task for each of its two readers.
    assert!(all >= 3 * MESSAGES, "{asked:?}");
    place.bridge.stop().await;
}
