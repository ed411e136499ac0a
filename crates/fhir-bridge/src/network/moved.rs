//! A professional who has moved to an account of their own no longer needs the ghost.

use fhir::ResourceRef;
use matrix_appservice::HandlerResult;

use super::room::Work;
use crate::{bridge::lock, failure, mapping::membership::Placed};

impl Work<'_> {
    /// Deactivates the ghost of somebody whose own account, proved to be theirs, has taken its place in all rooms.
    /// Should that person ever need a ghost again, it is another one.
    pub(super) async fn retire(&self, gone: &Placed) -> HandlerResult {
        let bridge = self.bridge;
        let Some(person) = ResourceRef::parse(&gone.person) else {
            return Ok(());
        };
        let successor = self
            .wish
            .roster
            .members
            .iter()
            .find(|member| member.person.reference == person && !member.ghost);
        let (true, true, Some(successor)) = (
            bridge.network.deactivate_moved,
            bridge.is_ghost(&gone.user),
            successor,
        ) else {
            return Ok(());
        };
        if bridge.proof(&successor.person).await?.is_none()
            || bridge
                .links
                .is_placed_elsewhere(&gone.user, self.wish.resource)
                .await
                .map_err(failure::links)?
        {
            return Ok(());
        }
        if bridge.ghost_id(&person)? == gone.user {
            // First that it is no longer used: a bridge that stops in between must not speak for a dead account.
            let earlier = lock(&bridge.retired).get(&person).copied().unwrap_or(0) + 1;
            bridge
                .links
                .retire(&person, earlier)
                .await
                .map_err(failure::links)?;
            lock(&bridge.retired).insert(person, earlier);
        }
        match self.bot.as_user(&gone.user).deactivate(false).await {
            Ok(()) => tracing::info!("the ghost of somebody who has moved was deactivated"),
            Err(error) if error.is_transient() => return Err(error.into()),
            // It is deactivated already, or the homeserver does not let us: it is in no room of ours any more.
            Err(error) => {
                tracing::info!(%error, "a ghost that is no longer used is not deactivated");
            }
        }
        Ok(())
    }
}
