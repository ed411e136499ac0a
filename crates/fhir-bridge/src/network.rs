//! A care network: `CareTeam` ⇄ space, and who is in a room.

use fhir::{CareTeam, CareTeamStatus, ResourceRef};
use matrix_appservice::{
    CreateRoom, Delivery, HandlerError, HandlerResult, Intent, Invite, StateEvent,
    ruma::{OwnedRoomId, OwnedUserId, RoomId},
};
use serde_json::Value;

use crate::{
    bridge::Bridge,
    directory::{Member, current_members},
    failure,
};

/// What a space is called: nothing about the client.
const SPACE_NAME: &str = "Care team";

impl Bridge {
    /// A `CareTeam` was created or changed.
    pub(crate) async fn care_team_changed(
        &self,
        delivery: &Delivery,
        json: &Value,
    ) -> HandlerResult {
        let team = CareTeam::from_json(json, self.fhir.base())
            .map_err(|odd| HandlerError::never(odd.what))?;
        if team.status != CareTeamStatus::Active {
            tracing::info!(resource = %team.reference, status = ?team.status, "a care team that is not active is not bridged");
            return Ok(());
        }
        let members = self.members(current_members(&team)).await?;
        let bot = delivery.bot();
        let space = self.ensure_space(&bot, &team.reference, &members).await?;
        self.bring_in(&bot, &space, &members).await
    }

    /// The space of a care team; made from the team as it is now when there is none yet. `None` when
    /// there is no such team, or it is not active.
    pub(crate) async fn space(
        &self,
        bot: &Intent,
        reference: &ResourceRef,
    ) -> Result<Option<OwnedRoomId>, HandlerError> {
        if let Some(space) = self.links.room(reference).await.map_err(failure::links)? {
            return Ok(Some(space));
        }
        let Some(raw) = self.fhir.read(reference).await.map_err(failure::fhir)? else {
            return Ok(None);
        };
        let team = CareTeam::from_json(&raw.json, self.fhir.base())
            .map_err(|odd| HandlerError::never(odd.what))?;
        if team.status != CareTeamStatus::Active {
            return Ok(None);
        }
        let members = self.members(current_members(&team)).await?;
        let space = self.ensure_space(bot, reference, &members).await?;
        self.bring_in(bot, &space, &members).await?;
        Ok(Some(space))
    }

    async fn ensure_space(
        &self,
        bot: &Intent,
        team: &ResourceRef,
        members: &[Member],
    ) -> Result<OwnedRoomId, HandlerError> {
        let invite = self.local_users(bot, members).await?;
        let room = CreateRoom::new().name(SPACE_NAME).space().invite(invite);
        self.ensure_room(bot, team, room).await
    }

    /// The room of a resource: the one that is linked, else one that is made now under the resource's
    /// alias (or found there, when the bridge stopped before it could note it).
    pub(crate) async fn ensure_room(
        &self,
        bot: &Intent,
        resource: &ResourceRef,
        room: CreateRoom,
    ) -> Result<OwnedRoomId, HandlerError> {
        let _making = self.making_room(resource).await;
        if let Some(room) = self.links.room(resource).await.map_err(failure::links)? {
            return Ok(room);
        }
        let made = bot
            .create_room(&room.alias(self.ids.alias(resource)))
            .await?;
        self.link_room(resource, &made.room_id).await?;
        tracing::info!(%resource, room = %made.room_id, found_again = made.was_there, "room made");
        Ok(made.room_id)
    }

    /// Those who can be invited while a room is made: ghosts (registered now) and people on our own
    /// homeserver.
    pub(crate) async fn local_users(
        &self,
        bot: &Intent,
        members: &[Member],
    ) -> Result<Vec<OwnedUserId>, HandlerError> {
        let mut users = Vec::new();
        for member in members {
            match &member.account {
                None => users.push(
                    self.ensure_ghost(bot, &member.person)
                        .await?
                        .user_id()
                        .to_owned(),
                ),
                Some(user) if user.server_name() == self.server_name => users.push(user.clone()),
                Some(_) => {}
            }
        }
        Ok(users)
    }

    /// Makes sure that everybody is invited and that ghosts have joined. Who had been invited or in the
    /// room before and is not any more is left alone: somebody decided so.
    pub(crate) async fn bring_in(
        &self,
        bot: &Intent,
        room: &RoomId,
        members: &[Member],
    ) -> HandlerResult {
        let _filling = self.filling_rooms.hold(room.as_str()).await;
        for member in members {
            match &member.account {
                None => {
                    let ghost = self.ensure_ghost(bot, &member.person).await?;
                    ghost.ensure_joined(room).await?;
                }
                Some(user) if bot.membership(room, user).await?.is_none() => {
                    bot.invite(room, &Invite::new(user)).await?;
                    tracing::info!(%room, server = %user.server_name(), "invitation sent");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Hangs a conversation's room into its care team's space, seen from the space.
    pub(crate) async fn ensure_child(
        &self,
        bot: &Intent,
        space: &RoomId,
        room: &RoomId,
    ) -> HandlerResult {
        let child = StateEvent {
            kind: "m.space.child".to_owned(),
            state_key: room.to_string(),
            content: serde_json::json!({"via": [self.server_name], "order": "01", "suggested": true}),
        };
        bot.ensure_state(space, &child).await?;
        Ok(())
    }

    /// The same, seen from the room.
    pub(crate) fn parent(&self, space: &RoomId) -> StateEvent {
        StateEvent {
            kind: "m.space.parent".to_owned(),
            state_key: space.to_string(),
            content: serde_json::json!({"via": [self.server_name], "canonical": true}),
        }
    }
}
