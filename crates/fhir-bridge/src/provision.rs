//! Linking rooms that are there already: what the provisioning API and the admin commands do.
//!
//! Both call the operations of [`Provision`], which hold to the same rules, whoever asks:
//!
//! - a resource has one room and a room one resource;
//! - the bridge has to be in the room, able to read it (no encryption), and strong enough to do its work there;
//! - everybody in the room may take part (`policy`), and whoever asks in Matrix could have done it alone: they have the
//!   power to change the room's state.
//!
//! A link is noted at once. What follows from it (bringing the room in line, what is in the record; or leaving) goes
//! through the journal in the resource's lane: so it comes in order with all else about it and survives a restart.

pub(crate) mod api;
pub(crate) mod commands;
mod follow;
mod link;
mod refused;
mod rules;
mod unlink;

use std::sync::Arc;

use fhir::ResourceRef;
use matrix_appservice::{
    HandlerError, Intent,
    ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId, events::room::member::MembershipState},
};

pub(crate) use self::{follow::PROVISION, link::Wanted, refused::Refused};
use crate::{
    bridge::Bridge, config::Config, failure, mapping::room_state::RoomState, servers::Servers,
};

/// The operations. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Provision(Arc<Inner>);

struct Inner {
    servers: Servers,
    admins: Vec<OwnedUserId>,
    homeserver: String,
    /// Links are made and undone one at a time: what was looked at still holds when it is noted.
    turn: tokio::sync::Mutex<()>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asker<'a> {
    /// Whoever has the token of the provisioning API.
    Token,
    /// Somebody in Matrix.
    User(&'a UserId),
}

/// A resource and its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) room: OwnedRoomId,
    pub(crate) resource: ResourceRef,
    /// The FHIR server, where it has a name.
    pub(crate) server: Option<String>,
}

/// Why an operation was not done.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It can't be, for a reason that whoever asks can do something about.
    Refused(Refused),
    /// Something that it needs does not work.
    Fault(HandlerError),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<HandlerError> for Failed {
    fn from(error: HandlerError) -> Self {
        Self::Fault(error)
    }
}

impl From<matrix_appservice::Error> for Failed {
    fn from(error: matrix_appservice::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl From<matrix_appservice::JournalError> for Failed {
    fn from(error: matrix_appservice::JournalError) -> Self {
        Self::Fault(error.into())
    }
}

impl Provision {
    pub(crate) fn new(servers: &Servers, config: &Config) -> Self {
        Self(Arc::new(Inner {
            servers: servers.clone(),
            admins: config.admins.clone(),
            homeserver: config.homeserver.name.to_string(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    /// The server of this name, or all of them.
    fn named(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Bridge>> {
        let all = self.0.servers.iter();
        all.filter(move |bridge| name.is_none() || name == bridge.name.as_deref())
    }

    /// The links whose room ids come behind `after`, in their order, of all servers or of one; at most `limit`.
    pub(crate) async fn list(
        &self,
        after: &str,
        limit: u32,
        server: Option<&str>,
    ) -> Result<Vec<Link>, Failed> {
        let mut links = Vec::new();
        for bridge in self.named(server) {
            let page = bridge.links.linked(after, limit).await;
            let page = page.map_err(failure::links)?;
            links.extend(page.into_iter().map(|(room, resource)| Link {
                room,
                resource,
                server: bridge.name.clone(),
            }));
        }
        links.sort_by(|one, other| one.room.cmp(&other.room));
        links.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(links)
    }

    /// The links of a resource: one at most for each server.
    pub(crate) async fn of_resource(
        &self,
        resource: &ResourceRef,
        server: Option<&str>,
    ) -> Result<Vec<Link>, Failed> {
        let mut links = Vec::new();
        for bridge in self.named(server) {
            let room = bridge.links.room(resource).await.map_err(failure::links)?;
            links.extend(room.map(|room| Link {
                room,
                resource: resource.clone(),
                server: bridge.name.clone(),
            }));
        }
        Ok(links)
    }

    /// The link of a room.
    pub(crate) async fn of_room(&self, room: &RoomId) -> Result<Option<Link>, Failed> {
        Ok(self.owner(room).await?.map(|(_, link)| link))
    }

    /// The link of a room, and the server whose it is.
    async fn owner(&self, room: &RoomId) -> Result<Option<(&Arc<Bridge>, Link)>, Failed> {
        for bridge in self.0.servers.iter() {
            let resource = bridge.links.resource_of_room(room).await;
            if let Some(resource) = resource.map_err(failure::links)? {
                let link = Link {
                    room: room.to_owned(),
                    resource,
                    server: bridge.name.clone(),
                };
                return Ok(Some((bridge, link)));
            }
        }
        Ok(None)
    }

    /// The server that is meant: the one of this name; without one, the only one or the one without a name.
    fn server(&self, name: Option<&str>) -> Result<&Arc<Bridge>, Refused> {
        let mut all = self.0.servers.iter();
        let found = match name {
            None if all.len() == 1 => all.next(),
            name => all.find(|bridge| bridge.name.as_deref() == name),
        };
        found.ok_or(Refused::NoServer)
    }

    /// Any of the servers, for what all of them share.
    fn any(&self) -> Result<&Arc<Bridge>, Refused> {
        self.0.servers.iter().next().ok_or(Refused::NoServer)
    }

    /// The names of the FHIR servers, where they have one.
    fn server_names(&self) -> Vec<Option<&str>> {
        let names = self.0.servers.iter().map(|bridge| bridge.name.as_deref());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }
}

/// A room's state, which the bridge sees only from inside; `None` when it isn't there.
async fn state_of(bot: &Intent, room: &RoomId) -> Result<Option<RoomState>, Failed> {
    if bot.membership(room, bot.user_id()).await? != Some(MembershipState::Join) {
        return Ok(None);
    }
    match bot.all_state(room).await {
        Ok(events) => Ok(Some(RoomState::read(events))),
        Err(error) if error.is_forbidden() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
