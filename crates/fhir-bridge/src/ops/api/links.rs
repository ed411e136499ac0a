//! `GET /api/v1/links`
//!
//! Which resource has which room: ids only.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Serialize};

use super::ApiError;
use crate::{ops::desk::Desk, servers::Servers};

/// Which of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::ops) struct Wanted {
    /// The room of this resource, such as `CareTeam/1`.
    pub(in crate::ops) resource: Option<String>,
    /// The resource of this room.
    pub(in crate::ops) room: Option<String>,
    /// Those behind this one, as `next` said.
    pub(in crate::ops) after: Option<String>,
    pub(in crate::ops) limit: Option<u32>,
}

/// A resource and its room.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Link {
    /// The FHIR server, where it has a name.
    pub(in crate::ops) server: Option<String>,
    pub(in crate::ops) resource: String,
    pub(in crate::ops) room: String,
}

/// Some of them.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Links {
    pub(in crate::ops) links: Vec<Link>,
    /// What to give as `after` for those behind them.
    pub(in crate::ops) next: Option<String>,
}

pub(in crate::ops) async fn read(servers: &Servers, wanted: &Wanted) -> Result<Links, ApiError> {
    let limit = wanted.limit.unwrap_or(50).clamp(1, 500);
    // A server's name holds no colon; one without a name comes first.
    let (server, resource) = match &wanted.after {
        None => ("", ""),
        Some(after) => after.split_once(':').ok_or(ApiError::After)?,
    };
    let mut bridges: Vec<_> = servers.iter().collect();
    bridges.sort_by_key(|bridge| bridge.name.as_deref().unwrap_or_default());
    let mut links: Vec<Link> = Vec::new();
    for bridge in bridges {
        let name = bridge.name.as_deref().unwrap_or_default();
        if name < server {
            continue;
        }
        let after = if name == server { resource } else { "" };
        let room = wanted.room.as_deref();
        let left = limit + 1 - u32::try_from(links.len()).unwrap_or(limit);
        let rooms = bridge
            .links
            .rooms(wanted.resource.as_deref(), room, after, left)
            .await?;
        links.extend(rooms.into_iter().map(|(resource, room)| Link {
            server: bridge.name.clone(),
            resource,
            room,
        }));
        if links.len() > limit as usize {
            break;
        }
    }
    let more = links.len() > limit as usize;
    links.truncate(limit as usize);
    let next = links.last().filter(|_| more).map(|last| {
        let server = last.server.as_deref().unwrap_or_default();
        format!("{server}:{}", last.resource)
    });
    Ok(Links { links, next })
}

pub(super) async fn list(
    State(desk): State<Desk>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Links>, ApiError> {
    let Query(wanted) = wanted.map_err(|_| ApiError::Query)?;
    Ok(Json(read(&desk.servers, &wanted).await?))
}
