//! What is said in a room, and what of it is on the record.

use serde_json::{Value, json};
use testbed::{Client, Event};

use crate::stage::{Stage, until};

impl Stage {
    /// A GP on another homeserver.
    pub(crate) async fn gp(&self) -> Client {
        let name = testbed::unique("arts");
        self.testbed.client("huisarts", &name).await.unwrap()
    }

    pub(crate) async fn set_status(&self, resource: &str, status: &str) {
        let change = |json: &mut Value| json["status"] = json!(status);
        self.record.change(resource, change).await.unwrap();
    }

    pub(crate) async fn write(&self, thread: &str, sender: &str, text: &str) -> String {
        let message = json!({
            "resourceType": "Communication", "status": "completed",
            "partOf": [{"reference": thread}], "sender": {"reference": sender},
            "payload": [{"contentString": text}],
        });
        self.record.create(&message).await.unwrap()
    }

    /// The messages of a conversation on the record.
    pub(crate) async fn messages(&self, thread: &str) -> Vec<Value> {
        let query = [("part-of", thread), ("_count", "100")];
        self.record.search("Communication", &query).await.unwrap()
    }

    /// The message on the record that says this, once there is one.
    pub(crate) async fn stored(&self, thread: &str, text: &str) -> Value {
        until(text, async || {
            let mut messages = self.messages(thread).await;
            messages.retain(|one| one["payload"][0]["contentString"] == text);
            assert!(messages.len() < 2, "{text} is there once");
            messages.pop()
        })
        .await
    }

    /// The event that a message on the record became.
    pub(crate) async fn event_of(&self, message: &str) -> String {
        until("the record to name the event", async || {
            let message = self.record.read(message).await.unwrap();
            let identifiers = message["identifier"].as_array()?;
            let event =
                (identifiers.iter()).find(|one| one["system"] == "https://matrix.org/event-id")?;
            event["value"].as_str().map(str::to_owned)
        })
        .await
    }

    pub(crate) async fn is_frozen(&self, room: &str) -> bool {
        let levels = self.content(room, "m.room.power_levels", "").await;
        levels.is_some_and(|levels| levels["events_default"].as_i64() > Some(100))
    }
}

/// What people said in a room, without edits, as somebody's client shows it.
pub(crate) async fn said(client: &Client, room: &str) -> Vec<Event> {
    let mut events = client.messages(room, 100).await.unwrap();
    events.retain(|event| {
        event.kind == "m.room.message"
            && event.content["msgtype"] == "m.text"
            && event.content["m.relates_to"]["rel_type"].is_null()
    });
    events
}

pub(crate) async fn sees(client: &Client, room: &str, text: &str) -> Event {
    until(text, async || {
        let mut events = said(client, room).await;
        events.retain(|event| event.body() == text);
        assert!(events.len() < 2, "{text} is said once");
        events.pop()
    })
    .await
}

pub(crate) fn edit(event: &str, body: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": format!("* {body}"),
        "m.new_content": {"msgtype": "m.text", "body": body},
        "m.relates_to": {"rel_type": "m.replace", "event_id": event},
    })
}
