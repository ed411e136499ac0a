//! Undoing a link, and saying that a resource may have a room again.

use fhir::ResourceRef;
use matrix_appservice::{Intent, ruma::RoomId};

use super::{Asker, Failed, Link, Provision, Refused, link::note, rules, state_of};
use crate::{bridge::Bridge, failure, mapping::audit_event::Deed, network::refresh::Because};

impl Provision {
    /// Undoes the link of a room; with `keep`, the bridge's users stay there. Nothing is changed on the FHIR server, and
    /// the resource gets no other room by itself. The room is left when [`Provision::leave`] is called.
    ///
    /// Can be repeated: a room that was unlinked is found again.
    pub(crate) async fn unlink(
        &self,
        bot: &Intent,
        asker: Asker<'_>,
        room: &RoomId,
        keep: bool,
    ) -> Result<Link, Failed> {
        let _turn = self.0.turn.lock().await;
        let Some((bridge, link)) = self.owner(room).await? else {
            return self.unlink_again(bot, asker, room, keep).await;
        };
        check_asker(bot, bridge, asker, room).await?;
        {
            let _making = bridge.making_room(&link.resource).await;
            let done = bridge.links.unlink_room(&link.resource, room, keep);
            done.await.map_err(failure::links)?;
        }
        note(bridge, asker, Deed::Unlinked, &link).await?;
        tracing::info!(resource = %link.resource, %room, keep, "a room was unlinked");
        Ok(link)
    }

    /// Has the bridge leave what was unlinked.
    pub(crate) async fn leave(&self) -> Result<(), Failed> {
        for bridge in self.0.servers.iter() {
            bridge.follow_leaving().await?;
        }
        Ok(())
    }

    /// Lets a resource have a room again by itself that was unlinked.
    pub(crate) async fn release(
        &self,
        resource: &ResourceRef,
        server: Option<&str>,
    ) -> Result<(), Failed> {
        let _turn = self.0.turn.lock().await;
        let bridge = self.server(server)?;
        let released = bridge.links.release(resource).await;
        if !released.map_err(failure::links)? {
            return Err(Refused::NotUnlinked.into());
        }
        let because = Because::new(format!("released/{}", crate::links::now_ms()));
        let look = bridge.look(resource, &because);
        bridge.journal.append(&[look], None).await?;
        tracing::info!(%resource, "a resource that was unlinked may have a room again");
        Ok(())
    }

    /// A room that was unlinked before: it may still be to be left.
    async fn unlink_again(
        &self,
        bot: &Intent,
        asker: Asker<'_>,
        room: &RoomId,
        keep: bool,
    ) -> Result<Link, Failed> {
        for bridge in self.0.servers.iter() {
            let resource = bridge.links.unlinked_from(room).await;
            let Some(resource) = resource.map_err(failure::links)? else {
                continue;
            };
            check_asker(bot, bridge, asker, room).await?;
            if !keep {
                let noted = bridge.links.leave_room(&resource, room).await;
                noted.map_err(failure::links)?;
            }
            return Ok(Link {
                room: room.to_owned(),
                resource,
                server: bridge.name.clone(),
            });
        }
        Err(Refused::NoLink.into())
    }
}

/// Whether whoever asks may: where they have no token, their power in the room counts.
async fn check_asker(
    bot: &Intent,
    bridge: &Bridge,
    asker: Asker<'_>,
    room: &RoomId,
) -> Result<(), Failed> {
    let Asker::User(user) = asker else {
        return Ok(());
    };
    if bridge.refuses(user.server_name()).await.is_some() {
        return Err(Refused::AskerBarred.into());
    }
    let state = state_of(bot, room).await?.unwrap_or_default();
    Ok(rules::check_asker(&state, user)?)
}
