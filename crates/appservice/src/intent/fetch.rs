//! Reading events back.

use ruma::{EventId, RoomId};
use serde_json::Value;

use super::Intent;
use crate::client::{Call, Error};

const EVENT: &str = "/_matrix/client/v3/rooms/{roomId}/event/{eventId}";

impl Intent {
    /// An event of a room as it is now, with what the homeserver puts beside it: who redacted it
    /// (`unsigned.redacted_because`), and its latest valid edit (`unsigned.m.relations.m.replace`,
    /// where the homeserver has it). `None` when there is no such event, or this user may not see it.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#get_matrixclientv3roomsroomideventeventid).
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn event(&self, room: &RoomId, event: &EventId) -> Result<Option<Value>, Error> {
        let call = Call::get(EVENT, &[room.as_str(), event.as_str()])?;
        match self.call(call).await {
            Ok(answer) => answer.read().map(Some),
            Err(error) if error.is_not_found() || error.is_forbidden() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
