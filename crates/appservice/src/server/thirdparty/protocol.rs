//! `GET /_matrix/app/v1/thirdparty/protocol/{protocol}`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1thirdpartyprotocolprotocol)

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};

use super::{Answer, MatrixError, ask, json};

/// What is this protocol, and which networks of it are there?
pub(in crate::server) async fn get(
    State(state): State<Arc<super::State>>,
    protocol: Result<Path<String>, PathRejection>,
) -> Answer {
    let Path(protocol) = protocol?;
    let answer = ask(&state, |application| application.protocol(protocol)).await?;
    json(&answer.ok_or(MatrixError::NotFound)?)
}
