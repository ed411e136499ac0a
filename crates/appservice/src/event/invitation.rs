//! Invitations to the application service's users.

use std::fmt;

use ruma::{OwnedRoomId, OwnedUserId, events::AnyStrippedStateEvent, serde::Raw};
use serde::Deserialize;
use serde_json::Value;

use super::Event;

/// Somebody invites one of the application service's users into a room.
///
/// Accept it with `delivery.intent(&invitation.user_id).join(&invitation.room_id)`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Invitation {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who is invited: the application service's own user or one of its ghosts.
    pub user_id: OwnedUserId,
    /// Who invites.
    pub sender: OwnedUserId,
    /// Whether the inviter's client means it as a direct chat.
    pub is_direct: bool,
    /// Why, in people's words.
    pub reason: Option<String>,
    /// What the invitation tells of the room: its name, its encryption and so on, as far as the
    /// inviter's homeserver says, and nobody has checked.
    pub room_state: Vec<Raw<AnyStrippedStateEvent>>,
}

impl Invitation {
    /// The invitation that an event is, whomever it invites.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            content: Content,
            #[serde(default)]
            unsigned: Unsigned,
            #[serde(default)]
            invite_room_state: Vec<Raw<AnyStrippedStateEvent>>,
        }
        #[derive(Deserialize)]
        struct Content {
            is_direct: Option<Value>,
            reason: Option<Value>,
        }
        #[derive(Default, Deserialize)]
        struct Unsigned {
            #[serde(default)]
            invite_room_state: Vec<Raw<AnyStrippedStateEvent>>,
        }
        let user_id = event.invited_user()?;
        let wire: Wire = event.read().ok()?;
        let mut room_state = wire.unsigned.invite_room_state;
        if room_state.is_empty() {
            room_state = wire.invite_room_state;
        }
        Some(Self {
            room_id: event.room_id().to_owned(),
            user_id,
            sender: event.sender().to_owned(),
            is_direct: wire.content.is_direct == Some(Value::Bool(true)),
            reason: wire
                .content
                .reason
                .and_then(|reason| reason.as_str().map(ToOwned::to_owned)),
            room_state,
        })
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("room_id", &self.room_id)
            .field("is_direct", &self.is_direct)
            .finish_non_exhaustive()
    }
}
