//! Who is in a room.

use std::{collections::BTreeMap, fmt};

use ruma::{
    OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, RoomOrAliasId, UserId,
    events::room::member::MembershipState,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Intent, StateEvent};
use crate::client::{Call, Error};

const MEMBER: &str = "m.room.member";
const JOIN: &str = "/_matrix/client/v3/rooms/{roomId}/join";
const JOIN_ANY: &str = "/_matrix/client/v3/join/{roomIdOrAlias}";
const KNOCK: &str = "/_matrix/client/v3/knock/{roomIdOrAlias}";
const LEAVE: &str = "/_matrix/client/v3/rooms/{roomId}/leave";
const FORGET: &str = "/_matrix/client/v3/rooms/{roomId}/forget";
const KICK: &str = "/_matrix/client/v3/rooms/{roomId}/kick";
const BAN: &str = "/_matrix/client/v3/rooms/{roomId}/ban";
const UNBAN: &str = "/_matrix/client/v3/rooms/{roomId}/unban";
const JOINED_ROOMS: &str = "/_matrix/client/v3/joined_rooms";
const JOINED_MEMBERS: &str = "/_matrix/client/v3/rooms/{roomId}/joined_members";
const MEMBERS: &str = "/_matrix/client/v3/rooms/{roomId}/members";

/// An invitation to be sent. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Invite {
    user: OwnedUserId,
    extra: Map<String, Value>,
    again: bool,
}

/// What became of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InviteOutcome {
    /// It was sent.
    Invited,
    /// There was one already.
    AlreadyInvited,
    /// They are in the room.
    AlreadyJoined,
    /// They left the room, declined, or somebody removed them: left alone, since somebody decided so.
    /// [`Invite::again`] invites them all the same.
    Left,
    /// They are banned.
    Banned,
}

impl Invite {
    /// An invitation for `user`, unless it had been in the room before.
    #[must_use]
    pub fn new(user: &UserId) -> Self {
        Self {
            user: user.to_owned(),
            extra: Map::new(),
            again: false,
        }
    }

    /// Adds a key to the content of the invitation's `m.room.member` event.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: Value) -> Self {
        self.extra.insert(key.into(), value);
        self
    }

    /// Says why.
    #[must_use]
    pub fn reason(self, reason: &str) -> Self {
        self.with("reason", json!(reason))
    }

    /// Tells that the room is a conversation between two people.
    #[must_use]
    pub fn direct(self) -> Self {
        self.with("is_direct", json!(true))
    }

    /// Invites them also when they had left, declined or been removed.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite").finish_non_exhaustive()
    }
}

/// Somebody in a room, as the room shows them. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct JoinedMember {
    /// The name that people see.
    pub display_name: Option<String>,
    /// The picture, an `mxc:` URI.
    pub avatar_url: Option<String>,
}

impl fmt::Debug for JoinedMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinedMember").finish_non_exhaustive()
    }
}

impl Intent {
    /// The membership of `user` in a room that this intent's user can see; `None` when it never had
    /// any, or the room can't be seen. Always asks the homeserver.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn membership(
        &self,
        room: &RoomId,
        user: &UserId,
    ) -> Result<Option<MembershipState>, Error> {
        let content = self.state(room, MEMBER, user.as_str()).await?;
        Ok(content
            .as_ref()
            .and_then(|content| content.get("membership"))
            .and_then(Value::as_str)
            .map(MembershipState::from))
    }

    /// Invites somebody, unless they are invited or in the room already, or had been there before
    /// ([`Invite::again`]).
    ///
    /// The membership is sent as state, because `/invite` carries neither further content nor the same
    /// event when it comes twice.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this intent's user may not invite; else as any call.
    pub async fn invite(&self, room: &RoomId, invite: &Invite) -> Result<InviteOutcome, Error> {
        match self.membership(room, &invite.user).await? {
            Some(MembershipState::Invite) => return Ok(InviteOutcome::AlreadyInvited),
            Some(MembershipState::Join) => return Ok(InviteOutcome::AlreadyJoined),
            Some(MembershipState::Ban) => return Ok(InviteOutcome::Banned),
            Some(MembershipState::Leave) if !invite.again => return Ok(InviteOutcome::Left),
            // Who knocks wants to come in.
            _ => {}
        }
        let mut content = invite.extra.clone();
        content.insert("membership".to_owned(), json!("invite"));
        let state = StateEvent::keyed(MEMBER, invite.user.as_str(), Value::Object(content));
        self.set_state(room, &state).await?;
        Ok(InviteOutcome::Invited)
    }

    /// Joins a room that is open to this user or that it is invited to.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when it is neither; else as any call.
    pub async fn join(&self, room: &RoomId) -> Result<(), Error> {
        self.ensure_registered().await?;
        let call = Call::post(JOIN, &[room.as_str()])?.json(&json!({}))?;
        self.call(call.repeatable()).await?;
        self.client.memory().remember_joined(room, &self.user);
        Ok(())
    }

    /// Joins a room by id or alias, also one that only other homeservers know: `via` names some that are
    /// in it. Returns its id.
    ///
    /// # Errors
    ///
    /// As [`Intent::join`]; `M_NOT_FOUND` when there is no such alias.
    pub async fn join_via(
        &self,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
    ) -> Result<OwnedRoomId, Error> {
        self.ensure_registered().await?;
        let room = self.enter(JOIN_ANY, room, via, json!({})).await?;
        self.client.memory().remember_joined(&room, &self.user);
        Ok(room)
    }

    /// Asks to be let in. Returns the room's id.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#knocking-on-rooms).
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the room takes no knocks, or the user is in it; else as any call.
    pub async fn knock(
        &self,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
        reason: Option<&str>,
    ) -> Result<OwnedRoomId, Error> {
        self.ensure_registered().await?;
        self.enter(KNOCK, room, via, body(None, reason)).await
    }

    async fn enter(
        &self,
        route: &'static str,
        room: &RoomOrAliasId,
        via: &[OwnedServerName],
        body: Value,
    ) -> Result<OwnedRoomId, Error> {
        #[derive(Deserialize)]
        struct Entered {
            room_id: OwnedRoomId,
        }
        let mut call = Call::post(route, &[room.as_str()])?
            .json(&body)?
            .repeatable();
        for server in via {
            // The second one is what homeservers before v1.12 read.
            call = call
                .query("via", server.as_str())
                .query("server_name", server.as_str());
        }
        let entered: Entered = self.call(call).await?.read()?;
        Ok(entered.room_id)
    }

    /// Makes sure that this user is in the room, the cheapest way: nothing when that is remembered;
    /// else it joins, which is one call also when it is there already; and when it may not join, the
    /// application service's own user invites it first.
    ///
    /// What is remembered (see [`ClientConfig::remembered_rooms`](crate::ClientConfig)) is a hint. When
    /// this user turns out not to be in the room any more, the first [`Intent::send`] after this call
    /// brings it back in and sends.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the application service's own user may not invite either; else as any call.
    pub async fn ensure_joined(&self, room: &RoomId) -> Result<(), Error> {
        if self.client.memory().is_joined(room, &self.user) {
            self.scope.trust(&self.user, room);
            return Ok(());
        }
        self.join_with_help(room).await
    }

    pub(super) async fn join_with_help(&self, room: &RoomId) -> Result<(), Error> {
        match self.join(room).await {
            Err(error) if error.is_forbidden() && !self.is_sender() => {
                let invite = Invite::new(&self.user).again();
                self.sender().invite(room, &invite).await?;
                self.join(room).await
            }
            other => other,
        }
    }

    /// The homeserver refused something. Forgets that this user is in the room, and says whether
    /// [`Intent::ensure_joined`] had taken that from memory.
    pub(super) fn doubt_membership(&self, room: &RoomId) -> bool {
        self.client.memory().forget_joined(room, &self.user);
        self.scope.doubt(&self.user, room)
    }

    /// Leaves a room, or declines an invitation to it. Nothing when this user isn't there.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn leave(&self, room: &RoomId, reason: Option<&str>) -> Result<(), Error> {
        let outcome = self.post(LEAVE, room, body(None, reason)).await;
        self.client.memory().forget_joined(room, &self.user);
        match outcome {
            // Not in the room. (A room that it was never in can't be seen.)
            Err(error)
                if error.is_forbidden()
                    && is_gone(self.membership(room, &self.user).await?.as_ref()) =>
            {
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Takes a room that was left out of this user's lists; its history can't be read any more.
    ///
    /// # Errors
    ///
    /// `M_UNKNOWN` when this user is still in the room; else as any call.
    pub async fn forget(&self, room: &RoomId) -> Result<(), Error> {
        self.post(FORGET, room, json!({})).await
    }

    /// Removes somebody from the room, or takes an invitation back. Nothing when they aren't there.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the power level is too low; else as any call.
    pub async fn kick(
        &self,
        room: &RoomId,
        user: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        match self.post(KICK, room, body(Some(user), reason)).await {
            Err(error) if error.is_forbidden() => {
                let membership = self.membership(room, user).await?;
                let can_see = membership.is_some() || self.can_see(room).await?;
                if can_see && is_gone(membership.as_ref()) {
                    return Ok(());
                }
                Err(error)
            }
            other => other,
        }
    }

    /// Removes somebody from the room and keeps them out.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the power level is too low; else as any call.
    pub async fn ban(
        &self,
        room: &RoomId,
        user: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        self.post(BAN, room, body(Some(user), reason)).await
    }

    /// Lets somebody in again who was banned. They aren't invited by that. Nothing when they aren't
    /// banned.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the power level is too low; else as any call.
    pub async fn unban(
        &self,
        room: &RoomId,
        user: &UserId,
        reason: Option<&str>,
    ) -> Result<(), Error> {
        match self.post(UNBAN, room, body(Some(user), reason)).await {
            Err(error) if error.is_forbidden() || error.is("M_BAD_STATE") => {
                let membership = self.membership(room, user).await?;
                let can_see = membership.is_some() || self.can_see(room).await?;
                if can_see && membership != Some(MembershipState::Ban) {
                    return Ok(());
                }
                Err(error)
            }
            other => other,
        }
    }

    /// Whether this user is in the room, so that what it doesn't see there isn't there.
    async fn can_see(&self, room: &RoomId) -> Result<bool, Error> {
        Ok(self.membership(room, &self.user).await? == Some(MembershipState::Join))
    }

    async fn post(&self, route: &'static str, room: &RoomId, body: Value) -> Result<(), Error> {
        let call = Call::post(route, &[room.as_str()])?.json(&body)?;
        self.call(call.repeatable()).await?;
        Ok(())
    }

    /// The rooms that this user is in.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn joined_rooms(&self) -> Result<Vec<OwnedRoomId>, Error> {
        #[derive(Deserialize)]
        struct Rooms {
            joined_rooms: Vec<OwnedRoomId>,
        }
        let rooms: Rooms = self.call(Call::get(JOINED_ROOMS, &[])?).await?.read()?;
        let memory = self.client.memory();
        for room in rooms
            .joined_rooms
            .iter()
            .take(self.client.config().remembered_rooms)
        {
            memory.remember_joined(room, &self.user);
        }
        Ok(rooms.joined_rooms)
    }

    /// Who is in a room.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this user isn't; else as any call.
    pub async fn joined_members(
        &self,
        room: &RoomId,
    ) -> Result<BTreeMap<OwnedUserId, JoinedMember>, Error> {
        #[derive(Deserialize)]
        struct Members {
            joined: BTreeMap<OwnedUserId, JoinedMember>,
        }
        let call = Call::get(JOINED_MEMBERS, &[room.as_str()])?;
        let members: Members = self.call(call).await?.read()?;
        let memory = self.client.memory();
        for user in members.joined.keys().filter(|user| memory.is_ours(user)) {
            memory.remember_joined(room, user);
        }
        Ok(members.joined)
    }

    /// Everybody who is or was in a room, or was invited, with what they are now.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this user isn't in the room and never was; else as any call.
    pub async fn members(
        &self,
        room: &RoomId,
    ) -> Result<BTreeMap<OwnedUserId, MembershipState>, Error> {
        #[derive(Deserialize)]
        struct Members {
            chunk: Vec<Member>,
        }
        #[derive(Deserialize)]
        struct Member {
            state_key: OwnedUserId,
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            membership: MembershipState,
        }
        let call = Call::get(MEMBERS, &[room.as_str()])?;
        let members: Members = self.call(call).await?.read()?;
        let pair = |member: Member| (member.state_key, member.content.membership);
        Ok(members.chunk.into_iter().map(pair).collect())
    }
}

fn is_gone(membership: Option<&MembershipState>) -> bool {
    matches!(
        membership,
        None | Some(MembershipState::Leave | MembershipState::Ban)
    )
}

fn body(user: Option<&UserId>, reason: Option<&str>) -> Value {
    let mut body = Map::new();
    if let Some(user) = user {
        body.insert("user_id".to_owned(), json!(user));
    }
    if let Some(reason) = reason {
        body.insert("reason".to_owned(), json!(reason));
    }
    Value::Object(body)
}
