//! Messages, sent once.

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, TransactionId,
    api::{
        Direction,
        client::{
            filter::RoomEventFilter,
            message::{get_message_events, send_message_event},
        },
    },
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::to_raw_value};

use super::Intent;
use crate::client::Error;

/// The key in an event's content that holds the transaction id it was sent with. It says nothing
/// about the source, and lets a message be recognised after its answer was lost.
pub const SOURCE_KEY: &str = "dev.matrix-appservice.source";

/// How far a room is read back for a message whose answer was lost.
const LOOK_BACK_PAGES: usize = 10;
const LOOK_BACK_PAGE: u32 = 100;

/// A message to be sent.
#[derive(Clone)]
pub struct Message {
    content: Map<String, Value>,
    at: Option<MilliSecondsSinceUnixEpoch>,
}

impl Message {
    /// Plain text, `m.text`.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self::of("m.text", body.into())
    }

    /// Plain text from a bot, `m.notice`: other bots don't answer it.
    #[must_use]
    pub fn notice(body: impl Into<String>) -> Self {
        Self::of("m.notice", body.into())
    }

    fn of(msgtype: &str, body: String) -> Self {
        let mut content = Map::new();
        content.insert("msgtype".to_owned(), json!(msgtype));
        content.insert("body".to_owned(), Value::String(body));
        Self { content, at: None }
    }

    /// Adds a key to the content. Homeservers refuse floats.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: Value) -> Self {
        self.content.insert(key.into(), value);
        self
    }

    /// The time that the event shall bear. Its place in the room doesn't change.
    #[must_use]
    pub fn at(mut self, time: MilliSecondsSinceUnixEpoch) -> Self {
        self.at = Some(time);
        self
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Sent {
    event_id: OwnedEventId,
    content: Map<String, Value>,
}

impl Intent {
    /// Sends an `m.room.message` and returns its event id.
    ///
    /// Run again in the same delivery (after a failure or a restart), it returns the event that the
    /// first run sent. The user has to be in the room: see [`Intent::ensure_joined`].
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the user isn't in the room or may not send; `M_TOO_LARGE` above 65,536
    /// bytes; else as any call.
    pub async fn send(&self, room: &RoomId, message: Message) -> Result<OwnedEventId, Error> {
        let txn_id = self.scope.next_transaction_id(&self.user, room);
        if self.scope.may_be_repeat()
            && let Some(event_id) = self.find_sent(room, &txn_id).await?
        {
            return Ok(event_id);
        }
        let mut content = message.content;
        content.insert(SOURCE_KEY.to_owned(), json!(txn_id));
        let content = to_raw_value(&content)
            .map_err(|_| Error::Request("the message can't be put into JSON"))?;
        let mut request = send_message_event::v3::Request::new_raw(
            room.to_owned(),
            txn_id,
            "m.room.message".into(),
            Raw::from_json(content),
        );
        request.timestamp = message.at;
        Ok(self.client.send(&self.user, request).await?.event_id)
    }

    /// [`Intent::send`] with [`Message::text`].
    ///
    /// # Errors
    ///
    /// As [`Intent::send`].
    pub async fn send_text(
        &self,
        room: &RoomId,
        body: impl Into<String>,
    ) -> Result<OwnedEventId, Error> {
        self.send(room, Message::text(body)).await
    }

    /// Reads the room back for a message that this user sent with a transaction id.
    async fn find_sent(
        &self,
        room: &RoomId,
        txn_id: &TransactionId,
    ) -> Result<Option<OwnedEventId>, Error> {
        let mut from = None;
        for _ in 0..LOOK_BACK_PAGES {
            let mut filter = RoomEventFilter::default();
            filter.types = Some(vec!["m.room.message".to_owned()]);
            filter.senders = Some(vec![self.user.clone()]);
            let mut request =
                get_message_events::v3::Request::new(room.to_owned(), Direction::Backward);
            request.from = from;
            request.limit = LOOK_BACK_PAGE.into();
            request.filter = filter;
            let page = match self.client.send(&self.user, request).await {
                Ok(page) => page,
                // Not in the room: it has sent nothing there.
                Err(error) if error.is("M_FORBIDDEN") => return Ok(None),
                Err(error) => return Err(error),
            };
            for event in &page.chunk {
                // Events of other shapes are not ours.
                if let Ok(sent) = serde_json::from_str::<Sent>(event.json().get())
                    && is_from(&sent, txn_id)
                {
                    return Ok(Some(sent.event_id));
                }
            }
            // A page can be empty (its events are filtered out) and not be the last.
            match page.end {
                Some(end) => from = Some(end),
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn is_from(sent: &Sent, txn_id: &TransactionId) -> bool {
    sent.content.get(SOURCE_KEY).and_then(Value::as_str) == Some(txn_id.as_str())
}
