//! Invitations to our users.
//!
//! Ghosts and the bridge's own user accept at once. An invitation from elsewhere that says, by a pseudonym, whom the
//! room is about is noted in the links, outside Matrix. Such a room belongs to another organisation, whose bridge puts
//! its messages on record: here they are not stored, and nothing is said there.

use std::time::Duration;

use fhir::ResourceRef;
use matrix_appservice::{
    Delivery, Event, HandlerError, HandlerResult,
    ruma::{RoomId, UserId},
};
use serde_json::Value;

use crate::{
    bridge::Bridge,
    failure,
    mapping::invitation::{self, PSEUDO_BSN},
};

/// How long a homeserver elsewhere may take to store an invitation that it has sent.
const SETTLES: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

impl Bridge {
    /// Somebody invites one of our users.
    pub(crate) async fn invited(
        &self,
        delivery: &Delivery,
        event: &Event,
        user: &UserId,
    ) -> HandlerResult {
        let room = event.room_id();
        match delivery.intent(user).join(room).await {
            Ok(()) => {}
            // It is pushed before the inviting homeserver has stored it: we can be too fast.
            Err(error) if error.is_forbidden() && delivery.age() < SETTLES => {
                return Err(HandlerError::after(
                    "the invitation is not known yet",
                    PAUSE,
                ));
            }
            Err(error) if error.is_forbidden() || error.is_not_found() => {
                tracing::info!(%room, "an invitation was withdrawn before it was accepted");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(%room, server = %event.sender().server_name(), "an invitation was accepted");
        let bot = delivery.bot();
        if let Some(resource) = self.resource_of_room(&bot, room).await? {
            // A room of ours: whom somebody invites there becomes a member.
            return self.ghost_came(delivery, &resource, user).await;
        }
        let content: Value = event.content().unwrap_or_default();
        if let Some(pseudonym) = invitation::pseudonym(&content) {
            self.note_guest_room(room, pseudonym).await?;
        }
        if user == self.sender {
            self.adopt(delivery, room).await?;
        }
        Ok(())
    }

    /// Notes whom a room of others is about.
    async fn note_guest_room(&self, room: &RoomId, pseudonym: &str) -> HandlerResult {
        let client = self.client_of(pseudonym).await?;
        self.links
            .note_guest_room(room, pseudonym, client.as_ref())
            .await
            .map_err(failure::links)?;
        tracing::info!(%room, known = client.is_some(), "noted whom a room of others is about");
        Ok(())
    }

    async fn client_of(&self, pseudonym: &str) -> Result<Option<ResourceRef>, HandlerError> {
        let token = fhir::search_token(Some(PSEUDO_BSN), pseudonym);
        let found = self
            .fhir
            .search(&fhir::ResourceType::Patient, &[("identifier", &token)], 2)
            .await
            .map_err(failure::fhir)?;
        let mut clients = found.resources.into_iter().filter(|raw| {
            // Servers differ in what they take for a match: look at the entry itself.
            invitation::context(&raw.json).is_some_and(|context| {
                context.pointer("/room.subject/identifier/0/value")
                    == Some(&Value::String(pseudonym.to_owned()))
            })
        });
        let client = clients.next().map(|raw| raw.reference);
        // Of two, nobody knows which one it is.
        Ok(client.filter(|_| clients.next().is_none()))
    }
}
