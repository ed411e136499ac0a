//! Whether a user is there.

use ruma::{UserId, presence::PresenceState};
use serde_json::{Map, json};

use super::Intent;
use crate::client::{Call, Error};

const PRESENCE: &str = "/_matrix/client/v3/presence/{userId}/status";

impl Intent {
    /// Says whether this user is there, and what it is doing. The homeserver may take it back after a
    /// while in which the user does nothing.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#presence).
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn set_presence(
        &self,
        presence: PresenceState,
        status: Option<&str>,
    ) -> Result<(), Error> {
        let mut body = Map::from_iter([("presence".to_owned(), json!(presence))]);
        if let Some(status) = status {
            body.insert("status_msg".to_owned(), json!(status));
        }
        let call = Call::put(PRESENCE, &[self.user.as_str()])?.json(&body)?;
        self.call(call).await?;
        Ok(())
    }

    /// Whether a user is there, as far as this one may know.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this user may not know; else as any call.
    pub async fn presence(&self, user: &UserId) -> Result<PresenceState, Error> {
        #[derive(serde::Deserialize)]
        struct Presence {
            presence: PresenceState,
        }
        let call = Call::get(PRESENCE, &[user.as_str()])?;
        let presence: Presence = self.call(call).await?.read()?;
        Ok(presence.presence)
    }
}
