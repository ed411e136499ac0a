//! The FHIR server's notifications: `POST /fhir/hooks/{token}`, one secret path and one bearer token for
//! each type that is followed.
//!
//! A notification says that there is something to read, and nothing else: what its body says of resources is not
//! looked at, so a forged one can only make the bridge read once more. Of those to topics (R4 backport, R4B, R5) the
//! counters are read, to notice that some were missed. However odd a body is, the answer is 200: a server that is
//! answered with an error gives the subscription up.
//!
//! [Specification](http://hl7.org/fhir/R4/subscription.html),
//! [backport](https://hl7.org/fhir/uv/subscriptions-backport/notifications.html)

mod keep;
mod watch;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::post,
};
use fhir::{Notification, ResourceType, RestHook};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Notify;

pub(crate) use keep::keep_subscribed;
use watch::Watch;

use crate::{
    bridge::lock,
    config::{self, SubscriptionKind},
    links::Links,
    puller::{self, Pullers},
    startup::random_hex,
};

/// What is read of a notification; a longer one counts as one that says nothing.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Refused notifications are told in the log once in this time, with their number.
const REFUSALS_TOLD_EVERY: Duration = Duration::from_mins(1);

/// The secrets by which the FHIR server's notifications are known, kept over restarts, and what is known of each
/// subscription.
#[derive(Clone)]
pub(crate) struct Hooks {
    all: Arc<[Hook]>,
    settings: Arc<config::Fhir>,
    /// Notified when a notification says that its subscription is broken.
    broken: Arc<Notify>,
}

struct Hook {
    resource_type: ResourceType,
    path_token: SecretString,
    bearer: SecretString,
    watch: Mutex<Watch>,
}

impl Hooks {
    pub(crate) async fn load(links: &Links, settings: &config::Fhir) -> anyhow::Result<Self> {
        let mut hooks = Vec::new();
        for resource_type in puller::types(settings.threads) {
            let secret = async |kind: &str| -> anyhow::Result<SecretString> {
                let name = format!("hook {kind} {resource_type}");
                Ok(links.secret(&name, &random_hex()?).await?.into())
            };
            hooks.push(Hook {
                path_token: secret("path").await?,
                bearer: secret("bearer").await?,
                watch: Mutex::new(Watch::new(Instant::now())),
                resource_type,
            });
        }
        Ok(Self {
            all: hooks.into(),
            settings: settings.clone().into(),
            broken: Arc::default(),
        })
    }

    /// Whether there shall be any subscription.
    pub(crate) fn are_wanted(&self) -> bool {
        self.all.iter().any(|hook| self.wanted(hook).is_some())
    }

    /// The subscription for a type; `None` when there shall be none.
    fn wanted(&self, hook: &Hook) -> Option<RestHook> {
        let base = self.settings.notify_url.as_ref()?;
        let base = base.as_str().trim_end_matches('/');
        let subscription = &self.settings.subscription;
        let resource_type = hook.resource_type.as_str();
        let topic = match subscription.kind {
            SubscriptionKind::RestHook => None,
            SubscriptionKind::Topic => Some(subscription.topic(resource_type)?),
            SubscriptionKind::None => return None,
        };
        Some(RestHook {
            criteria: subscription.criteria(resource_type),
            endpoint: format!("{base}/fhir/hooks/{}", hook.path_token.expose_secret()).into(),
            bearer: hook.bearer.clone(),
            topic,
            lifetime: subscription.lifetime(),
        })
    }
}

/// What the routes share.
#[derive(Clone)]
struct Shared {
    all: Arc<[(Hooks, Pullers)]>,
    refusals: Arc<Refusals>,
}

/// The routes that the FHIR servers call. Servers that send the resource do so by `PUT` below the
/// endpoint; it is not read.
pub(crate) fn router(all: Vec<(Hooks, Pullers)>) -> Router {
    let shared = Shared {
        all: all.into(),
        refusals: Arc::default(),
    };
    let any = || post(notified).put(notified).delete(notified);
    Router::new()
        .route("/fhir/hooks/{token}", any())
        .route("/fhir/hooks/{token}/{resource_type}/{id}", any())
        .with_state(shared)
}

async fn notified(
    State(Shared { all, refusals }): State<Shared>,
    Path(path): Path<Vec<(String, String)>>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    let token = path
        .first()
        .map(|(_, token)| token.as_str())
        .unwrap_or_default();
    // All are compared, so that the time taken tells nothing.
    let every = all
        .iter()
        .flat_map(|(hooks, pullers)| hooks.all.iter().map(move |hook| (hooks, hook, pullers)));
    let found = every.fold(None, |found, (hooks, hook, pullers)| {
        if same(&hook.path_token, token) {
            Some((hooks, hook, pullers))
        } else {
            found
        }
    });
    let Some((hooks, hook, pullers)) = found else {
        refusals.tell(None);
        return StatusCode::NOT_FOUND;
    };
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    if !same(&hook.bearer, bearer) {
        refusals.tell(Some(&hook.resource_type));
        return StatusCode::UNAUTHORIZED;
    }
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES).await;
    let notification = body.ok().and_then(|body| Notification::parse(&body));
    let heard = lock(&hook.watch).heard(notification.as_ref(), Instant::now());
    if heard.missed > 0 {
        tracing::info!(resource_type = %hook.resource_type, missed = heard.missed, "notifications were missed; what they were about is read now");
    }
    if heard.broken {
        hooks.broken.notify_one();
    }
    if heard.read {
        pullers.wake(&hook.resource_type);
    }
    StatusCode::OK
}

fn same(secret: &SecretString, candidate: &str) -> bool {
    let ours = Sha256::digest(secret.expose_secret().as_bytes());
    ours.ct_eq(&Sha256::digest(candidate.as_bytes())).into()
}

/// Who calls without the secrets can't fill the log.
#[derive(Default)]
struct Refusals {
    untold: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Refusals {
    fn tell(&self, resource_type: Option<&ResourceType>) {
        let untold = self.untold.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = lock(&self.told);
        if told.is_some_and(|told| told.elapsed() < REFUSALS_TOLD_EVERY) {
            return;
        }
        *told = Some(Instant::now());
        self.untold.store(0, Ordering::Relaxed);
        if let Some(resource_type) = resource_type {
            tracing::warn!(%resource_type, count = untold, "notifications without the right token were refused");
        } else {
            tracing::warn!(
                count = untold,
                "notifications to an unknown address were refused"
            );
        }
    }
}

#[cfg(test)]
mod tests;
