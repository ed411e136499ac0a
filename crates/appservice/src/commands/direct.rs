//! Which rooms are direct chats with the application service's own user.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ruma::{OwnedRoomId, RoomId};

use crate::{client::Error, intent::Intent};

/// Rooms that are remembered; more than that, and it starts anew.
const REMEMBERED: usize = 10_000;

#[derive(Default)]
pub(super) struct DirectRooms(Mutex<HashMap<OwnedRoomId, bool>>);

impl DirectRooms {
    /// Somebody came or went.
    pub(super) fn forget(&self, room: &RoomId) {
        self.lock().remove(room);
    }

    /// Whether two are in the room, one of them the application service's own user.
    pub(super) async fn contain(&self, bot: &Intent, room: &RoomId) -> Result<bool, Error> {
        if let Some(direct) = self.lock().get(room) {
            return Ok(*direct);
        }
        let direct = match bot.joined_members(room).await {
            Ok(members) => members.len() == 2 && members.contains_key(bot.user_id()),
            Err(error) if error.is("M_FORBIDDEN") => false,
            Err(error) => return Err(error),
        };
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(room.to_owned(), direct);
        Ok(direct)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedRoomId, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
