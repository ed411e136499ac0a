//! `GET /_matrix/app/v1/thirdparty/location`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1thirdpartylocation)

use std::sync::Arc;

use axum::{extract::State, http::Uri};
use ruma::RoomAliasId;

use super::{Answer, MatrixError, ask, fields, found};

/// Which places does the room with this alias stand for? None, when that is no alias.
pub(in crate::server) async fn get(State(state): State<Arc<super::State>>, uri: Uri) -> Answer {
    let fields = fields(&uri);
    let alias = fields.get("alias").unwrap_or_default();
    let alias = RoomAliasId::parse(alias).map_err(|_| MatrixError::NotFound)?;
    let locations = ask(&state, |application| application.location(alias)).await?;
    found(&locations)
}
