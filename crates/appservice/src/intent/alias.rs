//! Names of rooms that a homeserver keeps.

use http::StatusCode;
use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomAliasId, RoomId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Intent, StateEvent};
use crate::client::{Call, Error};

const ALIAS: &str = "/_matrix/client/v3/directory/room/{roomAlias}";
const ALIASES: &str = "/_matrix/client/v3/rooms/{roomId}/aliases";

impl Intent {
    /// Which room an alias leads to; `None` when there is no such alias.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<Option<OwnedRoomId>, Error> {
        #[derive(Deserialize)]
        struct Found {
            room_id: OwnedRoomId,
        }
        match self.call(Call::get(ALIAS, &[alias.as_str()])?).await {
            Ok(answer) => Ok(Some(answer.read::<Found>()?.room_id)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets an alias lead to a room. Returns whether it had to. The room doesn't say so by itself: see
    /// [`Intent::set_canonical_alias`].
    ///
    /// # Errors
    ///
    /// [`Error::ForeignAlias`] when it leads to another room; `M_EXCLUSIVE` when it is in another
    /// application service's namespace; else as any call.
    pub async fn create_alias(&self, alias: &RoomAliasId, room: &RoomId) -> Result<bool, Error> {
        let call = Call::put(ALIAS, &[alias.as_str()])?.json(&json!({"room_id": room}))?;
        match self.call(call).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(StatusCode::CONFLICT) => {
                match self.resolve_alias(alias).await? {
                    Some(taken_by) if taken_by == room => Ok(false),
                    Some(_) => Err(Error::ForeignAlias),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Takes an alias away. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when it was made by somebody else and the power level is too low; else as any call.
    pub async fn delete_alias(&self, alias: &RoomAliasId) -> Result<bool, Error> {
        // Asked to delete one that isn't there, Synapse tells application services that all went well.
        if self.resolve_alias(alias).await?.is_none() {
            return Ok(false);
        }
        match self.call(Call::delete(ALIAS, &[alias.as_str()])?).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The aliases on the homeserver that lead to a room.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this user may not see the room; else as any call.
    pub async fn aliases(&self, room: &RoomId) -> Result<Vec<OwnedRoomAliasId>, Error> {
        #[derive(Deserialize)]
        struct Aliases {
            aliases: Vec<OwnedRoomAliasId>,
        }
        let call = Call::get(ALIASES, &[room.as_str()])?;
        Ok(self.call(call).await?.read::<Aliases>()?.aliases)
    }

    /// Says in the room which alias is its own, and which others it has, unless it says so already.
    /// The homeserver checks that they lead there. Returns whether it had to.
    ///
    /// # Errors
    ///
    /// `M_BAD_ALIAS` when one of them leads elsewhere or nowhere; else as [`Intent::set_state`].
    pub async fn set_canonical_alias(
        &self,
        room: &RoomId,
        alias: Option<&RoomAliasId>,
        others: &[OwnedRoomAliasId],
    ) -> Result<bool, Error> {
        let mut content = Map::new();
        if let Some(alias) = alias {
            content.insert("alias".to_owned(), json!(alias));
        }
        if !others.is_empty() {
            content.insert("alt_aliases".to_owned(), json!(others));
        }
        let state = StateEvent::new("m.room.canonical_alias", Value::Object(content));
        self.ensure_state(room, &state).await
    }
}
