//! A Matrix event as the homeserver pushed it: its head read, the rest left as it came.

mod edit;
mod invitation;
mod membership;
mod redaction;
mod typed;

use std::{fmt, sync::Arc};

use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, UserId,
    events::{AnyTimelineEvent, room::message::OriginalRoomMessageEvent},
    serde::Raw,
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, Error as _, IgnoredAny},
};
use serde_json::value::RawValue;

pub use self::{
    edit::Edit,
    invitation::Invitation,
    membership::{Membership, MembershipChange},
    redaction::Redaction,
    typed::TypedEvent,
};

/// An event, message or state. Cheap to clone.
#[derive(Clone)]
pub struct Event(Arc<Inner>);

struct Inner {
    head: Head,
    /// Valid, as it came.
    json: Arc<[u8]>,
}

#[derive(Deserialize)]
struct Head {
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
    unsigned: Option<Unsigned>,
    /// Where homeservers of old have it, beside `unsigned`.
    redacted_because: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Unsigned {
    redacted_because: Option<IgnoredAny>,
}

impl Event {
    /// Reads the head of an event.
    ///
    /// # Errors
    ///
    /// When one of `event_id`, `room_id`, `sender` and `type` is missing or no such thing. The error
    /// may quote the event: don't log it.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        Self::read_head(json.into())
    }

    /// As [`Event::parse`]; what is shared needn't be copied.
    pub(crate) fn read_head(json: Arc<[u8]>) -> serde_json::Result<Self> {
        // What the head doesn't hold is passed over, and may be no text.
        let text = str::from_utf8(&json).map_err(serde_json::Error::custom)?;
        if !text.trim_ascii_start().starts_with('{') {
            // It would be read like an object with its values in order.
            return Err(serde_json::Error::custom("not an object"));
        }
        let head = serde_json::from_str(text)?;
        Ok(Self(Arc::new(Inner { head, json })))
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> &ruma::EventId {
        &self.0.head.event_id
    }

    /// The room it was sent in.
    #[must_use]
    pub fn room_id(&self) -> &ruma::RoomId {
        &self.0.head.room_id
    }

    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> &ruma::UserId {
        &self.0.head.sender
    }

    /// Its type, such as `m.room.message`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.head.kind
    }

    /// The state key: present (also when empty) on state, absent on messages.
    #[must_use]
    pub fn state_key(&self) -> Option<&str> {
        self.0.head.state_key.as_deref()
    }

    /// Whether it was redacted before it got here; then most of its content is gone.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        let head = &self.0.head;
        let unsigned = head.unsigned.as_ref();
        head.redacted_because.is_some()
            || unsigned.is_some_and(|unsigned| unsigned.redacted_because.is_some())
    }

    /// When its sender's homeserver says that it was sent; `None` when that can't be read.
    #[must_use]
    pub fn origin_server_ts(&self) -> Option<MilliSecondsSinceUnixEpoch> {
        #[derive(Deserialize)]
        struct WithTime {
            origin_server_ts: MilliSecondsSinceUnixEpoch,
        }
        self.read::<WithTime>()
            .ok()
            .map(|event| event.origin_server_ts)
    }

    /// The whole event as JSON, to be read as a type of your choice.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        // It was read before.
        serde_json::from_slice(&self.0.json).unwrap_or(RawValue::NULL)
    }

    /// The event's content as a type of your choice.
    ///
    /// # Errors
    ///
    /// When it isn't one. The error may quote the event: don't log it.
    pub fn content<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        #[derive(Deserialize)]
        struct WithContent<T> {
            content: T,
        }
        self.read::<WithContent<T>>().map(|event| event.content)
    }

    /// What a state event's content was before, as a type of your choice; `None` when it was nothing,
    /// or the homeserver doesn't say (Synapse leaves it out of what it delivers late, after a restart).
    ///
    /// # Errors
    ///
    /// When it isn't one. The error may quote the event: don't log it.
    pub fn prev_content<T: DeserializeOwned>(&self) -> serde_json::Result<Option<T>> {
        #[derive(Deserialize)]
        struct WithPrevious<T> {
            #[serde(default = "nothing")]
            unsigned: Option<Unsigned<T>>,
            #[serde(default = "nothing")]
            prev_content: Option<T>,
        }
        #[derive(Deserialize)]
        struct Unsigned<T> {
            #[serde(default = "nothing")]
            prev_content: Option<T>,
        }
        fn nothing<T>() -> Option<T> {
            None
        }
        let event: WithPrevious<T> = self.read()?;
        let unsigned = event.unsigned.and_then(|unsigned| unsigned.prev_content);
        Ok(unsigned.or(event.prev_content))
    }

    /// The whole event as a type of your choice.
    fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.0.json)
    }

    /// The whole event as one of ruma's types.
    #[must_use]
    pub fn raw(&self) -> Raw<AnyTimelineEvent> {
        Raw::from_json(self.json().to_owned())
    }

    /// Whom the event invites into its room, where that is what it does.
    #[must_use]
    pub fn invited_user(&self) -> Option<OwnedUserId> {
        #[derive(Deserialize)]
        struct Content {
            membership: String,
        }
        if self.kind() != "m.room.member" {
            return None;
        }
        let user = UserId::parse(self.state_key()?).ok()?;
        let content: Content = self.content().ok()?;
        (content.membership == "invite").then_some(user)
    }

    /// The event as an `m.room.message`; `None` when it is something else, state, or redacted.
    ///
    /// # Errors
    ///
    /// When it says that it is one but can't be read as such. The error may quote the event: don't
    /// log it.
    pub fn message(&self) -> serde_json::Result<Option<OriginalRoomMessageEvent>> {
        if self.kind() != "m.room.message" || self.state_key().is_some() || self.is_redacted() {
            return Ok(None);
        }
        self.read().map(Some)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_id", &self.0.head.event_id)
            .field("room_id", &self.0.head.room_id)
            .field("type", &self.0.head.kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(more: &Value) -> Event {
        let mut event = json!({
            "type": "m.room.message", "event_id": "$1", "room_id": "!r", "sender": "@a:x",
            "content": {}, "unsigned": null,
        });
        let fields = event.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        Event::parse(event.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_redaction_is_seen_at_the_top_and_in_unsigned() {
        assert!(!event(&json!({})).is_redacted());
        assert!(event(&json!({"redacted_because": {}})).is_redacted());
        assert!(event(&json!({"unsigned": {"redacted_because": {}}})).is_redacted());
        assert!(!event(&json!({"redacted_because": null})).is_redacted());
    }

    #[test]
    fn an_event_without_time_or_with_an_odd_one_is_an_event() {
        let time = |ts: Value| {
            event(&json!({"origin_server_ts": ts}))
                .origin_server_ts()
                .map(|ts| u64::from(ts.get()))
        };
        assert_eq!(time(json!(5)), Some(5));
        assert_eq!(time(json!("noon")), None);
        assert_eq!(event(&json!({})).origin_server_ts(), None);
    }

    #[test]
    fn what_the_head_does_not_hold_is_no_less_json() {
        let with = |content: &[u8]| {
            let head = br#" {"event_id":"$1","room_id":"!r","sender":"@a:x","type":"m","content":"#;
            Event::parse(&[head, content, b"} "].concat())
        };
        let event = with(br#"{"body": "\u00e9"}"#).unwrap();
        assert!(event.json().get().starts_with('{') && event.json().get().ends_with('}'));
        for content in [
            &b"{"[..],
            b"{\"body\": \"\xff\"}",
            b"{\"body\": \"\x01\"}",
            b"{}}",
        ] {
            assert!(with(content).is_err(), "{content:?}");
        }
    }

    #[test]
    fn a_list_is_no_event() {
        let list = br#"["$1", "!r", "@a:x", "m.room.message", null, null, null]"#;
        assert!(Event::parse(list).is_err());
    }
}
