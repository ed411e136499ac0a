//! Answers to the event at hand.

use ruma::OwnedEventId;
use serde::Deserialize;

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
        let mut message = message.reply_to(event.event_id());
        if let Some(root) = thread_of(event) {
            message = message.in_thread(&root);
        }
        self.bot().send(event.room_id(), message).await
    }
}

/// The event that began the thread in which an event is.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#threading)
fn thread_of(event: &Event) -> Option<OwnedEventId> {
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
    let relation = event.content::<Content>().ok()?.relates_to;
    (relation.rel_type == "m.thread").then_some(relation.event_id)
}
