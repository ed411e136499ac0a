//! Messages that take the place of an earlier one.
//!
//! [Specification](https://spec.matrix.org/v1.17/client-server-api/#event-replacements)

use std::fmt;

use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId,
    events::room::message::{
        OriginalRoomMessageEvent, Relation, RoomMessageEventContentWithoutRelation,
    },
};

/// Somebody edits a message.
///
/// Whether `replaces` is a message of the same sender is not known here, and an edit of somebody
/// else's means nothing: look at what you have stored of that message, or ask the homeserver.
#[derive(Clone)]
#[non_exhaustive]
pub struct Edit {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The edit itself.
    pub event_id: OwnedEventId,
    /// Who edits.
    pub sender: OwnedUserId,
    /// The message that is edited: always the first one, also when it is edited again.
    pub replaces: OwnedEventId,
    /// What it says now.
    pub content: RoomMessageEventContentWithoutRelation,
}

impl Edit {
    /// The edit that a message is; `None` when it is a message of its own.
    #[must_use]
    pub fn of(message: &OriginalRoomMessageEvent) -> Option<Self> {
        let Some(Relation::Replacement(edit)) = &message.content.relates_to else {
            return None;
        };
        Some(Self {
            room_id: message.room_id.clone(),
            event_id: message.event_id.clone(),
            sender: message.sender.clone(),
            replaces: edit.event_id.clone(),
            content: edit.new_content.clone(),
        })
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit")
            .field("event_id", &self.event_id)
            .field("replaces", &self.replaces)
            .finish_non_exhaustive()
    }
}
