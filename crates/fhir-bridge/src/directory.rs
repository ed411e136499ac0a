//! Who is who: people on the FHIR server and users in Matrix.

pub(crate) mod accounts;
pub(crate) mod cache;
pub(crate) mod claims;
mod people;
pub(crate) mod roster;
pub(crate) mod watch;

use fhir::{Person, PersonKind, ResourceRef};
use matrix_appservice::{
    HandlerError, Intent,
    ruma::{OwnedUserId, UserId},
};

use crate::bridge::{Bridge, lock};

impl Bridge {
    /// The user id of a person's ghost.
    pub(crate) fn ghost_id(&self, person: &ResourceRef) -> Result<OwnedUserId, HandlerError> {
        let earlier = lock(&self.retired).get(person).copied().unwrap_or(0);
        let localpart = self.ids.later_ghost(person, earlier);
        UserId::parse(format!("@{localpart}:{}", self.server_name))
            .map_err(|_| HandlerError::never("FHIR id too long for a Matrix user id"))
    }

    /// Whether this is one of the bridge's ghosts.
    pub(crate) fn is_ghost(&self, user: &UserId) -> bool {
        user != self.sender && self.is_ours(user)
    }

    /// What a person's ghost is called. Clients' names stay off Matrix.
    pub(crate) fn ghost_name(person: &Person) -> String {
        match person.kind {
            PersonKind::Patient => "Client".to_owned(),
            _ => person
                .display_name
                .clone()
                .unwrap_or_else(|| "Care team member".to_owned()),
        }
    }

    /// Makes sure that a person's ghost exists and bears its name.
    pub(crate) async fn ensure_ghost(
        &self,
        bot: &Intent,
        person: &Person,
    ) -> Result<Intent, HandlerError> {
        let ghost = bot.as_user(&self.ghost_id(&person.reference)?);
        ghost.ensure_registered().await?;
        let named = (ghost.user_id().to_owned(), Self::ghost_name(person));
        if !lock(&self.named).contains(&named) {
            ghost.set_display_name(&named.1).await?;
            let mut known = lock(&self.named);
            // What it was called before is no longer so.
            known.retain(|(user, _)| *user != named.0);
            known.insert(named);
        }
        Ok(ghost)
    }
}
