//! Invitations that the bridge sends.

use matrix_appservice::{HandlerResult, Invite, ruma::UserId};

use super::room::Work;
use crate::{
    failure,
    mapping::{
        audit_event::{Deed, Record},
        invitation,
    },
};

/// What those are told who are invited: nothing about anybody.
const REASON: &str = "Invitation to a care network.";

impl Work<'_> {
    /// Invites somebody, from elsewhere with the pseudonym of the client whom it is about.
    ///
    /// That a homeserver elsewhere does not answer holds up nobody else: it is tried again later.
    pub(super) async fn invite(&mut self, user: &UserId) -> HandlerResult {
        let mut invite = Invite::new(user).again().reason(REASON);
        let remote = user.server_name() != self.bridge.server_name;
        if remote && let Some(context) = self.context().await? {
            invite = invite.with(invitation::CONTEXT, context);
        }
        let server = user.server_name();
        let room = self.room;
        if let Some(refusal) = self.bridge.refuses(server).await {
            tracing::warn!(%room, %server, %refusal, "not invited");
            let record = Record::new(Deed::Refused)
                .by_user(user.as_str(), true)
                .room(room)
                .resource(self.wish.resource)
                .because(refusal.class());
            return self.bridge.note_this_hour(record).await;
        }
        let record = Record::new(Deed::Admitted)
            .by_user(user.as_str(), remote)
            .room(room)
            .resource(self.wish.resource);
        self.bridge.note_this_hour(record).await?;
        match self.bot.invite(room, &invite).await {
            Ok(_) => tracing::info!(%room, %server, "invitation sent"),
            Err(error) if remote && !error.is_forbidden() => {
                tracing::warn!(%room, %server, %error, "an invitation could not be sent, trying again later");
                self.again = true;
            }
            other => {
                self.as_far_as_allowed(other)?;
            }
        }
        Ok(())
    }

    /// What an invitation tells those elsewhere.
    async fn context(&self) -> Result<Option<serde_json::Value>, matrix_appservice::HandlerError> {
        let client = self
            .wish
            .subject
            .and_then(|subject| subject.resource_of(&fhir::ResourceType::Patient));
        let Some(client) = client else {
            return Ok(None);
        };
        let raw = self.bridge.fhir.read(client).await.map_err(failure::fhir)?;
        Ok(raw.and_then(|raw| invitation::context(&raw.json)))
    }
}
