//! Rooms: making them and finding them again.

use std::{fmt, time::Duration};

use http::Method;
use ruma::{
    OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, RoomVersionId,
    api::client::room::{Visibility, create_room::v3::RoomPreset},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Intent, SOURCE_KEY, StateEvent, state::state_call};
use crate::client::{Call, Creation, Error, Repeat};

const CREATE_ROOM: &str = "/_matrix/client/v3/createRoom";

/// Of so many rooms at the most is looked whether an earlier run made them.
const LOOK_AT_ROOMS: usize = 100;

/// How often a room that is being made is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A room that isn't finished after so long will never be: its homeserver died while it made it.
const ABANDONED_AFTER: Duration = Duration::from_mins(10);

/// A room to be made. By default private, invite-only, without alias and name. `Debug` shows neither
/// its name nor its people.
///
/// ```
/// use matrix_appservice::CreateRoom;
/// use serde_json::json;
///
/// let portal = CreateRoom::new()
///     .alias("_bridge_42")
///     .name("Channel 42")
///     .power_levels(json!({"events_default": 50}));
/// ```
#[derive(Clone, Default)]
pub struct CreateRoom {
    alias: Option<String>,
    /// What of the body is taken as it is.
    body: Map<String, Value>,
    creation: Map<String, Value>,
    invite: Vec<OwnedUserId>,
    initial_state: Vec<StateEvent>,
}

impl fmt::Debug for CreateRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateRoom")
            .field("space", &self.creation.contains_key("type"))
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
    /// call can be repeated at any time: a room that an earlier call made is found again. Without,
    /// only by the same delivery: see [`Intent::create_room`].
    #[must_use]
    pub fn alias(mut self, localpart: impl Into<String>) -> Self {
        self.alias = Some(localpart.into());
        self
    }

    /// Gives the room a name.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set("name", Value::String(name.into()))
    }

    /// Says what the room is about.
    #[must_use]
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.set("topic", Value::String(topic.into()))
    }

    /// Who may join, and see what was said before. Default: [`RoomPreset::PrivateChat`].
    #[must_use]
    pub fn preset(self, preset: &RoomPreset) -> Self {
        self.set("preset", json!(preset.as_str()))
    }

    /// Whether the room is in the homeserver's public directory. Default: no.
    #[must_use]
    pub fn visibility(self, visibility: &Visibility) -> Self {
        self.set("visibility", json!(visibility.as_str()))
    }

    /// The room's version. Default: what the homeserver prefers.
    #[must_use]
    pub fn version(self, version: &RoomVersionId) -> Self {
        self.set("room_version", json!(version.as_str()))
    }

    /// What shall be other than usual in `m.room.power_levels`. From room version 12 on, creators have
    /// every power and may not stand in `users`.
    #[must_use]
    pub fn power_levels(self, changes: Value) -> Self {
        self.set("power_level_content_override", changes)
    }

    /// Tells those who are invited that it is a conversation between two people.
    #[must_use]
    pub fn direct(self) -> Self {
        self.set("is_direct", json!(true))
    }

    /// Makes a space of it.
    #[must_use]
    pub fn space(self) -> Self {
        self.creation("type", json!("m.space"))
    }

    /// Keeps users of other homeservers out, for ever.
    #[must_use]
    pub fn not_federated(self) -> Self {
        self.creation("m.federate", json!(false))
    }

    /// The room that it goes on from. To move a whole room, see [`Intent::upgrade_room`].
    #[must_use]
    pub fn predecessor(self, room: &RoomId) -> Self {
        self.creation("predecessor", json!({"room_id": room}))
    }

    /// Creators besides the one who makes it, from room version 12 on.
    #[must_use]
    pub fn additional_creators(self, users: impl IntoIterator<Item = OwnedUserId>) -> Self {
        let users: Vec<_> = users.into_iter().collect();
        self.creation("additional_creators", json!(users))
    }

    /// Adds a key to the content of `m.room.create`, which never changes.
    #[must_use]
    pub fn creation(mut self, key: impl Into<String>, value: Value) -> Self {
        self.creation.insert(key.into(), value);
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

    fn set(mut self, key: &str, value: Value) -> Self {
        self.body.insert(key.to_owned(), value);
        self
    }

    fn json(&self, source: Option<&str>) -> Value {
        let mut body = self.body.clone();
        body.entry("preset")
            .or_insert_with(|| json!("private_chat"));
        let mut creation = self.creation.clone();
        if let Some(source) = source {
            creation.insert(SOURCE_KEY.to_owned(), json!(source));
        }
        if !creation.is_empty() {
            body.insert("creation_content".to_owned(), Value::Object(creation));
        }
        if let Some(alias) = &self.alias {
            body.insert("room_alias_name".to_owned(), json!(alias));
        }
        if !self.invite.is_empty() {
            body.insert("invite".to_owned(), json!(self.invite));
        }
        if !self.initial_state.is_empty() {
            let state = self.initial_state.iter().map(StateEvent::json);
            body.insert("initial_state".to_owned(), state.collect());
        }
        Value::Object(body)
    }
}

impl Intent {
    /// Makes a room, or finds the one that an earlier call made.
    ///
    /// With an alias, that is found by the alias. An alias in a namespace that isn't exclusive can be
    /// taken by anybody on the homeserver, so a room that is found is used only when this user created
    /// it and it bears that alias.
    ///
    /// Without an alias, `m.room.create` carries a mark of the delivery, and when that runs again, the
    /// rooms that this user is in are searched for it, a hundred of them at most. In more rooms, and
    /// where the homeserver died before the user was in the room, another room is made: use an alias
    /// where that matters.
    ///
    /// A homeserver takes a moment to make a room, and its alias is there first. When an earlier call, whose
    /// caller may have been killed, is still at it, this one waits for it, for
    /// [`ClientConfig::retry_budget`](crate::ClientConfig::retry_budget) at most. A room that is still without its
    /// state ten minutes after it was begun is given up: its alias is taken away and another room is made.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignAlias`] when the alias belongs to somebody else's room; [`Error::UnfinishedRoom`] when the
    /// homeserver is still making the room; else as any call.
    pub async fn create_room(&self, room: &CreateRoom) -> Result<CreatedRoom, Error> {
        self.ensure_registered().await?;
        match &room.alias {
            Some(alias) => self.create_with_alias(room, alias).await,
            None => self.create_marked(room).await,
        }
    }

    async fn create_with_alias(
        &self,
        room: &CreateRoom,
        alias: &str,
    ) -> Result<CreatedRoom, Error> {
        // The alias makes the second one find the first.
        match self.create(&room.json(None), Repeat::Always).await {
            Ok(room_id) => Ok(CreatedRoom {
                room_id,
                was_there: false,
            }),
            Err(error) if error.is("M_ROOM_IN_USE") => {
                let room_id = match self.wait_for_own_room(alias).await {
                    Err(Error::UnfinishedRoom) if self.abandon(alias).await? => {
                        let room_id = self.create(&room.json(None), Repeat::Always).await?;
                        return Ok(CreatedRoom {
                            room_id,
                            was_there: false,
                        });
                    }
                    found => found?.ok_or(error)?,
                };
                Ok(CreatedRoom {
                    room_id,
                    was_there: true,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The room under an alias, when the homeserver has made it.
    async fn wait_for_own_room(&self, alias: &str) -> Result<Option<OwnedRoomId>, Error> {
        let end = Instant::now() + self.client.config().retry_budget;
        loop {
            match self.find_own_room(alias).await {
                Err(Error::UnfinishedRoom) if Instant::now() + LOOK_AGAIN < end => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                found => return found,
            }
        }
    }

    /// Takes the alias away from a room that is ours and will never be finished. Returns whether it is one.
    async fn abandon(&self, alias: &str) -> Result<bool, Error> {
        let alias = self.full_alias(alias)?;
        let Some(room) = self.resolve_alias(&alias).await? else {
            return Ok(false);
        };
        let creation = self.room_creation(&room).await?;
        let is_abandoned = creation.is_some_and(|creation| creation.age() > ABANDONED_AFTER);
        if is_abandoned {
            tracing::warn!(%room, "the homeserver never finished this room; another one is made in its place");
            self.delete_alias(&alias).await?;
        }
        Ok(is_abandoned)
    }

    async fn create_marked(&self, room: &CreateRoom) -> Result<CreatedRoom, Error> {
        let source = self.scope.next_room(&self.user);
        if self.scope.may_be_repeat()
            && let Some(room_id) = self.find_marked(source.as_str()).await?
        {
            return Ok(CreatedRoom {
                room_id,
                was_there: true,
            });
        }
        let body = room.json(Some(source.as_str()));
        let room_id = self.create(&body, Repeat::Unsent).await?;
        Ok(CreatedRoom {
            room_id,
            was_there: false,
        })
    }

    async fn create(&self, body: &Value, repeat: Repeat) -> Result<OwnedRoomId, Error> {
        #[derive(Deserialize)]
        struct Created {
            room_id: OwnedRoomId,
        }
        let call = Call::post(CREATE_ROOM, &[])?.json(body)?.repeat(repeat);
        let created: Created = self.call(call).await?.read()?;
        let memory = self.client.memory();
        memory.remember_joined(&created.room_id, &self.user);
        Ok(created.room_id)
    }

    async fn find_marked(&self, source: &str) -> Result<Option<OwnedRoomId>, Error> {
        let rooms = self.joined_rooms().await?;
        for room in rooms.into_iter().take(LOOK_AT_ROOMS) {
            if let Some(creation) = self.room_creation(&room).await?
                && creation.sender == self.user
                && creation.source.as_deref() == Some(source)
            {
                return Ok(Some(room));
            }
        }
        Ok(None)
    }

    /// The room that this user made under an alias of its own homeserver; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignAlias`] when the alias belongs to somebody else's room; [`Error::UnfinishedRoom`] when the
    /// homeserver is still making the room; else as any call.
    pub async fn find_own_room(&self, alias: &str) -> Result<Option<OwnedRoomId>, Error> {
        let alias = self.full_alias(alias)?;
        let Some(room_id) = self.resolve_alias(&alias).await? else {
            return Ok(None);
        };
        let creation = self.room_creation(&room_id).await?;
        if creation.is_none_or(|creation| creation.sender != self.user) {
            return Err(Error::ForeignAlias);
        }
        // The room itself says what its alias is: anybody on the homeserver could have pointed it at another
        // room of ours. A room that was made with an alias always says it, once it is made.
        match self.state(&room_id, "m.room.canonical_alias", "").await? {
            None => Err(Error::UnfinishedRoom),
            Some(content) if content.get("alias") == Some(&json!(alias)) => Ok(Some(room_id)),
            Some(_) => Err(Error::ForeignAlias),
        }
    }

    fn full_alias(&self, alias: &str) -> Result<OwnedRoomAliasId, Error> {
        RoomAliasId::parse(format!("#{alias}:{}", self.client.server_name()))
            .map_err(|_| Error::Request("this is no room alias"))
    }

    /// How the room was made, which never changes. `None` when this user can't see it.
    pub(super) async fn room_creation(
        &self,
        room: &RoomId,
    ) -> Result<Option<std::sync::Arc<Creation>>, Error> {
        let memory = self.client.memory();
        if let Some(creation) = memory.creation(room) {
            return Ok(Some(creation));
        }
        let call = state_call(Method::GET, room, "m.room.create", "")?.query("format", "event");
        match self.call(call).await {
            Ok(answer) => {
                let creation = std::sync::Arc::new(answer.read_with(Creation::parse)?);
                memory.remember_creation(room, creation.clone());
                Ok(Some(creation))
            }
            Err(error) if error.is_forbidden() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
