//! What of a transaction is taken in: all events, or those of the rooms that the application cares
//! about; and of the rest what has a handler.

use std::{
    collections::{BTreeMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ruma::{RoomId, UserId};

/// Says yes or no to a room.
pub(crate) type RoomPredicate = Arc<dyn Fn(&RoomId) -> bool + Send + Sync>;
/// Says whether a user is one of the application service's own.
pub(crate) type UserPredicate = Arc<dyn Fn(&UserId) -> bool + Send + Sync>;

/// The readers by name, and the sources that each has a handler for.
pub(crate) type Readers = BTreeMap<String, HashSet<String>>;

#[derive(Clone, Default)]
pub(crate) struct Intake {
    pub(crate) readers: Readers,
    /// Without one, all rooms are wanted.
    pub(crate) rooms: Option<RoomFilter>,
}

impl Intake {
    /// Whether any reader has a handler for it.
    pub(crate) fn handles(&self, source: &str) -> bool {
        self.readers
            .values()
            .any(|handled| handled.contains(source))
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

/// Who gets an entry of this source: all readers that have a handler for it, or else the one without a
/// name.
pub(crate) fn readers_of<'a>(
    readers: &'a Readers,
    source: &'a str,
) -> impl Iterator<Item = &'a str> {
    let mut names = readers
        .iter()
        .filter(move |(_, handled)| handled.contains(source))
        .map(|(name, _)| name.as_str())
        .peekable();
    let nobody = names.peek().is_none().then_some("");
    names.chain(nobody)
}
