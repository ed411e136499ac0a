//! How the bridge is watched: health, for those who run it.
//!
//! `GET /actuator/health/liveness` says whether the process works, `GET /actuator/health/readiness` also whether all
//! that it needs does, component by component: 200 with `UP`, or 503 with `DOWN`. Both only tell what was found by a
//! look that is taken now and then, so that asking often costs nothing.

mod components;
mod look;

use std::{future::IntoFuture, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use matrix_appservice::{AppService, listen};
use serde_json::{Map, Value, json};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    components::{Components, Status},
    look::{Look, look_on},
};
use crate::{
    config::{Config, Support},
    servers::Servers,
};

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
    tracing::info!(listen = address, "health is told");
    let components = Arc::new(Components::default());
    let oldest_waiting = Duration::from_secs(config.ops.oldest_waiting_seconds);
    let look = Look::new(servers.clone(), app, oldest_waiting);
    let looking = look_on(look, components.clone());
    let serving = axum::serve(listener, router(components));
    let stop = stop.clone();
    tasks.spawn(async move {
        let both = async { tokio::join!(looking, serving.into_future()) };
        Box::pin(stop.run_until_cancelled(both)).await;
    });
    Ok(())
}

/// What is asked on the listener for operators.
fn router(components: Arc<Components>) -> Router {
    Router::new()
        .route("/actuator/health/liveness", get(liveness))
        .route("/actuator/health/readiness", get(readiness))
        .with_state(components)
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

async fn liveness(State(components): State<Arc<Components>>) -> Response {
    answer(components.are_looked_at(), None)
}

async fn readiness(State(components): State<Arc<Components>>) -> Response {
    let all = components.all();
    let ready = components.are_looked_at() && all.iter().all(|(_, status)| *status == Status::Up);
    let all = all
        .into_iter()
        .map(|(name, status)| (name.to_owned(), json!({"status": status.as_str()})))
        .collect();
    answer(ready, Some(all))
}

fn answer(up: bool, components: Option<Map<String, Value>>) -> Response {
    let (code, status) = if up {
        (StatusCode::OK, Status::Up)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Status::Down)
    };
    let mut body = json!({"status": status.as_str()});
    if let Some(components) = components {
        body["components"] = components.into();
    }
    (code, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
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
    async fn it_is_ready_when_all_are_up_and_alive_while_somebody_looks() {
        let components = Arc::new(Components::default());
        let router = router(components.clone());
        let [live, ready] = ["/actuator/health/liveness", "/actuator/health/readiness"];
        // Nobody has looked yet.
        assert_eq!(ask(&router, ready).await.0, 503);
        components.set("database", Status::Up);
        components.set("fhirServer", Status::Down);
        components.looked();
        assert_eq!(ask(&router, live).await, (200, json!({"status": "UP"})));
        let down = json!({"status": "DOWN", "components": {
            "database": {"status": "UP"}, "fhirServer": {"status": "DOWN"},
        }});
        assert_eq!(ask(&router, ready).await, (503, down));
        components.set("fhirServer", Status::Up);
        assert_eq!(ask(&router, ready).await.0, 200);
        components.stand_still();
        assert_eq!(ask(&router, live).await.0, 503);
        assert_eq!(ask(&router, ready).await.0, 503);
        assert_eq!(ask(&router, "/other").await.0, 404);
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
