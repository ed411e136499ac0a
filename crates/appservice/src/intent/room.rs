//! Rooms: making them, finding them again, their state.

use std::fmt;

use ruma::{
    OwnedRoomId, OwnedUserId, RoomAliasId, RoomId,
    api::client::{
        alias::get_alias,
        room::create_room::{self, v3::RoomPreset},
        state::{get_state_event_for_key, send_state_event},
    },
    serde::Raw,
};
use serde::Deserialize;
use serde_json::{Value, json, value::to_raw_value};

use super::Intent;
use crate::client::Error;

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

impl fmt::Debug for StateEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateEvent")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A room to be made. By default private, invite-only, without alias and name. `Debug` shows neither
/// its name nor its people.
#[derive(Clone, Default)]
pub struct CreateRoom {
    alias: Option<String>,
    name: Option<String>,
    space: bool,
    invite: Vec<OwnedUserId>,
    initial_state: Vec<StateEvent>,
}

impl fmt::Debug for CreateRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateRoom")
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

/// A room that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedRoom {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Whether an earlier call had made it. Then its invitations and state are those of that call.
    pub was_there: bool,
}

impl CreateRoom {
    /// A private room.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the room an alias on this homeserver (the part between `#` and `:`). With an alias the
    /// call can be repeated: a room that an earlier call made is found again. Without, each call
    /// makes a room.
    #[must_use]
    pub fn alias(mut self, localpart: impl Into<String>) -> Self {
        self.alias = Some(localpart.into());
        self
    }

    /// The room's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Makes a space of it.
    #[must_use]
    pub fn space(mut self) -> Self {
        self.space = true;
        self
    }

    /// Invites people while the room is made.
    #[must_use]
    pub fn invite(mut self, users: impl IntoIterator<Item = OwnedUserId>) -> Self {
        self.invite.extend(users);
        self
    }

    /// Sets state while the room is made.
    #[must_use]
    pub fn initial_state(mut self, state: StateEvent) -> Self {
        self.initial_state.push(state);
        self
    }

    fn request(&self) -> Result<create_room::v3::Request, Error> {
        let raw = |value: &Value| {
            to_raw_value(value).map_err(|_| Error::Request("state can't be put into JSON"))
        };
        let mut request = create_room::v3::Request::new();
        request.preset = Some(RoomPreset::PrivateChat);
        request.room_alias_name.clone_from(&self.alias);
        request.name.clone_from(&self.name);
        request.invite.clone_from(&self.invite);
        if self.space {
            request.creation_content = Some(Raw::from_json(raw(&json!({"type": "m.space"}))?));
        }
        for state in &self.initial_state {
            request.initial_state.push(Raw::from_json(raw(&json!({
                "type": state.kind, "state_key": state.state_key, "content": state.content,
            }))?));
        }
        Ok(request)
    }
}

impl Intent {
    /// Makes a room, or finds the one that an earlier call made under the same alias.
    ///
    /// An alias in a namespace that isn't exclusive can be taken by anybody on the homeserver, so a
    /// room that is found is used only when this user created it and it bears that alias.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignAlias`] when the alias belongs to somebody else's room; else as any call.
    pub async fn create_room(&self, room: &CreateRoom) -> Result<CreatedRoom, Error> {
        self.ensure_registered().await?;
        match self.client.send(&self.user, room.request()?).await {
            Ok(response) => Ok(CreatedRoom {
                room_id: response.room_id,
                was_there: false,
            }),
            Err(error) if error.is("M_ROOM_IN_USE") => {
                let alias = room.alias.as_deref().unwrap_or_default();
                let room_id = self.find_own_room(alias).await?.ok_or(error)?;
                Ok(CreatedRoom {
                    room_id,
                    was_there: true,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The room that this user made under an alias of its own homeserver; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignAlias`] when the alias belongs to somebody else's room; else as any call.
    pub async fn find_own_room(&self, alias: &str) -> Result<Option<OwnedRoomId>, Error> {
        let alias = RoomAliasId::parse(format!("#{alias}:{}", self.client.server_name()))
            .map_err(|_| Error::Request("this is no room alias"))?;
        let room_id = match self
            .client
            .send(&self.user, get_alias::v3::Request::new(alias.clone()))
            .await
        {
            Ok(response) => response.room_id,
            Err(error) if error.is("M_NOT_FOUND") => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.is_creator(&room_id).await? && self.has_alias(&room_id, &alias).await? {
            Ok(Some(room_id))
        } else {
            Err(Error::ForeignAlias)
        }
    }

    /// Whether the room itself says that this is its alias: anybody on the homeserver could have pointed
    /// it at another room of ours.
    async fn has_alias(&self, room: &RoomId, alias: &RoomAliasId) -> Result<bool, Error> {
        let content = self.state(room, "m.room.canonical_alias", "").await?;
        Ok(content
            .as_ref()
            .and_then(|content| content.get("alias"))
            .and_then(Value::as_str)
            == Some(alias.as_str()))
    }

    /// Whether this user created the room. False as well when it isn't in the room.
    async fn is_creator(&self, room: &RoomId) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Create {
            sender: OwnedUserId,
        }
        let mut request = get_state_event_for_key::v3::Request::new(
            room.to_owned(),
            "m.room.create".into(),
            String::new(),
        );
        request.format = get_state_event_for_key::v3::StateEventFormat::Event;
        match self.client.send(&self.user, request).await {
            Ok(response) => {
                let create: Create = serde_json::from_str(response.event_or_content.get())
                    .map_err(|_| Error::Answer {
                        route: "/rooms/{room_id}/state/m.room.create",
                    })?;
                Ok(create.sender == self.user)
            }
            Err(error) if error.is("M_FORBIDDEN") || error.is("M_NOT_FOUND") => Ok(false),
            Err(error) => Err(error),
        }
    }

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
        let request = get_state_event_for_key::v3::Request::new(
            room.to_owned(),
            kind.into(),
            state_key.to_owned(),
        );
        match self.client.send(&self.user, request).await {
            Ok(response) => serde_json::from_str(response.event_or_content.get())
                .map(Some)
                .map_err(|_| Error::Answer {
                    route: "/rooms/{room_id}/state",
                }),
            Err(error) if error.is("M_FORBIDDEN") || error.is("M_NOT_FOUND") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a state event, unless it has this content already. Returns whether it had to.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn ensure_state(&self, room: &RoomId, state: &StateEvent) -> Result<bool, Error> {
        if self
            .state(room, &state.kind, &state.state_key)
            .await?
            .as_ref()
            == Some(&state.content)
        {
            return Ok(false);
        }
        self.put_state(room, state).await?;
        Ok(true)
    }

    pub(super) async fn put_state(&self, room: &RoomId, state: &StateEvent) -> Result<(), Error> {
        let content = to_raw_value(&state.content)
            .map_err(|_| Error::Request("state can't be put into JSON"))?;
        let request = send_state_event::v3::Request::new_raw(
            room.to_owned(),
            state.kind.as_str().into(),
            state.state_key.clone(),
            Raw::from_json(content),
        );
        self.client.send(&self.user, request).await?;
        Ok(())
    }
}
