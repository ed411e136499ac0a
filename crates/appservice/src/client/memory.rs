//! What is known of our users and rooms, so that it needn't be asked again.
//!
//! Filled from the homeserver's answers and from the events that pass by, and empty after a restart.
//! It is a hint, never the truth: the journal may deliver an old event again, and an event may never
//! come. So nothing here grants anything: who is remembered as joined and is refused is looked up
//! again, and power levels that may be older than an event which passed by are forgotten.
//!
//! Bounded: the rooms and the users that were not looked at for the longest time are forgotten first.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use regex_automata::meta::Regex;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    events::room::power_levels::RoomPowerLevels,
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::lru::Lru;
use crate::intent::SOURCE_KEY;

/// Of one room, so many of our users are remembered.
const MEMBERS_PER_ROOM: usize = 4096;
/// Users for each room: most bridges have more ghosts than rooms at a time.
const USERS_PER_ROOM: usize = 4;

/// The only events that are looked into.
static TELLING: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"m\.room\.(member|power_levels|create|tombstone)").ok());

pub(crate) type Ours = dyn Fn(&UserId) -> bool + Send + Sync;

pub(crate) struct Memory {
    ours: Box<Ours>,
    inner: Mutex<Inner>,
}

struct Inner {
    rooms: Lru<OwnedRoomId, Room>,
    users: Lru<OwnedUserId, User>,
    /// How many power levels have passed by.
    levels_passed: u64,
}

#[derive(Default)]
struct Room {
    /// Which of our users are there.
    joined: HashSet<OwnedUserId>,
    creation: Option<Arc<Creation>>,
    levels: Option<Arc<RoomPowerLevels>>,
}

#[derive(Default)]
struct User {
    registered: bool,
    /// The fields that we have set or read.
    profile: Map<String, Value>,
}

/// What never changes in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) sender: OwnedUserId,
    /// When, by the clock of the creator's homeserver. Unix time in ms.
    pub(crate) at_ms: u64,
    /// The creators besides the sender, from version 12 on.
    pub(crate) additional_creators: Vec<OwnedUserId>,
    pub(crate) version: RoomVersionId,
    /// The source that a room of ours was made with.
    pub(crate) source: Option<String>,
}

/// When power levels began to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LevelsAsOf(u64);

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    kind: String,
    room_id: OwnedRoomId,
    state_key: Option<String>,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Member {
    membership: String,
    displayname: Option<Value>,
    avatar_url: Option<Value>,
}

impl Creation {
    /// Reads an `m.room.create` event.
    pub(crate) fn parse(json: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Create {
            sender: OwnedUserId,
            origin_server_ts: Option<u64>,
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            room_version: Option<RoomVersionId>,
            #[serde(default)]
            additional_creators: Vec<OwnedUserId>,
            #[serde(flatten)]
            rest: Map<String, Value>,
        }
        let Create {
            sender,
            origin_server_ts,
            content,
        } = serde_json::from_str(json)?;
        Ok(Self {
            sender,
            // What can't be told is new.
            at_ms: origin_server_ts.unwrap_or(u64::MAX),
            additional_creators: content.additional_creators,
            version: content.room_version.unwrap_or(RoomVersionId::V1),
            source: content
                .rest
                .get(SOURCE_KEY)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned),
        })
    }

    /// How long ago that was, as far as the clocks of two machines can tell.
    pub(crate) fn age(&self) -> Duration {
        let now = u64::try_from(crate::journal::now_ms()).unwrap_or(0);
        Duration::from_millis(now.saturating_sub(self.at_ms))
    }
}

impl Memory {
    pub(crate) fn new(rooms: usize, ours: Box<Ours>) -> Self {
        Self {
            ours,
            inner: Mutex::new(Inner {
                rooms: Lru::new(rooms),
                // Without it each send would ask whether its ghost exists.
                users: Lru::new(rooms.saturating_mul(USERS_PER_ROOM).max(1024)),
                levels_passed: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at an event that passes by. Cheap for those that tell nothing.
    pub(crate) fn observe(&self, event: &[u8]) {
        let telling = TELLING.as_ref();
        if telling.is_none_or(|telling| !telling.is_match(event)) {
            return;
        }
        let Ok(head) = serde_json::from_slice::<Head<'_>>(event) else {
            return;
        };
        match (head.kind.as_str(), head.state_key.as_deref()) {
            ("m.room.member", Some(user)) => self.observe_member(&head, user),
            ("m.room.power_levels", Some("")) => {
                let mut inner = self.lock();
                inner.levels_passed += 1;
                // It may be an old one that comes again, so it isn't taken over.
                if let Some(room) = inner.rooms.get(&head.room_id) {
                    room.levels = None;
                }
            }
            ("m.room.create", Some("")) => {
                let creation = str::from_utf8(event).ok().map(Creation::parse);
                if let Some(Ok(creation)) = creation
                    && (self.ours)(&creation.sender)
                {
                    self.remember_creation(&head.room_id, creation.into());
                }
            }
            ("m.room.tombstone", Some("")) => self.lock().rooms.remove(&head.room_id),
            _ => {}
        }
    }

    fn observe_member(&self, head: &Head<'_>, user: &str) {
        let (Ok(user), Ok(member)) = (
            UserId::parse(user),
            serde_json::from_str::<Member>(head.content.get()),
        ) else {
            return;
        };
        if !(self.ours)(&user) {
            return;
        }
        if member.membership == "join" {
            self.remember_joined(&head.room_id, &user);
            // Somebody else set it meanwhile, or it is an old one: the next `ensure_…` looks.
            let mut inner = self.lock();
            if let Some(known) = inner.users.get(&user) {
                for (field, seen) in [
                    ("displayname", &member.displayname),
                    ("avatar_url", &member.avatar_url),
                ] {
                    if seen.as_ref() != known.profile.get(field) {
                        known.profile.remove(field);
                    }
                }
            }
        } else {
            self.forget_joined(&head.room_id, &user);
        }
    }

    pub(crate) fn is_ours(&self, user: &UserId) -> bool {
        (self.ours)(user)
    }

    pub(crate) fn is_joined(&self, room: &RoomId, user: &UserId) -> bool {
        let mut inner = self.lock();
        let room = inner.rooms.get(room);
        room.is_some_and(|room| room.joined.contains(user))
    }

    pub(crate) fn remember_joined(&self, room: &RoomId, user: &UserId) {
        let mut inner = self.lock();
        if let Some(known) = inner.rooms.get(room)
            && known.joined.contains(user)
        {
            return;
        }
        inner.rooms.update(room.to_owned(), |known| {
            if known.joined.len() >= MEMBERS_PER_ROOM {
                known.joined.clear();
            }
            known.joined.insert(user.to_owned());
        });
    }

    pub(crate) fn forget_joined(&self, room: &RoomId, user: &UserId) {
        let mut inner = self.lock();
        if let Some(known) = inner.rooms.get(room) {
            known.joined.remove(user);
            if known.joined.is_empty() {
                // Its events may not reach us any more.
                known.levels = None;
            }
        }
    }

    pub(crate) fn creation(&self, room: &RoomId) -> Option<Arc<Creation>> {
        self.lock().rooms.get(room)?.creation.clone()
    }

    pub(crate) fn remember_creation(&self, room: &RoomId, creation: Arc<Creation>) {
        self.lock()
            .rooms
            .update(room.to_owned(), |known| known.creation = Some(creation));
    }

    pub(crate) fn levels(&self, room: &RoomId) -> Option<Arc<RoomPowerLevels>> {
        self.lock().rooms.get(room)?.levels.clone()
    }

    /// To be called before power levels are read.
    pub(crate) fn levels_as_of(&self) -> LevelsAsOf {
        LevelsAsOf(self.lock().levels_passed)
    }

    /// Unless others have passed by since they began to be read, or none of our users is there, so that
    /// others wouldn't pass by.
    pub(crate) fn remember_levels(
        &self,
        room: &RoomId,
        as_of: LevelsAsOf,
        levels: &Arc<RoomPowerLevels>,
    ) {
        let mut inner = self.lock();
        if inner.levels_passed == as_of.0
            && let Some(known) = inner.rooms.get(room)
            && !known.joined.is_empty()
        {
            known.levels = Some(levels.clone());
        }
    }

    pub(crate) fn forget_levels(&self, room: &RoomId) {
        let mut inner = self.lock();
        inner.levels_passed += 1;
        if let Some(known) = inner.rooms.get(room) {
            known.levels = None;
        }
    }

    pub(crate) fn is_registered(&self, user: &UserId) -> bool {
        self.lock()
            .users
            .get(user)
            .is_some_and(|user| user.registered)
    }

    pub(crate) fn remember_registered(&self, user: &UserId) {
        self.lock()
            .users
            .update(user.to_owned(), |user| user.registered = true);
    }

    /// Whether the field is known to have this value.
    pub(crate) fn has_field(&self, user: &UserId, field: &str, value: &Value) -> bool {
        let mut inner = self.lock();
        let user = inner.users.get(user);
        user.is_some_and(|user| user.profile.get(field) == Some(value))
    }

    pub(crate) fn remember_field(&self, user: &UserId, field: &str, value: Option<&Value>) {
        let mut inner = self.lock();
        inner.users.update(user.to_owned(), |user| match value {
            Some(value) => {
                user.profile.insert(field.to_owned(), value.clone());
            }
            None => {
                user.profile.remove(field);
            }
        });
    }

    pub(crate) fn forget_user(&self, user: &UserId) {
        self.lock().users.remove(user);
    }
}

#[cfg(test)]
mod tests;
