//! The provisioning API: `/_matrix/provision/v1/…` on the bridge's listener, where the configuration has a token for it.
//!
//! Described in `docs/api/provisioning.yaml`. Answers are JSON; errors are Matrix's: `errcode` and `error`.

mod answer;
mod auth;
mod links;
mod status;
mod unlinked;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get},
};
use matrix_appservice::Intent;
use secrecy::SecretString;

use self::answer::{Answer, ApiError};
use super::{Failed, Provision};

/// What an answer is waited for at most: a homeserver elsewhere may take its time when its room is joined.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is read of a body: a wish to link is short.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// What the endpoints share.
pub(crate) struct Api {
    provision: Provision,
    /// Acts as the bridge's own user.
    bot: Intent,
    token: SecretString,
}

impl Api {
    pub(crate) fn new(provision: &Provision, bot: Intent, token: SecretString) -> Arc<Self> {
        Arc::new(Self {
            provision: provision.clone(),
            bot,
            token,
        })
    }

    /// Runs an operation to its end, also when nobody waits for it any more: what it has begun has to be followed up.
    async fn run<T: Send + 'static>(
        operation: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Result<T, ApiError> {
        match tokio::time::timeout(PATIENCE, tokio::spawn(operation)).await {
            Ok(Ok(done)) => Ok(done?),
            Ok(Err(_)) => Err(ApiError::FAULT),
            Err(_) => Err(ApiError::LATE),
        }
    }
}

/// The routes.
pub(crate) fn router(api: Arc<Api>) -> Router {
    let path = |rest: &str| format!("/_matrix/provision/v1/{rest}");
    Router::new()
        .route(&path("status"), get(status::get))
        .route(&path("links"), get(links::list))
        .route(
            &path("links/{room_id}"),
            get(links::get).put(links::put).delete(links::delete),
        )
        .route(
            &path("unlinked/{resource_type}/{id}"),
            delete(unlinked::delete),
        )
        .method_not_allowed_fallback(answer::wrong_method)
        .route_layer(middleware::from_fn_with_state(api.clone(), auth::check))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(api)
}

#[cfg(test)]
mod tests;
