//! Spaces: rooms that hold rooms.

use ruma::{OwnedServerName, RoomId};
use serde_json::{Map, Value, json};

use super::{Intent, StateEvent};
use crate::client::Error;

const CHILD: &str = "m.space.child";
const PARENT: &str = "m.space.parent";

/// How a room hangs in a space.
#[derive(Debug, Clone, Default)]
pub struct SpaceChild {
    via: Vec<OwnedServerName>,
    order: Option<String>,
    suggested: bool,
}

impl SpaceChild {
    /// A child that is found over the intent's own homeserver, comes after those that have an order, and
    /// isn't suggested.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The homeservers that the room can be joined over. Default: the intent's own.
    #[must_use]
    pub fn via(mut self, servers: impl IntoIterator<Item = OwnedServerName>) -> Self {
        self.via.extend(servers);
        self
    }

    /// Its place among the space's children: they are sorted by this text, which is at most 50
    /// characters of printable ASCII.
    #[must_use]
    pub fn order(mut self, order: impl Into<String>) -> Self {
        self.order = Some(order.into());
        self
    }

    /// Shows it to those who join the space.
    #[must_use]
    pub fn suggested(mut self) -> Self {
        self.suggested = true;
        self
    }
}

impl Intent {
    /// Hangs a room into a space, unless it hangs there so already. Returns whether it had to.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#mspacechild).
    ///
    /// # Errors
    ///
    /// As [`Intent::set_state`].
    pub async fn add_space_child(
        &self,
        space: &RoomId,
        room: &RoomId,
        child: &SpaceChild,
    ) -> Result<bool, Error> {
        let mut content = Map::from_iter([("via".to_owned(), self.via(&child.via))]);
        if let Some(order) = &child.order {
            content.insert("order".to_owned(), json!(order));
        }
        if child.suggested {
            content.insert("suggested".to_owned(), json!(true));
        }
        let state = StateEvent::keyed(CHILD, room.as_str(), Value::Object(content));
        self.ensure_state(space, &state).await
    }

    /// Takes a room out of a space. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// As [`Intent::set_state`].
    pub async fn remove_space_child(&self, space: &RoomId, room: &RoomId) -> Result<bool, Error> {
        self.remove(space, CHILD, room).await
    }

    /// Says in the room which space it belongs to; `canonical` is said of one space at most. Returns
    /// whether it had to.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#mspaceparent-relationships).
    ///
    /// # Errors
    ///
    /// As [`Intent::set_state`].
    pub async fn set_space_parent(
        &self,
        room: &RoomId,
        space: &RoomId,
        canonical: bool,
    ) -> Result<bool, Error> {
        let mut content = Map::from_iter([("via".to_owned(), self.via(&[]))]);
        if canonical {
            content.insert("canonical".to_owned(), json!(true));
        }
        let state = StateEvent::keyed(PARENT, space.as_str(), Value::Object(content));
        self.ensure_state(room, &state).await
    }

    /// Takes it back that a room belongs to a space. Returns whether it had been said.
    ///
    /// # Errors
    ///
    /// As [`Intent::set_state`].
    pub async fn remove_space_parent(&self, room: &RoomId, space: &RoomId) -> Result<bool, Error> {
        self.remove(room, PARENT, space).await
    }

    /// A relation without `via` is none.
    async fn remove(&self, room: &RoomId, kind: &str, key: &RoomId) -> Result<bool, Error> {
        let current = self.state(room, kind, key.as_str()).await?;
        if current.is_none_or(|content| content.get("via").is_none()) {
            return Ok(false);
        }
        let state = StateEvent::keyed(kind, key.as_str(), json!({}));
        self.set_state(room, &state).await?;
        Ok(true)
    }

    fn via(&self, servers: &[OwnedServerName]) -> Value {
        if servers.is_empty() {
            json!([self.client.server_name()])
        } else {
            json!(servers)
        }
    }
}
