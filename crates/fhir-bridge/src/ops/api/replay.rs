//! `POST /api/v1/replay?resource=…`: has a resource looked at again, as if it had just been changed.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use fhir::{ResourceRef, ResourceType};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiError;
use crate::{links::now_ms, network::refresh::Because, ops::desk::Desk};

/// Which resource.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    resource: String,
    /// The FHIR server, where it has a name.
    server: Option<String>,
}

pub(super) async fn post(
    State(desk): State<Desk>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(wanted) = wanted.map_err(|_| ApiError::Query)?;
    let resource = ResourceRef::parse(&wanted.resource)
        .filter(|resource| {
            matches!(
                resource.resource_type(),
                ResourceType::CareTeam
                    | ResourceType::CommunicationRequest
                    | ResourceType::Communication
            )
        })
        .ok_or(ApiError::NotFollowed)?;
    let mut bridges = desk.servers.iter();
    let bridge = bridges
        .find(|bridge| bridge.name == wanted.server)
        .ok_or(ApiError::NoServer)?;
    let because = Because::new(format!("operator/{}", now_ms()));
    let look = bridge.look(&resource, &because);
    desk.journal.append(&[look], None).await?;
    tracing::info!(%resource, "an operator has a resource looked at again");
    Ok(Json(
        json!({"resource": resource.to_string(), "done": "waits"}),
    ))
}
