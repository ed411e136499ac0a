//! Reactions and new texts.

use ruma::{EventId, OwnedEventId, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Intent, Message, NewEvent};
use crate::client::{Call, Error};

const ANNOTATIONS: &str =
    "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/m.annotation/m.reaction";

/// How many pages of reactions are looked through for one of ours.
const PAGES: usize = 10;

impl Intent {
    /// Reacts to an event with `key`, which is nearly always an emoji. Returns the reaction's id; to
    /// take it back, [redact](Intent::redact) that.
    ///
    /// A user reacts to an event with the same key once: when it did so before, that reaction is
    /// returned.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#event-annotations-and-reactions).
    ///
    /// # Errors
    ///
    /// As [`Intent::send`].
    pub async fn react(
        &self,
        room: &RoomId,
        event: &EventId,
        key: &str,
    ) -> Result<OwnedEventId, Error> {
        let relation = json!({"rel_type": "m.annotation", "event_id": event, "key": key});
        let content = Map::from_iter([("m.relates_to".to_owned(), relation)]);
        match self.send(room, NewEvent::new("m.reaction", content)).await {
            Err(error) if error.is("M_DUPLICATE_ANNOTATION") => {
                let found = self.find_reaction(room, event, key).await?;
                found.ok_or(error)
            }
            other => other,
        }
    }

    /// Gives a message that this user sent a new text.
    ///
    /// # Errors
    ///
    /// As [`Intent::send`].
    pub async fn edit(
        &self,
        room: &RoomId,
        event: &EventId,
        message: Message,
    ) -> Result<OwnedEventId, Error> {
        self.send(room, message.replacing(event)).await
    }

    async fn find_reaction(
        &self,
        room: &RoomId,
        event: &EventId,
        key: &str,
    ) -> Result<Option<OwnedEventId>, Error> {
        #[derive(Deserialize)]
        struct Page {
            chunk: Vec<Value>,
            next_batch: Option<String>,
        }
        let mut from: Option<String> = None;
        for _ in 0..PAGES {
            let mut call =
                Call::get(ANNOTATIONS, &[room.as_str(), event.as_str()])?.query("limit", "100");
            if let Some(from) = &from {
                call = call.query("from", from);
            }
            let page: Page = self.call(call).await?.read()?;
            let ours = page.chunk.iter().find(|reaction| {
                reaction["sender"] == self.user.as_str()
                    && reaction["content"]["m.relates_to"]["key"] == key
            });
            if let Some(reaction) = ours {
                let event_id = reaction["event_id"].as_str();
                return Ok(event_id.and_then(|id| id.try_into().ok()));
            }
            match page.next_batch {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        Ok(None)
    }
}
