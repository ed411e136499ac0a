//! `GET /_matrix/provision/v1/links`, and `GET`, `PUT` and `DELETE /_matrix/provision/v1/links/{room_id}`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{
        Path, Query, State,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use fhir::ResourceRef;
use matrix_appservice::ruma::{OwnedRoomId, OwnedServerName, RoomId};
use serde::Deserialize;
use serde_json::{Value, error::Category, json};

use super::{Answer, Api, ApiError, answer};
use crate::provision::{Asker, Link, Refused, Wanted};

/// How many links a page has.
const PAGE: u32 = 100;
const LONGEST_PAGE: u32 = 1000;

/// The most homeservers that are asked for a way into a room.
const MOST_VIA: usize = 20;

const BAD_ROOM: ApiError = ApiError::parameter("The path must end with a room id, percent-encoded");
const BAD_RESOURCE: ApiError =
    ApiError::parameter("`resource` must be a resource such as CommunicationRequest/7");
const BAD_VIA: ApiError = ApiError::parameter("`via` may hold 20 names at most");
const BAD_LIST: ApiError = ApiError::parameter(
    "`resource`, `server` and `from` may each be there once, and `limit` must be from 1 to 1000",
);
const BAD_KEEP: ApiError = ApiError::parameter("`keep` must be true or false, once");
const NOT_JSON: ApiError = ApiError::new(
    StatusCode::BAD_REQUEST,
    "M_NOT_JSON",
    "The body is not JSON",
);
const BAD_JSON: ApiError = ApiError::new(
    StatusCode::BAD_REQUEST,
    "M_BAD_JSON",
    "The body must be an object with `resource`, a text, and may have `replace`, `server` and `via`",
);
const TOO_LARGE: ApiError = ApiError::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "M_TOO_LARGE",
    "The body is larger than 16 KiB",
);
const UNREAD: ApiError = ApiError::new(
    StatusCode::BAD_REQUEST,
    "M_UNKNOWN",
    "The body ended before it was complete",
);

#[derive(Deserialize)]
pub(super) struct ListParameters {
    resource: Option<String>,
    server: Option<String>,
    from: Option<String>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct DeleteParameters {
    #[serde(default)]
    keep: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    resource: String,
    #[serde(default)]
    replace: bool,
    server: Option<String>,
    #[serde(default)]
    via: Vec<OwnedServerName>,
}

/// All links, page by page, or those of one resource.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListParameters>, QueryRejection>,
) -> Answer {
    let Query(wanted) = query.map_err(|_| BAD_LIST)?;
    let limit = wanted.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(BAD_LIST);
    }
    let server = wanted.server.as_deref();
    if let Some(resource) = &wanted.resource {
        let resource = ResourceRef::parse(resource).ok_or(BAD_RESOURCE)?;
        let found = api.provision.of_resource(&resource, server).await?;
        return Ok(Json(json!({"links": told(&found)})));
    }
    let from = wanted.from.unwrap_or_default();
    let found = api.provision.list(&from, limit, server).await?;
    let mut page = json!({"links": told(&found)});
    if let Some(last) = found.last()
        && found.len() == usize::try_from(limit).unwrap_or(usize::MAX)
    {
        page["next"] = last.room.as_str().into();
    }
    Ok(Json(page))
}

/// The link of a room.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
) -> Answer {
    let room = room(path)?;
    match api.provision.of_room(&room).await? {
        Some(link) => Ok(Json(answer::link(&link))),
        None => Err(Refused::NoLink.into()),
    }
}

/// Links a room.
pub(super) async fn put(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let room = room(path)?;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE,
        _ => UNREAD,
    })?;
    let body: Body = serde_json::from_slice(&body).map_err(|error| match error.classify() {
        Category::Data => BAD_JSON,
        _ => NOT_JSON,
    })?;
    if body.via.len() > MOST_VIA {
        return Err(BAD_VIA);
    }
    let wanted = Wanted {
        resource: ResourceRef::parse(&body.resource).ok_or(BAD_RESOURCE)?,
        room: room.into(),
        server: body.server,
        replace: body.replace,
        via: body.via,
    };
    let link =
        Api::run(async move { api.provision.link(&api.bot, Asker::Token, &wanted).await }).await?;
    Ok(Json(answer::link(&link)))
}

/// Undoes the link of a room.
pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<DeleteParameters>, QueryRejection>,
) -> Answer {
    let room = room(path)?;
    let Query(DeleteParameters { keep }) = query.map_err(|_| BAD_KEEP)?;
    Api::run(async move {
        let provision = &api.provision;
        provision
            .unlink(&api.bot, Asker::Token, &room, keep)
            .await?;
        provision.leave().await
    })
    .await?;
    Ok(Json(json!({})))
}

fn room(path: Result<Path<String>, PathRejection>) -> Result<OwnedRoomId, ApiError> {
    let Path(room) = path.map_err(|_| BAD_ROOM)?;
    RoomId::parse(room).map_err(|_| BAD_ROOM)
}

fn told(links: &[Link]) -> Vec<Value> {
    links.iter().map(answer::link).collect()
}
