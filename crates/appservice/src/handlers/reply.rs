//! Answers to the event at hand.

use ruma::OwnedEventId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{client::Error, dispatch::Delivery, event::Event, intent::Message};

impl Delivery {
    /// Answers the event as the application service's own user, with a notice (`m.notice`: other bots
    /// don't answer it). In a thread, the answer is in that thread. A handler that runs again doesn't
    /// answer again.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] when the entry is no event; else as [`Intent::send`](crate::Intent::send).
    pub async fn reply(&self, text: impl Into<String>) -> Result<OwnedEventId, Error> {
        self.reply_with(Message::notice(text)).await
    }

    /// As [`Delivery::reply`], with a message of your choice.
    ///
    /// # Errors
    ///
    /// As [`Delivery::reply`].
    pub async fn reply_with(&self, message: Message) -> Result<OwnedEventId, Error> {
        let event = self
            .event()
            .ok_or(Error::Request("there is no event to be answered"))?;
        let message = message.with("m.relates_to", answer_to(event));
        self.bot().send(event.room_id(), message).await
    }
}

/// What makes a message an answer to this event.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#replies-inside-threads)
fn answer_to(event: &Event) -> Value {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.relates_to")]
        relates_to: Relation,
    }
    #[derive(Deserialize)]
    struct Relation {
        rel_type: String,
        event_id: OwnedEventId,
    }
    let answered = json!({"event_id": event.event_id()});
    match event.content::<Content>().map(|content| content.relates_to) {
        Ok(relation) if relation.rel_type == "m.thread" => json!({
            "rel_type": "m.thread", "event_id": relation.event_id, "m.in_reply_to": answered,
        }),
        _ => json!({"m.in_reply_to": answered}),
    }
}
