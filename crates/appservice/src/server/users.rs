//! `GET /_matrix/app/v1/users/{userId}`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1usersuserid)

use std::sync::Arc;

use axum::extract::{Path, State, rejection::PathRejection};

use super::{Answer, by};

/// Does it exist? 200 only when the application has made it.
pub(super) async fn get(
    State(state): State<Arc<super::State>>,
    user_id: Result<Path<String>, PathRejection>,
) -> Answer {
    let Path(user_id) = user_id?;
    by(state.users.as_ref(), user_id, state.query_timeout).await
}
