//! The application service that is pushed to.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use serde_json::Value;
use tower::ServiceExt;
use url::Url;

use crate::journal::{Journal, Stats};

/// As long as Synapse waits for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// An answer of the application service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    fn none() -> Self {
        Self {
            status: 0,
            body: Vec::new(),
        }
    }

    /// The body as JSON, where it is that.
    #[must_use]
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether a homeserver is content: any 2xx with a body that is JSON.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status) && self.json().is_some()
    }

    /// The error code, such as `M_FORBIDDEN`.
    #[must_use]
    pub fn errcode(&self) -> Option<String> {
        Some(self.json()?["errcode"].as_str()?.to_owned())
    }
}

type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Work> + Send>> + Send + Sync>;

/// What an application service is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::testing) enum Work {
    /// Nothing.
    None,
    /// This much.
    Some(Stats),
    /// It has ended; another one may be about to start.
    Ended,
}

impl Work {
    /// What stands in the journal to be done.
    pub(in crate::testing) async fn of(journal: &Journal) -> Self {
        let stats = journal.stats().await.unwrap();
        if stats.transactions == 0 && stats.waiting == 0 {
            Self::None
        } else {
            Self::Some(stats)
        }
    }
}

/// Where transactions go.
#[derive(Clone)]
pub(in crate::testing) struct Target {
    way: Way,
    work: Option<Probe>,
}

#[derive(Clone)]
enum Way {
    Router(Router),
    Http(String),
}

impl Target {
    pub(in crate::testing) fn router(router: Router) -> Self {
        Self {
            way: Way::Router(router),
            work: None,
        }
    }

    pub(in crate::testing) fn url(url: &Url) -> Self {
        let base = url.as_str().trim_end_matches('/').to_owned();
        Self {
            way: Way::Http(base),
            work: None,
        }
    }

    /// How to find out what it has left to do.
    pub(in crate::testing) fn with_work<F, Fut>(mut self, work: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Work> + Send + 'static,
    {
        self.work = Some(Arc::new(move || Box::pin(work())));
        self
    }

    /// What it has left to do; nothing, when that can't be found out.
    pub(in crate::testing) async fn work(&self) -> Work {
        match &self.work {
            Some(work) => work().await,
            None => Work::None,
        }
    }

    /// One request, as Synapse makes it.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Vec<u8>,
    ) -> Answer {
        let answer = match &self.way {
            Way::Router(router) => through(router.clone(), method, path, token, body).await,
            Way::Http(base) => over(base, method, path, token, body).await,
        };
        answer.unwrap_or_else(Answer::none)
    }
}

async fn through(
    router: Router,
    method: &str,
    path: &str,
    token: &str,
    body: Vec<u8>,
) -> Option<Answer> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Body::from(body))
        .unwrap();
    let answer = tokio::time::timeout(PATIENCE, async {
        let Ok(response) = router.oneshot(request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.ok()?;
        Some(Answer {
            status,
            body: body.to_vec(),
        })
    });
    answer.await.ok()?
}

async fn over(base: &str, method: &str, path: &str, token: &str, body: Vec<u8>) -> Option<Answer> {
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
    let response = http()
        .request(method, format!("{base}{path}"))
        .bearer_auth(token)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(body)
        .send()
        .await
        .ok()?;
    Some(Answer {
        status: response.status().as_u16(),
        body: response.bytes().await.ok()?.to_vec(),
    })
}

/// One for all: making one takes longer than a test should. It keeps no connection, which would end
/// with the runtime of the test that made it.
fn http() -> &'static reqwest::Client {
    static HTTP: OnceLock<reqwest::Client> = OnceLock::new();
    HTTP.get_or_init(|| {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails when another thread was faster, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build()
            .unwrap()
    })
}
