//! How far a user has read.

use ruma::{EventId, RoomId};
use serde_json::{Map, json};

use super::Intent;
use crate::client::{Call, Error};

const RECEIPT: &str = "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}";
const MARKERS: &str = "/_matrix/client/v3/rooms/{roomId}/read_markers";

/// How far a user has read, for [`Intent::set_read_markers`]. What is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadMarkers<'a> {
    /// All before it is read (`m.fully_read`); nobody else sees it.
    pub fully_read: Option<&'a EventId>,
    /// What everybody sees (`m.read`).
    pub read: Option<&'a EventId>,
    /// For one's own counts only (`m.read.private`).
    pub private_read: Option<&'a EventId>,
}

impl Intent {
    /// Shows that this user has read all up to `event`, in the whole room.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#receipts).
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the user isn't in the room; else as any call.
    pub async fn send_read_receipt(&self, room: &RoomId, event: &EventId) -> Result<(), Error> {
        self.receipt(room, event, None).await
    }

    /// As [`Intent::send_read_receipt`], in the thread that began with `thread`.
    ///
    /// # Errors
    ///
    /// As [`Intent::send_read_receipt`].
    pub async fn send_thread_receipt(
        &self,
        room: &RoomId,
        event: &EventId,
        thread: &EventId,
    ) -> Result<(), Error> {
        self.receipt(room, event, Some(thread)).await
    }

    async fn receipt(
        &self,
        room: &RoomId,
        event: &EventId,
        thread: Option<&EventId>,
    ) -> Result<(), Error> {
        let mut body = Map::new();
        if let Some(root) = thread {
            body.insert("thread_id".to_owned(), json!(root));
        }
        let args = [room.as_str(), "m.read", event.as_str()];
        let call = Call::post(RECEIPT, &args)?.json(&body)?;
        self.call(call.repeatable()).await?;
        Ok(())
    }

    /// Sets how far this user has read, in one call.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#fully-read-markers).
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the user isn't in the room; else as any call.
    pub async fn set_read_markers(
        &self,
        room: &RoomId,
        markers: ReadMarkers<'_>,
    ) -> Result<(), Error> {
        let mut body = Map::new();
        for (key, event) in [
            ("m.fully_read", markers.fully_read),
            ("m.read", markers.read),
            ("m.read.private", markers.private_read),
        ] {
            if let Some(event) = event {
                body.insert(key.to_owned(), json!(event));
            }
        }
        let call = Call::post(MARKERS, &[room.as_str()])?.json(&body)?;
        self.call(call.repeatable()).await?;
        Ok(())
    }
}
