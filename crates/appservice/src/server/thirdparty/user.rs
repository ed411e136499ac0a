//! `GET /_matrix/app/v1/thirdparty/user`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1thirdpartyuser)

use std::sync::Arc;

use axum::{extract::State, http::Uri};
use ruma::UserId;

use super::{Answer, MatrixError, ask, fields, found};

/// Whom does this Matrix user stand for? Nobody, when that is no user id.
pub(in crate::server) async fn get(State(state): State<Arc<super::State>>, uri: Uri) -> Answer {
    let fields = fields(&uri);
    let user_id = fields.get("userid").unwrap_or_default();
    let user_id = UserId::parse(user_id).map_err(|_| MatrixError::NotFound)?;
    let users = ask(&state, |application| application.user(user_id)).await?;
    found(&users)
}
