//! What the homeserver calls: the transaction endpoint, the queries, the ping.
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#matrix-application-service-api-for-homeservers)

mod auth;
mod error;
mod ping;
mod query;
mod rooms;
#[cfg(test)]
mod tests;
mod transactions;
mod users;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post, put},
};

use self::error::MatrixError;
pub(crate) use self::query::{AnyQuery, Query, by};
use crate::{journal::Journal, registration::Registration};

/// The default limit of a body: a hundred events with their former contents fit in with room to
/// spare. A smaller limit can block a homeserver's queue for ever.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

pub(crate) struct State {
    pub(crate) registration: Registration,
    pub(crate) journal: Journal,
    pub(crate) users: Option<Query>,
    pub(crate) rooms: Option<Query>,
}

/// The routes of the application service, ready to be served or to be called in a test.
pub(crate) fn router(state: Arc<State>, max_body_bytes: usize) -> Router {
    let known = Router::new()
        .route(
            "/_matrix/app/v1/transactions/{txn_id}",
            put(transactions::put),
        )
        .route("/_matrix/app/v1/users/{user_id}", get(users::get))
        .route("/_matrix/app/v1/rooms/{room_alias}", get(rooms::get))
        .route("/_matrix/app/v1/ping", post(ping::post))
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::check))
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .with_state(state);
    Router::new()
        .merge(known)
        .method_not_allowed_fallback(error::wrong_method)
        .fallback(error::unknown_path)
}

type Answer = Result<axum::Json<serde_json::Value>, MatrixError>;

#[expect(clippy::unnecessary_wraps, reason = "endpoints end with it")]
fn ok() -> Answer {
    Ok(axum::Json(serde_json::json!({})))
}
