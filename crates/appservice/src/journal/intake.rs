//! What of a transaction is taken in: all events, or those of the rooms that the application cares
//! about; and of the rest what has a handler.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ruma::{RoomId, UserId};

/// Says yes or no to a room.
pub(crate) type RoomPredicate = Arc<dyn Fn(&RoomId) -> bool + Send + Sync>;
/// Says whether a user is one of the application service's own.
pub(crate) type UserPredicate = Arc<dyn Fn(&UserId) -> bool + Send + Sync>;

#[derive(Clone, Default)]
pub(crate) struct Intake {
    /// The sources that have a handler.
    pub(crate) handled: HashSet<String>,
    /// Without one, all rooms are wanted.
    pub(crate) rooms: Option<RoomFilter>,
}

impl Intake {
    pub(crate) fn handles(&self, source: &str) -> bool {
        self.handled.contains(source)
    }

    pub(crate) fn wants(&self, room: &str) -> bool {
        self.rooms.as_ref().is_none_or(|rooms| rooms.wants(room))
    }
}

/// Which rooms are stored.
#[derive(Clone)]
pub(crate) struct RoomFilter {
    pub(crate) wanted: RoomPredicate,
    pub(crate) ours: UserPredicate,
}

impl RoomFilter {
    /// In doubt (no room id, a predicate that panics) a room is wanted: what isn't stored is lost.
    fn wants(&self, room: &str) -> bool {
        let Ok(room) = <&RoomId>::try_from(room) else {
            return true;
        };
        catch_unwind(AssertUnwindSafe(|| (self.wanted)(room))).unwrap_or_else(|_| {
            tracing::error!(%room, "the room filter panicked, the room is taken in");
            true
        })
    }

    pub(crate) fn is_ours(&self, user: &str) -> bool {
        <&UserId>::try_from(user).is_ok_and(|user| (self.ours)(user))
    }
}
