//! `GET /_matrix/app/v1/rooms/{roomAlias}`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1roomsroomalias)

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};

use super::{Answer, by};

/// Does it exist? 200 only when the application has made it.
pub(super) async fn get(
    State(state): State<Arc<super::State>>,
    room_alias: Result<Path<String>, PathRejection>,
) -> Answer {
    let Path(room_alias) = room_alias?;
    by(state.rooms.as_ref(), room_alias, state.query_timeout).await
}
