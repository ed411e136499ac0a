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
use tokio::sync::oneshot;
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

/// Something to be done with an application service's journal, where its tasks run.
pub(in crate::testing) type Job =
    Box<dyn FnOnce(Journal) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

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
    jobs: Option<Arc<dyn Fn(Job) + Send + Sync>>,
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
            jobs: None,
        }
    }

    pub(in crate::testing) fn url(url: &Url) -> Self {
        let base = url.as_str().trim_end_matches('/').to_owned();
        Self {
            way: Way::Http(base),
            jobs: None,
        }
    }

    /// How its journal is reached. A job that is dropped was given to one that has ended.
    pub(in crate::testing) fn with_journal(
        mut self,
        jobs: impl Fn(Job) + Send + Sync + 'static,
    ) -> Self {
        self.jobs = Some(Arc::new(jobs));
        self
    }

    /// Whether its journal can be reached.
    pub(in crate::testing) fn has_journal(&self) -> bool {
        self.jobs.is_some()
    }

    /// Does something with its journal; `None` when it has ended, or its journal can't be reached.
    pub(in crate::testing) async fn with<T, F>(
        &self,
        work: impl FnOnce(Journal) -> F + Send + 'static,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send,
    {
        let (tell, told) = oneshot::channel();
        self.jobs.as_ref()?(Box::new(|journal| {
            Box::pin(async move {
                let _ = tell.send(work(journal).await);
            })
        }));
        told.await.ok()
    }

    /// What it has left to do; nothing, when that can't be found out.
    pub(in crate::testing) async fn work(&self) -> Work {
        if !self.has_journal() {
            return Work::None;
        }
        let work = self.with(|journal| async move { Work::of(&journal).await });
        work.await.unwrap_or(Work::Ended)
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
