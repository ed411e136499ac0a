//! Events to be sent: messages have a builder of their own.

use std::{borrow::Cow, fmt};

use ruma::{MilliSecondsSinceUnixEpoch, events::MessageLikeEventContent};
use serde_json::{Map, Value};

use crate::client::Error;

/// An event of any type that is no state, to be sent with [`Intent::send`](crate::Intent::send).
/// `Debug` doesn't show its content.
///
/// ```
/// use matrix_appservice::NewEvent;
/// use serde_json::{Map, json};
///
/// let content = Map::from_iter([("level".to_owned(), json!(7))]);
/// let event = NewEvent::new("org.example.alarm", content);
/// ```
#[derive(Clone)]
pub struct NewEvent {
    pub(super) kind: Cow<'static, str>,
    pub(super) content: Map<String, Value>,
    pub(super) at: Option<MilliSecondsSinceUnixEpoch>,
}

impl NewEvent {
    /// An event of this type. Homeservers refuse floats, and events of more than 65,536 bytes.
    #[must_use]
    pub fn new(kind: impl Into<Cow<'static, str>>, content: Map<String, Value>) -> Self {
        Self {
            kind: kind.into(),
            content,
            at: None,
        }
    }

    /// An event of one of ruma's types, or of one of your own that is derived from
    /// `EventContent`.
    ///
    /// # Errors
    ///
    /// When it doesn't become a JSON object.
    pub fn typed<C: MessageLikeEventContent>(content: &C) -> Result<Self, Error> {
        match serde_json::to_value(content) {
            Ok(Value::Object(map)) => Ok(Self::new(content.event_type().to_string(), map)),
            _ => Err(Error::Request("the content can't be put into JSON")),
        }
    }

    /// The time that the event shall bear. Its place in the room doesn't change.
    /// [Specification](https://spec.matrix.org/v1.17/application-service-api/#timestamp-massaging).
    #[must_use]
    pub fn at(mut self, time: MilliSecondsSinceUnixEpoch) -> Self {
        self.at = Some(time);
        self
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
