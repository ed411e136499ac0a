//! Who may do what in a room.

use std::sync::Arc;

use ruma::{
    RoomId, RoomVersionId,
    events::room::power_levels::{
        RoomPowerLevels, RoomPowerLevelsEventContent, RoomPowerLevelsSource,
    },
    room_version_rules::AuthorizationRules,
};
use serde_json::{Map, Value};

use super::{Intent, StateEvent};
use crate::client::{Creation, Error};

const POWER_LEVELS: &str = "m.room.power_levels";
/// What ruma's type holds. Everything else is left as it is.
const KNOWN: [&str; 10] = [
    "ban",
    "events",
    "events_default",
    "invite",
    "kick",
    "notifications",
    "redact",
    "state_default",
    "users",
    "users_default",
];

impl Intent {
    /// Who may do what in a room, creators of room version 12 (who may do everything) included.
    ///
    /// Remembered while one of the application service's users is there, until an
    /// `m.room.power_levels` of the room passes by: a handler sees what held at its event or later.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this user isn't in the room; else as any call.
    pub async fn power_levels(&self, room: &RoomId) -> Result<Arc<RoomPowerLevels>, Error> {
        let memory = self.client.memory();
        if let Some(levels) = memory.levels(room) {
            return Ok(levels);
        }
        let as_of = memory.levels_as_of();
        let (levels, _) = self.read_power_levels(room).await?;
        let levels = Arc::new(levels);
        memory.remember_levels(room, as_of, &levels);
        Ok(levels)
    }

    /// Changes who may do what in a room: reads it afresh, lets `change` work on it, and sends what it
    /// made if that is something else. Returns whether it was. Keys that aren't part of the
    /// specification stay as they are, and creators who have every power are left out of `users`.
    ///
    /// Two changes at the same moment, by different users, can overwrite each other: Matrix has
    /// nothing against that.
    ///
    /// ```no_run
    /// # async fn f(intent: matrix_appservice::Intent, room: &matrix_appservice::ruma::RoomId,
    /// #     admin: matrix_appservice::ruma::OwnedUserId) -> Result<(), matrix_appservice::Error> {
    /// intent
    ///     .change_power_levels(room, |levels| {
    ///         levels.users.insert(admin, 100.into());
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this user may not; else as any call.
    pub async fn change_power_levels(
        &self,
        room: &RoomId,
        change: impl FnOnce(&mut RoomPowerLevels) + Send,
    ) -> Result<bool, Error> {
        let (before, mut content) = self.read_power_levels(room).await?;
        let mut after = before.clone();
        change(&mut after);
        let (before, after) = (json(before)?, json(after)?);
        if before == after {
            return Ok(false);
        }
        for key in KNOWN {
            content.remove(key);
        }
        content.extend(after);
        let state = StateEvent::new(POWER_LEVELS, Value::Object(content));
        self.set_state(room, &state).await?;
        Ok(true)
    }

    /// Also the content as it is.
    async fn read_power_levels(
        &self,
        room: &RoomId,
    ) -> Result<(RoomPowerLevels, Map<String, Value>), Error> {
        const ROUTE: &str = "/_matrix/client/v3/rooms/{roomId}/state/m.room.power_levels";
        let content = match self.state(room, POWER_LEVELS, "").await? {
            Some(Value::Object(content)) => Some(content),
            Some(_) => return Err(Error::Answer { route: ROUTE }),
            None => None,
        };
        // Without it, nobody knows who created the room: the user isn't there.
        let creation = self
            .room_creation(room)
            .await?
            .ok_or_else(|| Error::not_in_room(ROUTE))?;
        let source = match &content {
            Some(content) => {
                let content: RoomPowerLevelsEventContent =
                    serde_json::from_value(Value::Object(content.clone()))
                        .map_err(|_| Error::Answer { route: ROUTE })?;
                RoomPowerLevelsSource::Original(content)
            }
            None => RoomPowerLevelsSource::None,
        };
        let levels = RoomPowerLevels::new(source, &rules(&creation.version), creators(&creation));
        Ok((levels, content.unwrap_or_default()))
    }
}

/// Those of a version that isn't known yet are most likely those of the newest.
fn rules(version: &RoomVersionId) -> AuthorizationRules {
    version
        .rules()
        .map_or(AuthorizationRules::V12, |rules| rules.authorization)
}

fn creators(creation: &Creation) -> Vec<ruma::OwnedUserId> {
    let mut creators = vec![creation.sender.clone()];
    if rules(&creation.version).additional_room_creators {
        creators.extend(creation.additional_creators.iter().cloned());
    }
    creators
}

fn json(mut levels: RoomPowerLevels) -> Result<Map<String, Value>, Error> {
    const FAULT: Error = Error::Request("these power levels can't be put into JSON");
    if let Some(creators) = &levels.rules.privileged_creators {
        levels.users.retain(|user, _| !creators.contains(user));
    }
    let content = RoomPowerLevelsEventContent::try_from(levels).map_err(|_| FAULT)?;
    match serde_json::to_value(content) {
        Ok(Value::Object(content)) => Ok(content),
        _ => Err(FAULT),
    }
}
