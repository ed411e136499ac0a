//! The homeserver's public directory of rooms.

use ruma::{RoomId, api::client::room::Visibility};
use serde::Deserialize;
use serde_json::json;

use super::Intent;
use crate::client::{Call, Error};

const ROOM: &str = "/_matrix/client/v3/directory/list/room/{roomId}";
const NETWORK: &str = "/_matrix/client/v3/directory/list/appservice/{networkId}/{roomId}";

impl Intent {
    /// Puts a room into the homeserver's public directory, or takes it out.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#published-room-directory).
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the power level is too low or the homeserver doesn't want that room; else as
    /// any call.
    pub async fn set_visibility(
        &self,
        room: &RoomId,
        visibility: &Visibility,
    ) -> Result<(), Error> {
        let body = json!({"visibility": visibility.as_str()});
        self.call(Call::put(ROOM, &[room.as_str()])?.json(&body)?)
            .await?;
        Ok(())
    }

    /// Whether a room is in the homeserver's public directory.
    ///
    /// # Errors
    ///
    /// `M_NOT_FOUND` when the homeserver doesn't know the room; else as any call.
    pub async fn visibility(&self, room: &RoomId) -> Result<Visibility, Error> {
        #[derive(Deserialize)]
        struct Listed {
            visibility: Visibility,
        }
        let call = Call::get(ROOM, &[room.as_str()])?;
        Ok(self.call(call).await?.read::<Listed>()?.visibility)
    }

    /// Puts a room into the directory of a network that the application service bridges to, or takes it
    /// out. `network` is one of the `network_id`s that its third-party protocols name
    /// ([`ThirdParty`](crate::ThirdParty)).
    /// [Specification](https://spec.matrix.org/v1.17/application-service-api/#published-room-directory).
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn set_network_visibility(
        &self,
        network: &str,
        room: &RoomId,
        visibility: &Visibility,
    ) -> Result<(), Error> {
        let call = Call::put(NETWORK, &[network, room.as_str()])?;
        let call = call.json(&json!({"visibility": visibility.as_str()}))?;
        self.sender().call(call).await?;
        Ok(())
    }
}
