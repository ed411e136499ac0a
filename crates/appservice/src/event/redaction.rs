//! `m.room.redaction`
//!
//! [Specification](https://spec.matrix.org/v1.17/client-server-api/#mroomredaction)

use std::fmt;

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, de::Error as _};

use super::{Event, TypedEvent};

/// Somebody takes an event back, or a moderator removes it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Redaction {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The redaction itself.
    pub event_id: OwnedEventId,
    /// Who does it.
    pub sender: OwnedUserId,
    /// The event that is taken back.
    pub redacts: OwnedEventId,
    /// Why, in people's words.
    pub reason: Option<String>,
}

impl TypedEvent for Redaction {
    const TYPE: &'static str = "m.room.redaction";

    fn asks_for(event: &Event) -> bool {
        event.kind() == Self::TYPE && event.state_key().is_none() && !event.is_redacted()
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Wire {
            redacts: Option<OwnedEventId>,
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            redacts: Option<OwnedEventId>,
            reason: Option<String>,
        }
        let wire: Wire = event.read()?;
        // Its place depends on the room's version. Homeservers put it into both; the one at the top is
        // theirs, what stands in the content of an older room's is a stranger's.
        let redacts = wire.redacts.or(wire.content.redacts);
        Ok(Self {
            room_id: event.room_id().to_owned(),
            event_id: event.event_id().to_owned(),
            sender: event.sender().to_owned(),
            redacts: redacts.ok_or_else(|| serde_json::Error::custom("it redacts nothing"))?,
            reason: wire.content.reason,
        })
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction")
            .field("event_id", &self.event_id)
            .field("redacts", &self.redacts)
            .finish_non_exhaustive()
    }
}
