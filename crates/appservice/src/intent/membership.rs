//! Who is in a room.

use ruma::{
    RoomId, UserId, api::client::membership::join_room_by_id, events::room::member::MembershipState,
};
use serde_json::{Map, Value, json};

use super::{Intent, StateEvent};
use crate::client::Error;

const MEMBER: &str = "m.room.member";

impl Intent {
    /// The membership of `user` in a room that this intent's user can see; `None` when it never had
    /// any, or the room can't be seen.
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

    /// Invites `user`, unless it is invited or in the room already. Returns whether it had to.
    ///
    /// `extra` is added to the content of the invitation's `m.room.member` event. The `/invite` call
    /// can't carry it, so the membership is sent as state.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when this intent's user may not invite, or `user` is banned; else as any call.
    pub async fn invite(
        &self,
        room: &RoomId,
        user: &UserId,
        extra: Map<String, Value>,
    ) -> Result<bool, Error> {
        if matches!(
            self.membership(room, user).await?,
            Some(MembershipState::Invite | MembershipState::Join)
        ) {
            return Ok(false);
        }
        let mut content = extra;
        content.insert("membership".to_owned(), json!("invite"));
        let state = StateEvent {
            kind: MEMBER.to_owned(),
            state_key: user.to_string(),
            content: Value::Object(content),
        };
        self.put_state(room, &state).await?;
        Ok(true)
    }

    /// Joins a room that is open to this user or that it is invited to.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when it is neither; else as any call.
    pub async fn join(&self, room: &RoomId) -> Result<(), Error> {
        self.ensure_registered().await?;
        self.client
            .send(
                &self.user,
                join_room_by_id::v3::Request::new(room.to_owned()),
            )
            .await?;
        Ok(())
    }

    /// Makes sure that this user is in the room: looks, joins, and lets the application service's
    /// own user invite it when it may not join by itself.
    ///
    /// # Errors
    ///
    /// `M_FORBIDDEN` when the application service's own user may not invite either; else as any call.
    pub async fn ensure_joined(&self, room: &RoomId) -> Result<(), Error> {
        self.ensure_registered().await?;
        if self.membership(room, &self.user).await? == Some(MembershipState::Join) {
            return Ok(());
        }
        match self.join(room).await {
            Err(error) if error.is("M_FORBIDDEN") && !self.is_sender() => {
                self.sender().invite(room, &self.user, Map::new()).await?;
                self.join(room).await
            }
            other => other,
        }
    }
}
