//! Linking a room that is there.

use std::{collections::BTreeSet, sync::Arc};

use fhir::{CareTeam, ResourceRef, ResourceType};
use matrix_appservice::{
    HandlerError, Intent,
    ruma::{OwnedRoomId, OwnedRoomOrAliasId, OwnedServerName, RoomAliasId, RoomId},
};

use super::{Asker, Failed, Link, Provision, Refused, rules, state_of};
use crate::{
    bridge::Bridge,
    failure,
    links::linked::Taken,
    mapping::{
        audit_event::{Deed, Record},
        levels::Kind,
        phase::Phase,
        room_state::RoomState,
    },
};

/// A link that is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) resource: ResourceRef,
    pub(crate) room: OwnedRoomOrAliasId,
    /// The FHIR server, where there are several.
    pub(crate) server: Option<String>,
    /// Whether another room that the resource has gives way.
    pub(crate) replace: bool,
    /// Homeservers that are in the room, where ours isn't yet.
    pub(crate) via: Vec<OwnedServerName>,
}

impl Provision {
    /// Links a resource and a room. Can be repeated: what is linked already is looked at again.
    pub(crate) async fn link(
        &self,
        bot: &Intent,
        asker: Asker<'_>,
        wanted: &Wanted,
    ) -> Result<Link, Failed> {
        let _turn = self.0.turn.lock().await;
        let bridge = self.server(wanted.server.as_deref())?;
        let resource = &wanted.resource;
        let kind = match resource.resource_type() {
            ResourceType::CareTeam => Kind::Space,
            _ if bridge.server.threads.is_of(resource) => Kind::Room,
            _ => return Err(Refused::WrongType.into()),
        };
        if let Asker::User(user) = asker
            && bridge.refuses(user.server_name()).await.is_some()
        {
            return Err(Refused::AskerBarred.into());
        }
        check_open(bridge, resource).await?;
        let room = self.enter(bot, bridge, asker, kind, wanted).await?;
        let link = Link {
            room,
            resource: resource.clone(),
            server: bridge.name.clone(),
        };
        let taken = {
            let _making = bridge.making_room(resource).await;
            let taken = bridge.links.take_room(resource, &link.room, wanted.replace);
            taken.await.map_err(failure::links)?
        };
        match taken {
            Taken::Already => {}
            Taken::ResourceHas(room) => return Err(Refused::ResourceHas(room).into()),
            Taken::RoomHas(resource) => return Err(Refused::RoomHas(resource).into()),
            Taken::Linked(_) => {
                for bridge in self.0.servers.iter() {
                    bridge.is_foreign_no_more(&link.room);
                }
                note(bridge, asker, Deed::Linked, &link).await?;
                tracing::info!(%resource, room = %link.room, "a room was linked");
            }
        }
        bridge.follow_link(&link).await?;
        // A room that had to give way.
        bridge.follow_leaving().await?;
        Ok(link)
    }

    /// The room's id, once it is known that it can be linked. The bridge joins it for that.
    async fn enter(
        &self,
        bot: &Intent,
        bridge: &Arc<Bridge>,
        asker: Asker<'_>,
        kind: Kind,
        wanted: &Wanted,
    ) -> Result<OwnedRoomId, Failed> {
        let room = self::room_id(bot, &wanted.room).await?;
        let was_in = state_of(bot, &room).await?;
        let came = was_in.is_none();
        if came {
            join(bot, bridge, wanted).await?;
        }
        let state = match was_in {
            Some(state) => Some(state),
            None => state_of(bot, &room).await?,
        };
        let state = state.ok_or_else(|| Refused::NotInvited(bridge.sender.clone()))?;
        let checked = self.check(bridge, asker, kind, wanted, (&room, &state));
        match checked.await {
            Ok(()) => Ok(room),
            Err(failed) => {
                // Whoever invited us may mend what is wrong; where nobody did, we have no business.
                if came && is_public(&state) {
                    bot.leave(&room, None).await?;
                }
                Err(failed)
            }
        }
    }

    async fn check(
        &self,
        bridge: &Arc<Bridge>,
        asker: Asker<'_>,
        kind: Kind,
        wanted: &Wanted,
        (room, state): (&RoomId, &RoomState),
    ) -> Result<(), Failed> {
        if let Asker::User(user) = asker {
            rules::check_asker(state, user)?;
        }
        rules::check_room(state, kind)?;
        if let Some((owner, link)) = self.owner(room).await?
            && (owner.name != bridge.name || link.resource != wanted.resource)
        {
            return Err(Refused::RoomHas(link.resource).into());
        }
        let has = bridge.links.room(&wanted.resource).await;
        if let Some(has) = has.map_err(failure::links)?
            && has != room
            && !wanted.replace
        {
            return Err(Refused::ResourceHas(has).into());
        }
        rules::check_bridge(state, kind, &bridge.sender)?;
        let mut refused = Vec::new();
        for server in servers_in(state) {
            if bridge.refuses(&server).await.is_some() {
                refused.push(server);
            }
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(Refused::Policy(refused).into())
        }
    }
}

/// The id behind an address.
pub(super) async fn room_id(
    bot: &Intent,
    room: &OwnedRoomOrAliasId,
) -> Result<OwnedRoomId, Failed> {
    if let Ok(room) = RoomId::parse(room.as_str()) {
        return Ok(room);
    }
    let alias = RoomAliasId::parse(room.as_str()).map_err(|_| Refused::NoRoom)?;
    let found = bot.resolve_alias(&alias).await?;
    Ok(found.ok_or(Refused::NoRoom)?)
}

async fn join(bot: &Intent, bridge: &Bridge, wanted: &Wanted) -> Result<(), Failed> {
    match bot.join_via(&wanted.room, &wanted.via).await {
        Ok(_) => Ok(()),
        // Not invited, no such room, or none that our homeserver finds a way into.
        Err(error)
            if error
                .status()
                .is_some_and(|status| matches!(status.as_u16(), 400 | 403 | 404)) =>
        {
            Err(Refused::NotInvited(bridge.sender.clone()).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn is_public(state: &RoomState) -> bool {
    let rules = state.content("m.room.join_rules", "");
    rules.and_then(|rules| rules.get("join_rule")?.as_str()) == Some("public")
}

/// The homeservers of those who are in a room or invited to it.
fn servers_in(state: &RoomState) -> BTreeSet<OwnedServerName> {
    state
        .members()
        .filter(|(_, membership)| matches!(*membership, "join" | "invite"))
        .map(|(user, _)| user.server_name().to_owned())
        .collect()
}

/// Whether there is such a care team or conversation, and it is open or on hold.
async fn check_open(bridge: &Bridge, resource: &ResourceRef) -> Result<(), Failed> {
    let source = bridge.server.threads.source(resource);
    let raw = bridge.fhir.read(&source).await.map_err(failure::fhir)?;
    let raw = raw.ok_or_else(|| Refused::NoResource(resource.clone()))?;
    let base = bridge.fhir.base();
    let phase = match resource.resource_type() {
        ResourceType::CareTeam => {
            CareTeam::from_json(&raw.json, base).map(|team| Phase::of_team(team.status))
        }
        // A message, where conversations are of the same type.
        _ if !bridge.is_thread(resource, Some(&raw.json)).await? => {
            return Err(Refused::WrongType.into());
        }
        _ => (bridge.server.threads.read(&raw.json, base)).map(|thread| thread.phase),
    };
    match phase.map_err(|odd| HandlerError::never(odd.what))? {
        Some(Phase::Open | Phase::Held) => Ok(()),
        _ => Err(Refused::NotOpen(resource.clone()).into()),
    }
}

/// Writes down who had what done.
pub(super) async fn note(
    bridge: &Bridge,
    asker: Asker<'_>,
    deed: Deed,
    link: &Link,
) -> Result<(), HandlerError> {
    let record = Record::new(deed).resource(&link.resource).room(&link.room);
    let record = match asker {
        Asker::Token => record,
        Asker::User(user) => {
            record.by_user(user.as_str(), user.server_name() != bridge.server_name)
        }
    };
    bridge.note_each(record).await
}
