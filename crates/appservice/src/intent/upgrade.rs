//! Moving a room to another version.

use ruma::{OwnedRoomId, OwnedUserId, RoomId, RoomVersionId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Intent;
use crate::client::{Call, Error};

const UPGRADE: &str = "/_matrix/client/v3/rooms/{roomId}/upgrade";

impl Intent {
    /// Replaces a room by one of another version and returns that; people are asked by their clients to
    /// move over. Aliases move as well. `additional_creators` share the new room's highest power, from
    /// version 12 on.
    ///
    /// A room that was replaced before is not replaced again: its replacement is returned.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#room-upgrades).
    ///
    /// # Errors
    ///
    /// `M_UNSUPPORTED_ROOM_VERSION`; `M_FORBIDDEN` when the power level is too low; else as any call.
    pub async fn upgrade_room(
        &self,
        room: &RoomId,
        version: &RoomVersionId,
        additional_creators: &[OwnedUserId],
    ) -> Result<OwnedRoomId, Error> {
        #[derive(Deserialize)]
        struct Upgraded {
            replacement_room: OwnedRoomId,
        }
        if let Some(replacement) = self.replacement_room(room).await? {
            return Ok(replacement);
        }
        let mut body = json!({"new_version": version});
        if !additional_creators.is_empty() {
            body["additional_creators"] = json!(additional_creators);
        }
        let call = Call::post(UPGRADE, &[room.as_str()])?.json(&body)?;
        let upgraded: Upgraded = match self.call(call).await {
            Ok(answer) => answer.read()?,
            // It may have been done: the old room says so.
            Err(error) if error.is_transient() => {
                return match self.replacement_room(room).await {
                    Ok(Some(replacement)) => Ok(replacement),
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        let memory = self.client.memory();
        memory.remember_joined(&upgraded.replacement_room, &self.user);
        Ok(upgraded.replacement_room)
    }

    /// The room that this one was replaced by, as its `m.room.tombstone` says. Whether that is so, only
    /// the other room's `predecessor` tells.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn replacement_room(&self, room: &RoomId) -> Result<Option<OwnedRoomId>, Error> {
        let tombstone = self.state(room, "m.room.tombstone", "").await?;
        Ok(tombstone
            .as_ref()
            .and_then(|content| content.get("replacement_room"))
            .and_then(Value::as_str)
            .and_then(|id| id.try_into().ok()))
    }
}
