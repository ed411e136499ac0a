//! How the bridge is watched, by those who run it.
//!
//! Health and metrics are for everybody who reaches the listener: programs ask for them, and nothing private is in them.
//! The page and its API show which rooms and resources there are, and change what becomes of dead letters, so they are for
//! those who have the token (see [`access`]).

mod access;
mod api;
mod components;
mod desk;
pub(crate) mod flows;
mod health;
mod look;
pub(crate) mod metrics;
mod page;
#[cfg(test)]
mod testing;

use std::time::Duration;

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use matrix_appservice::{AppService, listen};
use serde_json::json;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    access::Access,
    desk::Desk,
    look::{Look, look_on},
};
use crate::{
    config::{Config, Support},
    servers::Servers,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The largest body that is taken: forms hold a token or two.
const MOST_BYTES: usize = 16 * 1024;

/// Starts the listener for operators, where there is one, and the looks.
pub(crate) async fn start(
    servers: &Servers,
    app: &AppService,
    config: &Config,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<()> {
    let Some(address) = &config.ops.listen else {
        return Ok(());
    };
    let listener = listen(address)
        .await
        .context("check `ops.listen`: is another bridge running?")?;
    let access = Access::of(&config.ops, listener.local_addr()?)?;
    let page = access.is_anybody();
    tracing::info!(listen = address, page, "operators are told how it goes");
    let desk = Desk::try_new(servers.clone(), app.journal().clone(), access)?;
    metrics::begin(&desk);
    let oldest_waiting = Duration::from_secs(config.ops.oldest_waiting_seconds);
    let look = Look::new(servers.clone(), app, oldest_waiting);
    let looking = look_on(look, desk.components.clone());
    let serving = matrix_appservice::serve(listener, router(desk), stop.clone());
    // Whoever keeps a connection open may not keep the journal open: it is opened anew when the configuration is read
    // again.
    let stop = stop.clone();
    tasks.spawn(async move {
        let looking = Box::pin(stop.run_until_cancelled(looking));
        tokio::join!(looking, serving);
    });
    Ok(())
}

/// What is asked on the listener for operators.
fn router(desk: Desk) -> Router {
    let mut router = Router::new()
        .route("/actuator/health/liveness", get(health::liveness))
        .route("/actuator/health/readiness", get(health::readiness))
        .route("/metrics", get(metrics::get));
    if desk.access.is_anybody() {
        router = router
            .merge(page::router(&desk))
            .nest("/api/v1", api::router(&desk));
    }
    router
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(desk)
}

async fn in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(PATIENCE, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let error = format!("no answer within {} s", PATIENCE.as_secs());
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"error": error})),
        )
            .into_response()
    })
}

/// Whom to ask for help, where the configuration says it.
pub(crate) fn support(support: &Support) -> Router {
    if support.is_empty() {
        return Router::new();
    }
    let answer = json!(support);
    // Browsers on other origins ask for it, too.
    let headers = [("access-control-allow-origin", "*")];
    Router::new().route(
        "/.well-known/matrix/support",
        get(async move || (headers, Json(answer))),
    )
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, path: &str) -> (u16, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn support_is_told_where_it_is_configured() {
        let path = "/.well-known/matrix/support";
        assert_eq!(ask(&support(&Support::default()), path).await.0, 404);
        let yaml = "{contacts: [{role: m.role.admin, email_address: admin@vvt.example}], support_page: 'https://vvt.example/help'}";
        let configured: Support = serde_yaml::from_str(yaml).unwrap();
        let expected = json!({
            "contacts": [{"role": "m.role.admin", "email_address": "admin@vvt.example"}],
            "support_page": "https://vvt.example/help",
        });
        assert_eq!(ask(&support(&configured), path).await, (200, expected));
    }
}
