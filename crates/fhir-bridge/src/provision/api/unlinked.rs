//! `DELETE /_matrix/provision/v1/unlinked/{resource_type}/{id}`: a resource that was unlinked may have a room again by
//! itself.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
};
use fhir::ResourceRef;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Api, ApiError};

const BAD_PATH: ApiError =
    ApiError::parameter("The path must end with a resource such as CommunicationRequest/7");
const BAD_QUERY: ApiError = ApiError::parameter("`server` must be a name, once");

#[derive(Deserialize)]
pub(super) struct Parameters {
    server: Option<String>,
}

pub(super) async fn delete(
    State(api): State<Arc<Api>>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Parameters>, QueryRejection>,
) -> Answer {
    let Path((resource_type, id)) = path.map_err(|_| BAD_PATH)?;
    let Query(Parameters { server }) = query.map_err(|_| BAD_QUERY)?;
    let resource = ResourceRef::parse(&format!("{resource_type}/{id}")).ok_or(BAD_PATH)?;
    Api::run(async move { api.provision.release(&resource, server.as_deref()).await }).await?;
    Ok(Json(json!({})))
}
