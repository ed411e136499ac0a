//! Sending once, whatever happens.

use ruma::{EventId, OwnedEventId, RoomId, TransactionId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Intent, Message, NewEvent};
use crate::client::{Call, Error, Repeat};

/// The key in an event's content that holds the transaction id it was sent with. It says nothing
/// about the source, and lets an event be recognised after its answer was lost.
pub const SOURCE_KEY: &str = "dev.matrix-appservice.source";

const SEND: &str = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
pub(super) const MESSAGES: &str = "/_matrix/client/v3/rooms/{roomId}/messages";

/// How far a room is read back for an event whose answer was lost.
const LOOK_BACK_PAGES: usize = 10;
const LOOK_BACK_PAGE: &str = "100";

/// The answer to everything that makes an event.
#[derive(Deserialize)]
pub(super) struct Made {
    pub(super) event_id: OwnedEventId,
}

/// Where an event is looked for when nobody knows whether it was sent.
#[derive(Clone, Copy)]
pub(super) enum Trace<'a> {
    /// Among those of this type that the user sent.
    Timeline(&'a str),
    /// The event that it redacts says so.
    RedactionOf(&'a EventId),
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    chunk: Vec<Sent>,
    end: Option<String>,
}

#[derive(Deserialize)]
struct Sent {
    event_id: Option<OwnedEventId>,
    #[serde(default)]
    content: Value,
    #[serde(default)]
    unsigned: Unsigned,
}

#[derive(Deserialize, Default)]
struct Unsigned {
    transaction_id: Option<Value>,
}

impl Sent {
    /// A homeserver tells the sender its transaction id, also of an event that was redacted meanwhile.
    /// One that doesn't, or has lost it, still has the content.
    fn is_from(&self, txn_id: &TransactionId) -> bool {
        let is = |value: Option<&Value>| value.and_then(Value::as_str) == Some(txn_id.as_str());
        is(self.content.get(SOURCE_KEY)) || is(self.unsigned.transaction_id.as_ref())
    }
}

impl Intent {
    /// Sends a [`Message`] or any other [`NewEvent`] and returns its event id.
    ///
    /// Run again in the same delivery (after a failure or a restart), it returns the event that the
    /// first run sent: its transaction id is the same, and the last thousand events of this type that
    /// this user sent are read back for it, since homeservers forget transaction ids. The user has to
    /// be in the room: see [`Intent::ensure_joined`].
    ///
    /// An event that was redacted before it is looked for is recognised where the homeserver shows
    /// `unsigned.transaction_id` (Synapse does); elsewhere it would be sent again.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the user isn't in the room or may not send; `M_TOO_LARGE` above 65,536
    /// bytes; else as any call.
    pub async fn send(
        &self,
        room: &RoomId,
        event: impl Into<NewEvent> + Send,
    ) -> Result<OwnedEventId, Error> {
        let NewEvent { kind, content, at } = event.into();
        let at = at.map(|at| at.get().to_string());
        self.send_once(room, Trace::Timeline(&kind), content, |txn_id| {
            let call = Call::put(SEND, &[room.as_str(), &kind, txn_id.as_str()])?;
            Ok(match &at {
                Some(at) => call.query("ts", at),
                None => call,
            })
        })
        .await
    }

    /// [`Intent::send`] with [`Message::text`].
    ///
    /// # Errors
    ///
    /// As [`Intent::send`].
    pub async fn send_text(
        &self,
        room: &RoomId,
        body: impl Into<String> + Send,
    ) -> Result<OwnedEventId, Error> {
        self.send(room, Message::text(body)).await
    }

    /// Makes the `call` that sends `content` once: what may have been sent before is looked for first.
    pub(super) async fn send_once(
        &self,
        room: &RoomId,
        trace: Trace<'_>,
        mut content: Map<String, Value>,
        call: impl Fn(&TransactionId) -> Result<Call, Error> + Send + Sync,
    ) -> Result<OwnedEventId, Error> {
        let txn_id = self.scope.next_transaction_id(&self.user, room);
        if self.scope.may_be_repeat()
            && let Some(event_id) = self.find(room, trace, &txn_id).await?
        {
            return Ok(event_id);
        }
        content.insert(SOURCE_KEY.to_owned(), json!(txn_id));
        let (began, mut attempts, mut rejoined) = (self.client.now(), 0, false);
        loop {
            // The client doesn't repeat it by itself: between two attempts has to be looked.
            let call = call(&txn_id)?.json(&content)?.repeat(Repeat::Unsent);
            let error = match self.call(call).await {
                Ok(answer) => return Ok(answer.read::<Made>()?.event_id),
                Err(error) => error,
            };
            if error.is_forbidden() && !rejoined && self.doubt_membership(room) {
                // It was taken for joined, from memory.
                rejoined = true;
                self.join_with_help(room).await?;
                continue;
            }
            attempts += 1;
            if error.is_unsent() || !self.client.pause_after(&error, attempts, began).await {
                return Err(error);
            }
            match self.find(room, trace, &txn_id).await {
                Ok(Some(event_id)) => return Ok(event_id),
                Ok(None) => {}
                // It still doesn't answer.
                Err(_) => return Err(error),
            }
        }
    }

    /// Looks for an event that this user sent with a transaction id.
    async fn find(
        &self,
        room: &RoomId,
        trace: Trace<'_>,
        txn_id: &TransactionId,
    ) -> Result<Option<OwnedEventId>, Error> {
        match trace {
            Trace::Timeline(kind) => self.find_in_timeline(room, kind, txn_id).await,
            Trace::RedactionOf(target) => self.find_redaction(room, target).await,
        }
    }

    async fn find_in_timeline(
        &self,
        room: &RoomId,
        kind: &str,
        txn_id: &TransactionId,
    ) -> Result<Option<OwnedEventId>, Error> {
        let filter = json!({"types": [kind], "senders": [self.user]}).to_string();
        let mut from: Option<String> = None;
        for _ in 0..LOOK_BACK_PAGES {
            let mut call = Call::get(MESSAGES, &[room.as_str()])?
                .query("dir", "b")
                .query("limit", LOOK_BACK_PAGE)
                .query("filter", &filter);
            if let Some(from) = &from {
                call = call.query("from", from);
            }
            let page: Page = match self.call(call).await {
                Ok(answer) => answer.read()?,
                // Not in the room: it has sent nothing there.
                Err(error) if error.is_forbidden() => return Ok(None),
                Err(error) => return Err(error),
            };
            for sent in page.chunk {
                if sent.is_from(txn_id) && sent.event_id.is_some() {
                    return Ok(sent.event_id);
                }
            }
            // A page can be empty (its events are filtered out) and not be the last.
            from = page.end;
            if from.is_none() {
                break;
            }
        }
        self.scope.before().sent_nothing();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_recognised_by_its_content_or_by_what_the_homeserver_says() {
        let txn_id = TransactionId::new();
        let marked = json!({SOURCE_KEY: txn_id});
        let is_ours = |content: Value, unsigned: Value| {
            let event = json!({"event_id": "$e", "sender": "@a:b", "content": content, "unsigned": unsigned});
            serde_json::from_value::<Sent>(event)
                .unwrap()
                .is_from(&txn_id)
        };
        // Other users' clients, and homeservers that have lost it, show no transaction id.
        assert!(is_ours(marked.clone(), json!({})));
        // What was redacted has no content.
        assert!(is_ours(json!({}), json!({"transaction_id": txn_id})));
        assert!(!is_ours(json!({}), json!({})));
        let other = json!({SOURCE_KEY: "other"});
        assert!(!is_ours(other, json!({"transaction_id": "other"})));
    }
}
