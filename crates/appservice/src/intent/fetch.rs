//! Reading events back.

use ruma::{EventId, RoomId};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Intent, send::MESSAGES};
use crate::{
    client::{Call, Error},
    event::Event,
};

const EVENT: &str = "/_matrix/client/v3/rooms/{roomId}/event/{eventId}";

/// A piece of a room's past.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct History {
    /// Its events, newest first. What can't be read as an event is left out.
    pub events: Vec<Event>,
    /// Where it goes on, further back; `None` at the room's beginning.
    pub further: Option<String>,
}

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

    /// A page of a room's past, newest first: from its newest event, or from where an earlier page ended
    /// ([`History::further`]). At most `limit` events; a page can be empty and not be the last. The homeserver asks
    /// others for what it has missed, as far as it notices.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#get_matrixclientv3roomsroomidmessages).
    ///
    /// With [`Journal::append_events`](crate::Journal::append_events), what was said while the homeserver could not be
    /// reached, and what it never pushed, gets to the handlers after all.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this user may not see the room; else as any call.
    pub async fn history(
        &self,
        room: &RoomId,
        from: Option<&str>,
        limit: u16,
    ) -> Result<History, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            chunk: Vec<Box<RawValue>>,
            end: Option<String>,
        }
        let mut call = Call::get(MESSAGES, &[room.as_str()])?
            .query("dir", "b")
            .query("limit", &limit.to_string());
        if let Some(from) = from {
            call = call.query("from", from);
        }
        let page: Page = self.call(call).await?.read()?;
        let events = page.chunk.iter();
        Ok(History {
            events: events
                .filter_map(|event| Event::parse(event.get().as_bytes()).ok())
                .collect(),
            further: page.end,
        })
    }
}
