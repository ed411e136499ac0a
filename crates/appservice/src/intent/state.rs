//! State events.

use std::fmt;

use http::Method;
use ruma::{MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, events::StateEventContent};
use serde_json::{Value, json};

use super::{Intent, send::Made};
use crate::client::{Call, Error};

const STATE: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
const STATE_WITHOUT_KEY: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}";
const ALL_STATE: &str = "/_matrix/client/v3/rooms/{roomId}/state";

/// A state event to be set. `Debug` doesn't show its content.
#[derive(Clone)]
pub struct StateEvent {
    /// Its type, such as `m.space.parent`.
    pub kind: String,
    /// Its state key; often empty.
    pub state_key: String,
    /// Its content: an object.
    pub content: Value,
}

impl StateEvent {
    /// A state event with an empty key, as most have.
    #[must_use]
    pub fn new(kind: impl Into<String>, content: Value) -> Self {
        Self::keyed(kind, "", content)
    }

    /// A state event with a key.
    #[must_use]
    pub fn keyed(kind: impl Into<String>, key: impl Into<String>, content: Value) -> Self {
        Self {
            kind: kind.into(),
            state_key: key.into(),
            content,
        }
    }

    /// A state event of one of ruma's types, or of one of your own that is derived from `EventContent`.
    ///
    /// # Errors
    ///
    /// When it can't be put into JSON.
    pub fn typed<C>(key: &C::StateKey, content: &C) -> Result<Self, Error>
    where
        C: StateEventContent,
        C::StateKey: AsRef<str>,
    {
        let value = serde_json::to_value(content)
            .map_err(|_| Error::Request("the content can't be put into JSON"))?;
        Ok(Self::keyed(
            content.event_type().to_string(),
            key.as_ref(),
            value,
        ))
    }

    pub(super) fn json(&self) -> Value {
        json!({"type": self.kind, "state_key": self.state_key, "content": self.content})
    }
}

impl fmt::Debug for StateEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateEvent")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A call to state. A key that is empty stands for itself by not being there.
pub(super) fn state_call(
    method: Method,
    room: &RoomId,
    kind: &str,
    key: &str,
) -> Result<Call, Error> {
    if key.is_empty() {
        Call::new(method, STATE_WITHOUT_KEY, &[room.as_str(), kind])
    } else {
        Call::new(method, STATE, &[room.as_str(), kind, key])
    }
}

impl Intent {
    /// The content of a state event; `None` when there is none, or this user isn't in the room.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn state(
        &self,
        room: &RoomId,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<Value>, Error> {
        match self
            .call(state_call(Method::GET, room, kind, state_key)?)
            .await
        {
            Ok(answer) => answer.read().map(Some),
            Err(error) if error.is_forbidden() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All state events of a room, whole. `M_FORBIDDEN` when this user isn't there.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn all_state(&self, room: &RoomId) -> Result<Vec<Value>, Error> {
        let call = Call::get(ALL_STATE, &[room.as_str()])?;
        self.call(call).await?.read()
    }

    /// Sets a state event, unless it has this content already. Returns whether it had to.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the power level is too low; else as any call.
    pub async fn ensure_state(&self, room: &RoomId, state: &StateEvent) -> Result<bool, Error> {
        if self
            .state(room, &state.kind, &state.state_key)
            .await?
            .as_ref()
            == Some(&state.content)
        {
            return Ok(false);
        }
        self.set_state(room, state).await?;
        Ok(true)
    }

    /// Sets a state event. One that has this content already is left as it is, by most homeservers.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the power level is too low; else as any call.
    pub async fn set_state(
        &self,
        room: &RoomId,
        state: &StateEvent,
    ) -> Result<OwnedEventId, Error> {
        self.put_state(room, state, None).await
    }

    /// Sets a state event that shall bear this time.
    /// [Specification](https://spec.matrix.org/v1.17/application-service-api/#timestamp-massaging).
    ///
    /// # Errors
    ///
    /// As [`Intent::set_state`].
    pub async fn set_state_at(
        &self,
        room: &RoomId,
        state: &StateEvent,
        time: MilliSecondsSinceUnixEpoch,
    ) -> Result<OwnedEventId, Error> {
        self.put_state(room, state, Some(time)).await
    }

    async fn put_state(
        &self,
        room: &RoomId,
        state: &StateEvent,
        at: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<OwnedEventId, Error> {
        let mut call =
            state_call(Method::PUT, room, &state.kind, &state.state_key)?.json(&state.content)?;
        if let Some(at) = at {
            call = call.query("ts", &at.get().to_string());
        }
        let made: Made = self.call(call).await?.read()?;
        if state.kind == "m.room.power_levels" {
            self.client.memory().forget_levels(room);
        }
        Ok(made.event_id)
    }
}
