//! Serving and working until asked to stop.

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{AppService, AppServiceError, announce::announce, outbound};
use crate::{
    dispatch::{Dispatcher, work_off},
    server::serve,
    store::Queue,
};

impl AppService {
    /// Listens on `address` (such as `127.0.0.1:9000`) and works until Ctrl-C or SIGTERM.
    ///
    /// # Errors
    ///
    /// When the address can't be had, or the journal fails at the start.
    pub async fn serve(self, address: &str) -> Result<(), AppServiceError> {
        let listener = listen(address).await?;
        let stop = CancellationToken::new();
        let on_signal = stop.clone();
        tokio::spawn(async move {
            shutdown_signal().await;
            on_signal.cancel();
        });
        let router = self.router();
        self.run(listener, router, stop).await
    }

    /// Serves `router` (see [`AppService::router`]) on `listener` and works the journal off, until
    /// `stop` is cancelled; then takes nothing more, lets the handlers at work finish (for as long as
    /// [`Builder::drain_timeout`](super::Builder::drain_timeout)), and returns. No handler runs after that.
    ///
    /// # Errors
    ///
    /// When the homeserver speaks none of the [versions asked for](crate::Builder::homeserver_versions),
    /// or the journal fails at the start.
    pub async fn run(
        self,
        listener: TcpListener,
        router: Router,
        stop: CancellationToken,
    ) -> Result<(), AppServiceError> {
        outbound::check_versions(&self.client, self.versions).await?;
        self.journal.adopt(&self.intake, self.retention).await?;
        let dispatchers = self.dispatchers();
        let stop_dispatch = stop.child_token();
        let mut dispatch = tokio::spawn(work_off(
            self.journal,
            self.intake,
            dispatchers,
            stop_dispatch.clone(),
        ));
        let announcing = tokio::spawn(announce(self.client, self.id, stop.clone()));
        let serve = async {
            tokio::select! {
                () = serve(listener, router, stop.clone()) => {}
                // A homeserver keeps its connection open; it may not keep us from ending.
                () = async { stop.cancelled().await; tokio::time::sleep(self.limits.drain).await } => {}
            }
        };
        tokio::pin!(serve);
        let ended = tokio::select! {
            () = &mut serve => {
                stop_dispatch.cancel();
                dispatch.await.map_err(|_| AppServiceError::Dispatcher)
            }
            worked = &mut dispatch => match worked {
                Ok(()) => {
                    serve.await;
                    Ok(())
                }
                // Acknowledging what nobody works on helps nobody.
                Err(_) => Err(AppServiceError::Dispatcher),
            },
        };
        announcing.abort();
        ended
    }

    /// Two for each reader.
    fn dispatchers(&self) -> Vec<Dispatcher> {
        let queues = [
            (Queue::Each, self.limits),
            (Queue::Latest, self.limits.for_latest()),
        ];
        self.readers
            .iter()
            .flat_map(|(reader, handlers)| {
                queues.map(|(queue, limits)| {
                    Dispatcher::new(
                        self.journal.clone(),
                        self.client.clone(),
                        (reader, queue),
                        handlers.clone(),
                        limits,
                    )
                })
            })
            .collect()
    }
}

/// Binds an address.
///
/// # Errors
///
/// [`AppServiceError::Listen`] names the address.
pub async fn listen(address: &str) -> Result<TcpListener, AppServiceError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| AppServiceError::Listen {
            address: address.to_owned(),
            source,
        })
}

/// Returns on Ctrl-C or, on Unix, SIGTERM.
pub async fn shutdown_signal() {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = async {
            match signal(SignalKind::terminate()) {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! { () = ctrl_c => {}, () = terminate => {} }
    }
    #[cfg(not(unix))]
    ctrl_c.await;
}
