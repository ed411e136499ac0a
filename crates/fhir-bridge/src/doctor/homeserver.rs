//! The homeserver: whether it is there, knows the bridge, and reaches it.

use std::future::IntoFuture as _;

use axum::{Json, Router, http::StatusCode, routing::post};
use matrix_appservice::{AppService, Registration, listen, ruma::api::client::account::whoami};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, network};
use crate::{cli::chain, config::Config, report::Report};

/// What is needed to look at it.
pub(super) struct Matrix<'a> {
    pub(super) config: &'a Config,
    pub(super) registration: &'a Registration,
    pub(super) app: &'a AppService,
    /// Whether a bridge listens already.
    pub(super) at_work: bool,
}

impl Matrix<'_> {
    pub(super) async fn look(&self, report: &mut Report) {
        let url = &self.config.homeserver.url;
        if !network::reach("homeserver", "homeserver.url", url, report).await {
            report.skip("homeserver", "the rest is not looked at");
            return;
        }
        if !self.versions(report).await {
            return;
        }
        network::clock("homeserver", url, report).await;
        if self.whoami(report).await {
            self.register(report).await;
            self.ping(report).await;
        }
    }

    async fn versions(&self, report: &mut Report) -> bool {
        let check = "homeserver: versions";
        let client = self.app.client();
        match timeout(PATIENCE, client.versions()).await {
            Ok(Ok(versions)) if versions.any_in(self.config.policy.matrix_versions()) => {
                report.ok(check, "it speaks a version of Matrix that the bridge does");
                true
            }
            Ok(Ok(_)) => {
                report.fail(
                    check,
                    "it speaks no version of Matrix that the bridge may use",
                    "Update the homeserver, or widen `policy.lowest_matrix_version` and `policy.highest_matrix_version`.",
                );
                false
            }
            Ok(Err(error)) if error.is("M_UNKNOWN_TOKEN") => {
                report.skip(check, "not told to whom the homeserver doesn't know");
                true
            }
            Ok(Err(error)) => {
                report.fail(
                    check,
                    chain(&error),
                    "Is `homeserver.url` its client-server API (what answers `/_matrix/client/versions`), and its certificate one that this machine trusts?",
                );
                false
            }
            Err(_) => {
                report.fail(
                    check,
                    "no answer in time",
                    "Look whether the homeserver is overloaded.",
                );
                false
            }
        }
    }

    async fn whoami(&self, report: &mut Report) -> bool {
        let check = "homeserver: token";
        let client = self.app.client();
        let sender = client.sender();
        let restart = "List the registration in `app_service_config_files` of the homeserver, restart the homeserver, and see that both read the same file.";
        match client.send(sender, whoami::v3::Request::new()).await {
            Ok(answer) if answer.user_id == *sender => {
                report.ok(check, format!("it knows the bridge as {sender}"));
                true
            }
            Ok(answer) => {
                report.fail(
                    check,
                    format!("it knows the bridge as {}, not {sender}", answer.user_id),
                    "Set `homeserver.name` to its server_name.",
                );
                false
            }
            Err(error) => {
                report.fail(check, chain(&error), restart);
                false
            }
        }
    }

    async fn register(&self, report: &mut Report) {
        let bot = self.app.intent(self.app.client().sender(), "doctor");
        match bot.ensure_registered().await {
            Ok(()) => report.ok("homeserver: register", "the bridge's own user is there"),
            Err(error) => report.fail(
                "homeserver: register",
                chain(&error),
                "See the homeserver's log for why it registers no user of an application service.",
            ),
        }
    }

    /// Whether the homeserver reaches the bridge. Where none is at work, something listens in its place that takes
    /// nothing but the ping, so that no event is lost.
    async fn ping(&self, report: &mut Report) {
        let check = "homeserver: reaches the bridge";
        let stop = CancellationToken::new();
        let stand_in = if self.at_work {
            None
        } else {
            match listen(&self.config.listen).await {
                Ok(listener) => {
                    let stop = stop.clone();
                    let serving = axum::serve(listener, stand_in(self.registration.clone()));
                    Some(tokio::spawn(async move {
                        stop.run_until_cancelled(serving.into_future()).await;
                    }))
                }
                Err(error) => {
                    report.fail(
                        check,
                        chain(&error),
                        "Check `listen`: something else has that port.",
                    );
                    return;
                }
            }
        };
        let asked = self.app.client().ping(&self.registration.id).await;
        stop.cancel();
        if let Some(stand_in) = stand_in {
            let _ = stand_in.await;
        }
        match asked {
            Ok(took) => report.ok(check, format!("and back in {} ms", took.as_millis())),
            Err(error) if error.is("M_UNRECOGNIZED") => {
                report.skip(check, "this homeserver can't be asked to try (it has no appservice ping)");
            }
            Err(error) if error.is("M_URL_NOT_SET") => report.fail(
                check,
                "the registration has no `url`",
                "Set it to where the homeserver reaches `listen`, in the file that the homeserver reads, and restart the homeserver.",
            ),
            Err(error) => {
                let url = self.registration.url.as_deref().unwrap_or("null");
                report.fail(
                    check,
                    format!("{}; the registration says {url}", chain(&error)),
                    "Seen from the homeserver, that URL has to lead to `listen` of this configuration; after a change there, restart the homeserver.",
                );
            }
        }
    }
}

/// Answers the ping, and sends transactions away so that the homeserver keeps them.
fn stand_in(registration: Registration) -> Router {
    let ping = async move |headers: axum::http::HeaderMap| {
        let token = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        if token.is_some_and(|token| registration.accepts(token)) {
            (StatusCode::OK, Json(json!({})))
        } else {
            let error = json!({"errcode": "M_FORBIDDEN", "error": "another hs_token than in the registration"});
            (StatusCode::FORBIDDEN, Json(error))
        }
    };
    Router::new()
        .route("/_matrix/app/v1/ping", post(ping))
        .fallback(async || {
            let error = json!({"errcode": "M_UNAVAILABLE", "error": "the bridge does not run yet"});
            (StatusCode::SERVICE_UNAVAILABLE, Json(error))
        })
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn the_stand_in_answers_the_ping_alone_and_takes_no_events() {
        let registration =
            Registration::parse(include_str!("../../../../registration/fhir-bridge.yaml")).unwrap();
        let token = registration.hs_token.expose().to_owned();
        let router = stand_in(registration);
        let ask = async |method: &str, path: &str, token: &str| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", format!("Bearer {token}"))
                .body(Body::empty())
                .unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            response.status().as_u16()
        };
        assert_eq!(ask("POST", "/_matrix/app/v1/ping", &token).await, 200);
        assert_eq!(ask("POST", "/_matrix/app/v1/ping", "other").await, 403);
        assert_eq!(
            ask("PUT", "/_matrix/app/v1/transactions/1", &token).await,
            503
        );
    }
}
