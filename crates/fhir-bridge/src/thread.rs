//! A conversation: `CommunicationRequest` ⇄ room.

use fhir::{CommunicationRequest, Ref, RequestStatus, ResourceRef};
use matrix_appservice::{
    CreateRoom, Delivery, HandlerError, HandlerResult, Intent, ruma::OwnedRoomId,
};
use serde_json::Value;

use crate::{bridge::Bridge, failure};

/// What a room is called: nothing about the client.
const ROOM_NAME: &str = "Conversation";

impl Bridge {
    /// A `CommunicationRequest` was created or changed.
    pub(crate) async fn thread_changed(&self, delivery: &Delivery, json: &Value) -> HandlerResult {
        let thread = read(json, self.fhir.base())?;
        if thread.status != RequestStatus::Active {
            tracing::info!(resource = %thread.reference, status = ?thread.status, "a conversation that is not active is not bridged");
            return Ok(());
        }
        self.sync_thread(&delivery.bot(), &thread).await?;
        Ok(())
    }

    /// The room of a conversation; made from the request as it is now when there is none yet. `None`
    /// when there is no such conversation, or it is not active and has no room.
    pub(crate) async fn thread_room(
        &self,
        bot: &Intent,
        reference: &ResourceRef,
    ) -> Result<Option<OwnedRoomId>, HandlerError> {
        if let Some(room) = self.links.room(reference).await.map_err(failure::links)? {
            return Ok(Some(room));
        }
        match self.thread(reference).await? {
            Some(thread) if thread.status == RequestStatus::Active => {
                self.sync_thread(bot, &thread).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Reads a conversation from the FHIR server.
    pub(crate) async fn thread(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<CommunicationRequest>, HandlerError> {
        let Some(raw) = self.fhir.read(reference).await.map_err(failure::fhir)? else {
            return Ok(None);
        };
        read(&raw.json, self.fhir.base()).map(Some)
    }

    /// Makes room, place in the space and members what the request says. Can be repeated.
    async fn sync_thread(
        &self,
        bot: &Intent,
        thread: &CommunicationRequest,
    ) -> Result<OwnedRoomId, HandlerError> {
        let space = match thread.care_team() {
            Some(team) => self.space(bot, team).await?,
            None => None,
        };
        let members = self.members(participants(thread)).await?;
        let mut room = CreateRoom::new()
            .name(ROOM_NAME)
            .invite(self.local_users(bot, &members).await?);
        if let Some(space) = &space {
            room = room.initial_state(self.parent(space));
        }
        let room = self.ensure_room(bot, &thread.reference, room).await?;
        if let Some(space) = &space {
            self.ensure_child(bot, space, &room).await?;
            bot.ensure_state(&room, &self.parent(space)).await?;
        }
        self.bring_in(bot, &room, &members).await?;
        Ok(room)
    }
}

fn read(json: &Value, base: &fhir::BaseUrl) -> Result<CommunicationRequest, HandlerError> {
    CommunicationRequest::from_json(json, base).map_err(|odd| HandlerError::never(odd.what))
}

/// Everybody who takes part in a conversation.
pub(crate) fn participants(thread: &CommunicationRequest) -> Vec<Ref> {
    thread
        .requester
        .iter()
        .chain(&thread.sender)
        .chain(&thread.recipients)
        .cloned()
        .collect()
}
