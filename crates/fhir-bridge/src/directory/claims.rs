//! Who wrote something: resolving a Matrix user to a person.
//!
//! The directory is asked first: whom it knows is that person, whatever they claim. Of users whom it does not know, what
//! they state in `custom.user_mappings` counts, because another organisation's bridge says there who its ghosts are. A
//! user can state anything, so such a claim does no more than this:
//!
//! - it names one of those who take part in this very conversation, never anybody else;
//! - all that it says agrees with the directory's entry (see `mapping::identity`);
//! - the person has no Matrix account of their own in the directory, whose messages could be imitated;
//! - it counts in this room only, and is noted nowhere.
//!
//! It gives no power level and no way into any room. `network.trust_user_mappings: false` switches it off.

use fhir::ResourceRef;
use matrix_appservice::{
    HandlerError, Intent,
    ruma::{RoomId, UserId},
};

use crate::{
    bridge::Bridge,
    failure,
    mapping::identity::{Claim, Standing, USER_MAPPINGS},
};

impl Bridge {
    /// The person that a user is in the room of `resource`; `None` when nobody knows.
    pub(crate) async fn person_in(
        &self,
        bot: &Intent,
        resource: &ResourceRef,
        room: &RoomId,
        user: &UserId,
    ) -> Result<Option<ResourceRef>, HandlerError> {
        if let Some(person) = self.person_of(user).await? {
            return Ok(Some(person));
        }
        if !self.network.trust_user_mappings {
            return Ok(None);
        }
        let Some(content) = bot.state(room, USER_MAPPINGS, user.as_str()).await? else {
            return Ok(None);
        };
        let claim = Claim::read(&content);
        let same_server = user.server_name() == self.server_name;
        let members = self.links.placed(resource).await.map_err(failure::links)?;
        let mut found = None;
        for member in members {
            let Some(reference) = ResourceRef::parse(&member.person) else {
                continue;
            };
            let Some(person) = self.person(&reference).await? else {
                continue;
            };
            let has_account = self
                .links
                .identity(&reference)
                .await
                .map_err(failure::links)?
                .is_some()
                || !self.is_ghost(&member.user);
            if has_account {
                continue;
            }
            let standing = Standing {
                ura: if claim.ura.is_some() {
                    self.ura(&person).await?
                } else {
                    None
                },
                role_code: None,
            };
            if claim.is_of(&person, &standing, self.fhir.base(), same_server) {
                if found.as_ref().is_some_and(|found| *found != reference) {
                    // Two people fit: nobody knows which one it is.
                    return Ok(None);
                }
                found = Some(reference);
            }
        }
        Ok(found)
    }
}
