//! A Matrix event as the homeserver pushed it: its head read, the rest left as it came.

use std::fmt;

use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, UserId,
    events::{AnyTimelineEvent, room::message::OriginalRoomMessageEvent},
    serde::Raw,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event, message or state.
#[derive(Clone)]
pub struct Event {
    head: Head,
    json: Box<RawValue>,
}

#[derive(Clone, Deserialize)]
struct Head {
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    sender: OwnedUserId,
    #[serde(rename = "type")]
    kind: String,
    state_key: Option<String>,
    #[serde(default)]
    unsigned: Unsigned,
}

#[derive(Clone, Default, Deserialize)]
struct Unsigned {
    redacted_because: Option<serde::de::IgnoredAny>,
}

impl Event {
    /// Reads the head of an event.
    ///
    /// # Errors
    ///
    /// When one of `event_id`, `room_id`, `sender` and `type` is missing or no such thing. The error
    /// may quote the event: don't log it.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let json: Box<RawValue> = serde_json::from_slice(json)?;
        Ok(Self {
            head: serde_json::from_str(json.get())?,
            json,
        })
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> &ruma::EventId {
        &self.head.event_id
    }

    /// The room it was sent in.
    #[must_use]
    pub fn room_id(&self) -> &ruma::RoomId {
        &self.head.room_id
    }

    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> &ruma::UserId {
        &self.head.sender
    }

    /// Its type, such as `m.room.message`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.head.kind
    }

    /// The state key: present (also when empty) on state, absent on messages.
    #[must_use]
    pub fn state_key(&self) -> Option<&str> {
        self.head.state_key.as_deref()
    }

    /// Whether it was redacted before it got here; then most of its content is gone.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        self.head.unsigned.redacted_because.is_some()
    }

    /// The whole event as JSON, to be read as a type of your choice.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// The event's content as a type of your choice.
    ///
    /// # Errors
    ///
    /// When it isn't one. The error may quote the event: don't log it.
    pub fn content<T: serde::de::DeserializeOwned>(&self) -> serde_json::Result<T> {
        #[derive(Deserialize)]
        struct WithContent<T> {
            content: T,
        }
        serde_json::from_str::<WithContent<T>>(self.json.get()).map(|event| event.content)
    }

    /// The whole event as one of ruma's types.
    #[must_use]
    pub fn raw(&self) -> Raw<AnyTimelineEvent> {
        Raw::from_json(self.json.clone())
    }

    /// Whom the event invites into its room, where that is what it does.
    #[must_use]
    pub fn invited_user(&self) -> Option<OwnedUserId> {
        #[derive(Deserialize)]
        struct Member {
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            membership: String,
        }
        if self.kind() != "m.room.member" {
            return None;
        }
        let user = UserId::parse(self.state_key()?).ok()?;
        let member: Member = serde_json::from_str(self.json.get()).ok()?;
        (member.content.membership == "invite").then_some(user)
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
        serde_json::from_str(self.json.get()).map(Some)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_id", &self.head.event_id)
            .field("room_id", &self.head.room_id)
            .field("type", &self.head.kind)
            .finish_non_exhaustive()
    }
}
