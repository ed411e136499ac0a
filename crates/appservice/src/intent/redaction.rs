//! Taking events back.

use ruma::{EventId, OwnedEventId, RoomId};
use serde::Deserialize;
use serde_json::{Map, json};

use super::{Intent, send::Trace};
use crate::client::{Call, Error};

const REDACT: &str = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
const EVENT: &str = "/_matrix/client/v3/rooms/{roomId}/event/{eventId}";

impl Intent {
    /// Redacts an event: takes its content away for good. Returns the redaction's id.
    ///
    /// Run again in the same delivery, it finds the event redacted and returns that redaction.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#redactions).
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when it is somebody else's event and the power level too low; else as any call.
    pub async fn redact(
        &self,
        room: &RoomId,
        event: &EventId,
        reason: Option<&str>,
    ) -> Result<OwnedEventId, Error> {
        let mut content = Map::new();
        if let Some(reason) = reason {
            content.insert("reason".to_owned(), json!(reason));
        }
        self.send_once(room, Trace::RedactionOf(event), content, |txn_id| {
            Call::put(REDACT, &[room.as_str(), event.as_str(), txn_id.as_str()])
        })
        .await
    }

    /// The redaction of an event, whoever redacted it.
    pub(super) async fn find_redaction(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<OwnedEventId>, Error> {
        #[derive(Deserialize)]
        struct Redacted {
            #[serde(default)]
            unsigned: Unsigned,
        }
        #[derive(Deserialize, Default)]
        struct Unsigned {
            redacted_because: Option<Because>,
        }
        #[derive(Deserialize)]
        struct Because {
            event_id: OwnedEventId,
        }
        let call = Call::get(EVENT, &[room.as_str(), event.as_str()])?;
        match self.call(call).await {
            Ok(answer) => {
                let redacted: Redacted = answer.read()?;
                Ok(redacted.unsigned.redacted_because.map(|by| by.event_id))
            }
            Err(error) if error.is_not_found() || error.is_forbidden() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
