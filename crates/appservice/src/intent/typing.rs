//! Typing notices.

use std::time::Duration;

use ruma::RoomId;
use serde_json::json;

use super::Intent;
use crate::client::{Call, Error};

const TYPING: &str = "/_matrix/client/v3/rooms/{roomId}/typing/{userId}";

impl Intent {
    /// Shows that this user is typing, for as long as `until` says if nothing comes before; `None`
    /// takes it back. What the user sends takes it back as well.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#typing-notifications).
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the user isn't in the room; else as any call.
    pub async fn typing(&self, room: &RoomId, until: Option<Duration>) -> Result<(), Error> {
        let body = match until {
            Some(until) => json!({
                "typing": true,
                "timeout": u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
            }),
            None => json!({"typing": false}),
        };
        let call = Call::put(TYPING, &[room.as_str(), self.user.as_str()])?.json(&body)?;
        self.call(call).await?;
        Ok(())
    }
}
