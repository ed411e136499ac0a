//! Answers in the place of services that no test has taken.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{SLOTS, Slot};
use crate::net::Net;
use crate::{background, files};

/// How long between two looks at whether a test wants a service or has given it back.
const INTERVAL: Duration = Duration::from_millis(50);
/// A wish that is older was left by a test that died while it waited.
const STALE: Duration = Duration::from_secs(2);

/// The stand-ins for all services of a testbed.
#[derive(Debug)]
pub(crate) struct Idle {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Idle {
    /// Stands in for every service until it is stopped, on the testbed's own runtime.
    pub(crate) fn start(folder: &Path, net: Net) -> Result<Self> {
        let runtime = background::handle()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        for slot in &SLOTS {
            let stand_in = stand_in(slot, folder.to_owned(), net, stop.clone());
            let stop = stop.clone();
            tasks.spawn_on(
                async move {
                    stop.run_until_cancelled(stand_in).await;
                },
                runtime,
            );
        }
        Ok(Self { stop, tasks })
    }

    /// Closes them all.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn stand_in(slot: &Slot, folder: PathBuf, net: Net, stop: CancellationToken) {
    let (lock_path, wish) = (slot.lock_path(&folder), slot.wish_path(&folder));
    loop {
        sleep(INTERVAL).await;
        if is_wanted(&wish) {
            continue;
        }
        let Ok(Some(lock)) = files::try_lock(&lock_path) else {
            continue;
        };
        if let Err(error) = serve(slot.listen_addr(net), &wish, &stop).await {
            // A test's own listener may linger for a moment after it has given the service back.
            tracing::debug!(service = slot.name, %error, "cannot stand in yet");
        }
        drop(lock);
    }
}

async fn serve(address: SocketAddr, wish: &Path, stop: &CancellationToken) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let wish = wish.to_owned();
    let stop = stop.clone();
    let until = async move {
        let wanted = async {
            while !is_wanted(&wish) {
                sleep(INTERVAL).await;
            }
        };
        stop.run_until_cancelled(wanted).await;
    };
    let app = Router::new()
        .fallback(answer)
        .layer(DefaultBodyLimit::disable());
    axum::serve(listener, app)
        .with_graceful_shutdown(until)
        .await
}

/// Accepts transactions and pings; nobody that is asked for exists.
async fn answer(uri: Uri, _body: Bytes) -> Response {
    let path = uri.path();
    if path.contains("/users/") || path.contains("/rooms/") {
        let error = json!({"errcode": "M_NOT_FOUND", "error": "no test has taken this service"});
        return (StatusCode::NOT_FOUND, axum::Json(error)).into_response();
    }
    axum::Json(json!({})).into_response()
}

fn is_wanted(wish: &Path) -> bool {
    fs::metadata(wish)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| {
            SystemTime::now()
                .duration_since(modified)
                .is_ok_and(|age| age < STALE)
        })
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::{appservice, http, poll};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_service_is_answered_for_until_a_test_takes_it_and_again_when_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let net = Net::random().unwrap();
        let homeserver = Url::parse("http://127.0.0.1:8008/").unwrap();
        appservice::write_registrations(folder.path(), net).unwrap();
        let _idle = Idle::start(folder.path(), net).unwrap();
        let take = || appservice::take("sdk3", folder.path(), net, &homeserver);
        let answered = async |address: SocketAddr| {
            let url = format!("http://{address}/_matrix/app/v1/transactions/1");
            poll::until(PATIENCE, async || {
                let answer = http::client(PATIENCE)?.put(&url).body("{}").send().await;
                Ok(answer
                    .is_ok_and(|answer| answer.status() == 200)
                    .then_some(()))
            })
            .await
            .unwrap()
            .is_some()
        };

        let service = take().await.unwrap();
        let address = service.listen_addr;
        // Free for the test, and nobody else gets the service meanwhile.
        let listener = std::net::TcpListener::bind(address).unwrap();
        let mut second = Box::pin(take());
        tokio::select! {
            _ = &mut second => unreachable!("a service that was taken was given again"),
            () = sleep(Duration::from_millis(300)) => {}
        }
        drop(listener);
        drop(service);
        let second = second.await.unwrap();
        drop(second);
        assert!(answered(address).await);

        let third = take().await.unwrap();
        std::net::TcpListener::bind(third.listen_addr).unwrap();
    }
}
