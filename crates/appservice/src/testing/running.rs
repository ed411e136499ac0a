//! An application service at work.

use std::fmt;

use axum::Router;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{FakeHomeserver, homeserver::Work, until::until};
use crate::{
    appservice::{AppService, AppServiceError},
    journal::Journal,
};

/// An application service that runs in this process, on a free port of 127.0.0.1.
pub struct Running {
    /// Its endpoints, to be called without a socket.
    pub router: Router,
    /// Its journal.
    pub journal: Journal,
    url: Url,
    stop: CancellationToken,
    task: JoinHandle<Result<(), AppServiceError>>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl Running {
    /// Starts it.
    pub async fn start(service: AppService) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = service.router();
        Self::start_on(service, listener, router)
    }

    /// Starts it, and lets this homeserver push to it.
    pub async fn connected(service: AppService, homeserver: &FakeHomeserver) -> Self {
        homeserver.connect(&service);
        Self::start(service).await
    }

    /// Starts it on this listener with this router, which may do more than its own.
    pub fn start_on(service: AppService, listener: TcpListener, router: Router) -> Self {
        let address = listener.local_addr().unwrap();
        let journal = service.journal().clone();
        let stop = CancellationToken::new();
        let task = tokio::spawn(service.run(listener, router.clone(), stop.clone()));
        Self {
            router,
            journal,
            url: format!("http://{address}").parse().unwrap(),
            stop,
            task,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Stops it, and waits until it has. Panics when it had ended with an error.
    ///
    /// The journal can be opened again when what this returns is dropped, and the homeserver
    /// [disconnected](FakeHomeserver::disconnect).
    pub async fn stop(self) -> Journal {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
        self.journal
    }

    /// Waits until all that was pushed has been looked through: it is entries now, or was ignored.
    /// Panics after two minutes.
    pub async fn split(&self) {
        let split = until(async || self.journal.stats().await.unwrap().transactions == 0);
        assert!(
            split.await,
            "still to be looked through: {}",
            self.work().await
        );
    }

    /// Waits until nothing is left to be done. Panics after two minutes.
    pub async fn idle(&self) {
        let idle = until(async || Work::of(&self.journal).await == Work::None);
        assert!(idle.await, "still at work: {}", self.work().await);
    }

    async fn work(&self) -> String {
        format!("{:?}", self.journal.stats().await)
    }
}
