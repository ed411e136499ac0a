//! `GET /_matrix/app/v1/thirdparty/location/{protocol}`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1thirdpartylocationprotocol)

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::Uri,
};

use super::{Answer, ask, fields, found};

/// Which rooms stand for those places on the network?
pub(in crate::server) async fn get(
    State(state): State<Arc<super::State>>,
    protocol: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let Path(protocol) = protocol?;
    let fields = fields(&uri);
    let locations = ask(&state, |application| {
        application.locations(protocol, fields)
    })
    .await?;
    found(&locations)
}
