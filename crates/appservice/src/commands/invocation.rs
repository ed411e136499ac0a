//! A command that somebody typed.

use std::ops::Deref;

use ruma::{RoomId, UserId, events::room::message::OriginalRoomMessageEvent};

use crate::dispatch::Delivery;

/// A command that somebody typed, and the means to act on it: it is a [`Delivery`] too.
#[derive(Clone)]
pub struct Invocation {
    pub(super) delivery: Delivery,
    pub(super) message: OriginalRoomMessageEvent,
}

impl Invocation {
    /// The room it was typed in.
    #[must_use]
    pub fn room_id(&self) -> &RoomId {
        &self.message.room_id
    }

    /// Who typed it.
    #[must_use]
    pub fn sender(&self) -> &UserId {
        &self.message.sender
    }

    /// The whole message.
    #[must_use]
    pub fn message(&self) -> &OriginalRoomMessageEvent {
        &self.message
    }
}

impl Deref for Invocation {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

impl std::fmt::Debug for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invocation")
            .field("event_id", &self.message.event_id)
            .finish_non_exhaustive()
    }
}
