//! `GET /_matrix/app/v1/thirdparty/user/{protocol}`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1thirdpartyuserprotocol)

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
};

use super::{Answer, ask, fields, found};

/// Which Matrix users stand for those on the network?
pub(in crate::server) async fn get(
    State(state): State<Arc<super::State>>,
    protocol: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let Path(protocol) = protocol?;
    let fields = fields(&uri);
    let users = ask(&state, |application| application.users(protocol, fields)).await?;
    found(&users)
}
