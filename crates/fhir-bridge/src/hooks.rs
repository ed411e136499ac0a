//! The FHIR server's notifications: `POST /fhir/hooks/{token}`, one secret path and one bearer token for
//! each type that is followed.
//!
//! A notification says that there is something to read, and nothing else: what its body holds is not
//! looked at, so a forged one can only make the bridge read once more.
//!
//! [Specification](http://hl7.org/fhir/R4/subscription.html)

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::{post, put},
};
use fhir::{ResourceType, RestHook, SubscriptionStatus};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    bridge::Bridge,
    links::Links,
    puller::{Pullers, TYPES},
    startup::random_hex,
};

/// How often the bridge looks whether its subscriptions still work.
const WATCH: Duration = Duration::from_mins(1);
/// … and how soon while one doesn't.
const WATCH_SOON: Duration = Duration::from_secs(5);

/// The secrets by which the FHIR server's notifications are known; kept over restarts.
#[derive(Clone)]
pub(crate) struct Hooks {
    hooks: Arc<[Hook]>,
    notify_url: Option<Url>,
}

struct Hook {
    resource_type: ResourceType,
    path_token: SecretString,
    bearer: SecretString,
}

impl Hooks {
    pub(crate) async fn load(links: &Links, notify_url: Option<&Url>) -> anyhow::Result<Self> {
        let mut hooks = Vec::new();
        for resource_type in TYPES {
            let secret = async |kind: &str| -> anyhow::Result<SecretString> {
                let name = format!("hook {kind} {resource_type}");
                Ok(links.secret(&name, &random_hex()?).await?.into())
            };
            hooks.push(Hook {
                path_token: secret("path").await?,
                bearer: secret("bearer").await?,
                resource_type,
            });
        }
        Ok(Self {
            hooks: hooks.into(),
            notify_url: notify_url.cloned(),
        })
    }

    /// The routes that the FHIR server calls. Servers that send the resource do so by `PUT` below the
    /// endpoint; it is not read.
    pub(crate) fn router(&self, pullers: Pullers) -> Router {
        Router::new()
            .route("/fhir/hooks/{token}", post(notified))
            .route("/fhir/hooks/{token}/{resource_type}/{id}", put(notified))
            .layer(DefaultBodyLimit::max(1024 * 1024))
            .with_state((self.clone(), pullers))
    }

    fn wanted(&self, hook: &Hook) -> Option<RestHook> {
        let base = self.notify_url.as_ref()?.as_str().trim_end_matches('/');
        Some(RestHook {
            criteria: format!("{}?", hook.resource_type),
            endpoint: format!("{base}/fhir/hooks/{}", hook.path_token.expose_secret()).into(),
            bearer: hook.bearer.clone(),
        })
    }
}

async fn notified(
    State((hooks, pullers)): State<(Hooks, Pullers)>,
    Path(path): Path<Vec<(String, String)>>,
    headers: HeaderMap,
) -> StatusCode {
    let token = path
        .first()
        .map(|(_, token)| token.as_str())
        .unwrap_or_default();
    // All are compared, so that the time taken tells nothing.
    let hook = hooks.hooks.iter().fold(None, |found, hook| {
        if same(&hook.path_token, token) {
            Some(hook)
        } else {
            found
        }
    });
    let Some(hook) = hook else {
        return StatusCode::NOT_FOUND;
    };
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    if !same(&hook.bearer, bearer) {
        tracing::warn!(resource_type = %hook.resource_type, "a notification without the right token was refused");
        return StatusCode::UNAUTHORIZED;
    }
    pullers.wake(&hook.resource_type);
    StatusCode::OK
}

fn same(secret: &SecretString, candidate: &str) -> bool {
    let ours = Sha256::digest(secret.expose_secret().as_bytes());
    ours.ct_eq(&Sha256::digest(candidate.as_bytes())).into()
}

/// Subscribes to each type, and looks from time to time whether the subscriptions still work. After a
/// gap in one, its type is read.
pub(crate) async fn keep_subscribed(
    bridge: Arc<Bridge>,
    hooks: Hooks,
    pullers: Pullers,
    stop: CancellationToken,
) {
    let keeping = async {
        let mut told = false;
        loop {
            let mut all_work = true;
            for hook in hooks.hooks.iter() {
                let Some(wanted) = hooks.wanted(hook) else {
                    return;
                };
                match bridge.fhir.ensure_subscription(&wanted).await {
                    Ok(state) if state.status == SubscriptionStatus::Active => {}
                    Ok(_) => all_work = false,
                    Err(error) => {
                        all_work = false;
                        if !told {
                            tracing::warn!(resource_type = %hook.resource_type, %error, "no subscription; changes are read on the timer instead");
                        }
                    }
                }
                if !all_work {
                    // Something may have been missed while nobody told.
                    pullers.wake(&hook.resource_type);
                }
            }
            if all_work && !told {
                tracing::info!("the FHIR server notifies the bridge of changes");
            }
            told = all_work || told;
            tokio::time::sleep(if all_work { WATCH } else { WATCH_SOON }).await;
        }
    };
    stop.run_until_cancelled(keeping).await;
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::*;

    async fn hooks() -> (tempfile::TempDir, Links, Hooks) {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(&folder.path().join("links.db")).await.unwrap();
        let notify_url = Url::parse("http://127.0.0.1:1234").unwrap();
        let hooks = Hooks::load(&links, Some(&notify_url)).await.unwrap();
        (folder, links, hooks)
    }

    async fn notify(
        hooks: &Hooks,
        pullers: &Pullers,
        method: &str,
        path: &str,
        bearer: Option<&str>,
    ) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(bearer) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {bearer}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = hooks
            .router(pullers.clone())
            .oneshot(request)
            .await
            .unwrap();
        response.status().as_u16()
    }

    #[tokio::test]
    async fn only_who_knows_both_secrets_wakes_the_reader_of_a_type() {
        let (_folder, _links, hooks) = hooks().await;
        let pullers = Pullers::new();
        let [team, thread, message, ..] = &*hooks.hooks else {
            panic!("a hook for each type")
        };
        let path = format!("/fhir/hooks/{}", message.path_token.expose_secret());
        let bearer = message.bearer.expose_secret();
        let other = thread.bearer.expose_secret();

        for (path, bearer, status) in [
            ("/fhir/hooks/unknown", Some(bearer), 404),
            (path.as_str(), None, 401),
            (path.as_str(), Some("wrong"), 401),
            (path.as_str(), Some(other), 401),
        ] {
            assert_eq!(notify(&hooks, &pullers, "POST", path, bearer).await, status);
        }
        assert!(
            !pullers.was_woken(&message.resource_type),
            "nobody who may has called"
        );

        assert_eq!(
            notify(&hooks, &pullers, "POST", &path, Some(bearer)).await,
            200
        );
        assert!(pullers.was_woken(&message.resource_type));
        assert!(
            !pullers.was_woken(&team.resource_type),
            "the others sleep on"
        );

        // Servers that send the resource PUT it below the endpoint.
        let path = format!("{path}/Communication/7");
        assert_eq!(
            notify(&hooks, &pullers, "PUT", &path, Some(bearer)).await,
            200
        );
        assert!(pullers.was_woken(&message.resource_type));
    }

    #[tokio::test]
    async fn the_secrets_are_the_same_after_a_restart_and_differ_from_each_other() {
        let (_folder, links, before) = hooks().await;
        let after = Hooks::load(&links, None).await.unwrap();
        let mut all = Vec::new();
        for (before, after) in before.hooks.iter().zip(after.hooks.iter()) {
            for (before, after) in [
                (&before.path_token, &after.path_token),
                (&before.bearer, &after.bearer),
            ] {
                assert_eq!(before.expose_secret(), after.expose_secret());
                all.push(before.expose_secret().to_owned());
            }
        }
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 2 * TYPES.len());
        assert!(all.iter().all(|secret| secret.len() == 64));
    }
}
