//! A FHIR server in memory, for what no real server does on demand: faults, clocks that jump, histories that are lost.
//!
//! It knows no more of FHIR than the bridge asks of a server: create, conditional create, read, update with
//! `If-Match`, delete, type history, search by `identifier`, `telecom`, `url`, `part-of`, `recipient` and `_lastUpdated`, paging, rest-hooks with an
//! empty payload. What it stores it does not check.

mod store;
mod web;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use self::store::Store;

/// A FHIR server in memory. Dropping the last clone ends it.
#[derive(Clone, Debug)]
pub struct FhirStub {
    shared: Arc<Shared>,
    url: Url,
    _stop: Arc<DropGuard>,
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<Store>,
    faults: Mutex<VecDeque<Planned>>,
    seen: Mutex<Vec<Seen>>,
    token: Mutex<Option<String>>,
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path below the base URL, with the query.
    pub path: String,
    /// Its `Authorization`.
    pub authorization: Option<String>,
    /// Its `Accept`.
    pub accept: Option<String>,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
}

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is refused with this status, and perhaps `Retry-After` in seconds.
    Refuse(u16, Option<u64>),
    /// It is done, and the answer is lost: an error of a proxy comes instead.
    LoseAnswer,
    /// It is done, and the answer says neither where nor which version nor what.
    SayNothing,
    /// It is done, and somebody else changes the same resource right after it was read.
    ChangedBehind,
    /// It is answered with this JSON.
    Answer(Value),
}

#[derive(Debug)]
struct Planned {
    method: &'static str,
    path: String,
    times: usize,
    fault: Fault,
}

impl FhirStub {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/fhir", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let router = web::router(shared.clone(), url.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = server.await {
                tracing::error!(%error, "the FHIR stub ended");
            }
        });
        Ok(Self {
            shared,
            url: Url::parse(&url).context("the stub's own URL")?,
            _stop: Arc::new(stop.drop_guard()),
        })
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Stores a resource as an application would; its reference, such as `CareTeam/7`. An `id` in it is kept.
    #[must_use]
    pub fn put(&self, json: Value) -> String {
        self.store().put(json, None)
    }

    /// Stores a resource with this time, which may be any, also before or after all others.
    #[must_use]
    pub fn put_at(&self, json: Value, time: &str) -> String {
        self.store().put(json, Some(time.to_owned()))
    }

    /// Deletes a resource.
    pub fn delete(&self, reference: &str) {
        self.store().delete(reference);
    }

    /// The current resource.
    #[must_use]
    pub fn get(&self, reference: &str) -> Option<Value> {
        self.store().current(reference)
    }

    /// The current resources of a type, oldest first.
    #[must_use]
    pub fn all(&self, resource_type: &str) -> Vec<Value> {
        self.store().all(resource_type)
    }

    /// Loses everything after this many versions, as a restored backup does; versions are counted anew from there.
    pub fn restore_backup(&self, versions: usize) {
        self.store().truncate(versions);
    }

    /// How many versions there are of anything.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.store().len()
    }

    /// Sets its clock, in milliseconds since 1970. It advances by one with each write.
    pub fn set_clock(&self, unix_millis: u64) {
        self.store().clock = unix_millis;
    }

    /// Lets the clock stand still: what is written gets the same time.
    pub fn stop_clock(&self, stopped: bool) {
        self.store().stopped = stopped;
    }

    /// Asks for this bearer token from now on, except for `.well-known`; `None` lets everybody in.
    pub fn require_token(&self, token: Option<&str>) {
        *lock(&self.shared.token) = token.map(|token| format!("Bearer {token}"));
    }

    /// Refuses `_history` from now on, with this status; `None` offers it again.
    pub fn without_history(&self, status: Option<u16>) {
        self.store().without_history = status;
    }

    /// Lets the next `times` requests of this method go wrong whose path below the base URL begins like this.
    pub fn plan(&self, times: usize, method: &'static str, path: &str, fault: Fault) {
        let path = path.to_owned();
        lock(&self.shared.faults).push_back(Planned {
            method,
            path,
            times,
            fault,
        });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// The requests that came, and forgets them.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.shared.seen))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn fault(&self, method: &str, path: &str) -> Option<Fault> {
        let mut faults = lock(&self.faults);
        let index = faults
            .iter()
            .position(|one| one.method == method && path.starts_with(&one.path))?;
        let planned = faults.get_mut(index)?;
        let fault = planned.fault.clone();
        planned.times -= 1;
        if planned.times == 0 {
            faults.remove(index);
        }
        Some(fault)
    }
}
