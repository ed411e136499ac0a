//! What the homeserver calls: the transaction endpoint, the queries, the ping.
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#matrix-application-service-api-for-homeservers)

mod auth;
mod connections;
mod error;
mod ping;
mod query;
mod rooms;
#[cfg(test)]
mod tests;
mod thirdparty;
mod transactions;
mod users;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post, put},
};

pub use self::connections::serve;
use self::error::MatrixError;
pub(crate) use self::query::{AnyQuery, DEADLINE, Query};
use self::query::{by, within};
use crate::{
    journal::{Journal, intake::Intake},
    registration::Registration,
    thirdparty::AnyThirdParty,
};

/// The default limit of a body: a hundred events with their former contents fit in with room to
/// spare. A smaller limit can block a homeserver's queue for ever.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

pub(crate) struct State {
    pub(crate) registration: Registration,
    pub(crate) journal: Journal,
    /// What of a transaction is taken in.
    pub(crate) intake: Arc<Intake>,
    pub(crate) users: Option<Query>,
    pub(crate) rooms: Option<Query>,
    pub(crate) third_party: Option<Arc<dyn AnyThirdParty>>,
    /// How long the application may take to answer a query.
    pub(crate) query_timeout: Duration,
}

/// The routes of the application service, ready to be served or to be called in a test.
pub(crate) fn router(state: Arc<State>, max_body_bytes: usize) -> Router {
    let known = current()
        .merge(legacy())
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::check))
        .layer(DefaultBodyLimit::max(max_body_bytes))
        .with_state(state);
    Router::new()
        .merge(known)
        .method_not_allowed_fallback(error::wrong_method)
        .fallback(error::unknown_path)
}

fn current() -> Router<Arc<State>> {
    pushes("/_matrix/app/v1")
        .merge(lookups("/_matrix/app/v1"))
        .route("/_matrix/app/v1/ping", post(ping::post))
}

/// The paths of homeservers of old.
///
/// [Specification](https://spec.matrix.org/v1.17/application-service-api/#legacy-routes)
fn legacy() -> Router<Arc<State>> {
    pushes("").merge(lookups("/_matrix/app/unstable"))
}

fn pushes(base: &str) -> Router<Arc<State>> {
    Router::new()
        .route(
            &format!("{base}/transactions/{{txn_id}}"),
            put(transactions::put),
        )
        .route(&format!("{base}/users/{{user_id}}"), get(users::get))
        .route(&format!("{base}/rooms/{{room_alias}}"), get(rooms::get))
}

fn lookups(base: &str) -> Router<Arc<State>> {
    use thirdparty::{location, locations, protocol, user, users};
    let path = |rest: &str| format!("{base}/thirdparty/{rest}");
    Router::new()
        .route(&path("protocol/{protocol}"), get(protocol::get))
        .route(&path("user/{protocol}"), get(users::get))
        .route(&path("location/{protocol}"), get(locations::get))
        .route(&path("user"), get(user::get))
        .route(&path("location"), get(location::get))
}

type Answer = Result<axum::Json<serde_json::Value>, MatrixError>;

#[expect(clippy::unnecessary_wraps, reason = "endpoints end with it")]
fn ok() -> Answer {
    Ok(axum::Json(serde_json::json!({})))
}
