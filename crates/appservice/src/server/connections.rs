//! Connections: how many, and how long one may stay that asks nothing.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::ConnectInfo, response::Response};
use http::{HeaderValue, Request, StatusCode, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at a time. Those that come then wait until one ends.
    most: usize,
    /// How long a new connection may take until its first request's head is there. Who has no token is not let in,
    /// and who is not let in is not kept.
    first_head: Duration,
    /// How long it may take until a further one is there. Longer than homeservers keep a connection that they don't
    /// need (Synapse: four minutes), so that none ends while they send.
    next_head: Duration,
}

const LIMITS: Limits = Limits {
    most: 1024,
    first_head: Duration::from_secs(15),
    next_head: Duration::from_mins(5),
};

/// The pause when no connection can be taken: files run out, most likely.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves `router` on `listener` over HTTP/1.1 until `stop` is cancelled; then takes no more connections, and returns when
/// those that are at work are done.
///
/// As `axum::serve`, with limits, so that nobody without a token can take all connections: at most 1024 at a time, 15
/// seconds for the head of a connection's first request and five minutes for each further one, and a connection ends
/// when a request was refused with 401 or 403. Handlers can ask for
/// [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo).
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_within(LIMITS, listener, router, stop).await;
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.most));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.next_head);
    while let Some((stream, peer)) = next(&listener, &room, &stop).await {
        // Never closed.
        let Ok(place) = room.clone().try_acquire_owned() else {
            continue;
        };
        let asked = Arc::new(AtomicBool::new(false));
        let service = Answering {
            router: TowerToHyperService::new(router.clone()),
            peer,
            asked: asked.clone(),
        };
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            let silent = async {
                tokio::time::sleep(limits.first_head).await;
                if asked.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            };
            // What goes wrong with a connection is the other side's.
            tokio::select! { _ = connection => {}, () = silent => {} }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, when there is room for it; `None` when it is time to stop.
async fn next(
    listener: &TcpListener,
    room: &Semaphore,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr)> {
    let next = async {
        loop {
            // There is room, and nobody else takes it.
            let _ = room.acquire().await;
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Answers are small; waiting for more to send would only make the homeserver wait.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                Err(error) if is_theirs(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await
}

/// The other side had gone before it was let in.
fn is_theirs(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

struct Answering {
    router: TowerToHyperService<Router>,
    peer: SocketAddr,
    asked: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response;
    type Error = Infallible;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = self.router.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status()) {
                let close = HeaderValue::from_static("close");
                answer.headers_mut().insert(CONNECTION, close);
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const SHORT: Limits = Limits {
        most: 8,
        first_head: Duration::from_secs(1),
        next_head: Duration::from_secs(30),
    };

    /// Longer than any answer takes.
    const PATIENCE: Duration = Duration::from_secs(10);

    async fn start() -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        start_with(SHORT).await
    }

    async fn start_with(
        limits: Limits,
    ) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new()
                .route(
                    "/open",
                    get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
                        peer.ip().to_string()
                    }),
                )
                .route("/closed", get(|| async { StatusCode::FORBIDDEN }))
                .route(
                    "/slow",
                    get(|| async {
                        tokio::time::sleep(SHORT.first_head + Duration::from_millis(300)).await;
                        "slow"
                    }),
                );
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve_within(limits, listener, router, stop.clone()));
        (address, stop, serving)
    }

    async fn ask(stream: &mut TcpStream, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut answer))
            .await
            .unwrap()
            .unwrap();
        String::from_utf8(answer[..read].to_vec()).unwrap()
    }

    /// Whether the other side ends the connection in this time.
    async fn ends(stream: &mut TcpStream, within: Duration) -> bool {
        let mut rest = [0; 16];
        matches!(
            timeout(within, stream.read(&mut rest)).await,
            Ok(Ok(0) | Err(_))
        )
    }

    #[tokio::test]
    async fn who_is_refused_is_not_kept_and_who_is_let_in_is() {
        let (address, ..) = start().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            let answer = ask(&mut stream, "/open").await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"),
                "{answer}"
            );
        }
        let answer = ask(&mut stream, "/closed").await;
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(ends(&mut stream, PATIENCE).await);
    }

    #[tokio::test]
    async fn who_asks_nothing_is_not_kept_and_who_waits_for_an_answer_is() {
        let (address, ..) = start().await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut halting = TcpStream::connect(address).await.unwrap();
        halting.write_all(b"GET /open HT").await.unwrap();
        let mut patient = TcpStream::connect(address).await.unwrap();
        let (slow, silent, halting) = tokio::join!(
            ask(&mut patient, "/slow"),
            ends(&mut silent, PATIENCE),
            ends(&mut halting, PATIENCE),
        );
        assert!(slow.ends_with("slow"), "{slow}");
        assert!(silent && halting);
        // Later it may rest longer.
        tokio::time::sleep(SHORT.first_head).await;
        assert!(ask(&mut patient, "/open").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn who_asks_nothing_more_is_not_kept_for_ever() {
        let limits = Limits {
            next_head: Duration::from_secs(1),
            ..SHORT
        };
        let (address, ..) = start_with(limits).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/open").await;
        assert!(ends(&mut stream, PATIENCE).await);
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_next_waits_for_one() {
        let (address, ..) = start().await;
        let mut all = Vec::new();
        for _ in 0..SHORT.most {
            all.push(TcpStream::connect(address).await.unwrap());
        }
        let mut one_more = TcpStream::connect(address).await.unwrap();
        one_more
            .write_all(b"GET /open HTTP/1.1\r\nHost: here\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 12];
        let early = timeout(Duration::from_millis(300), one_more.read_exact(&mut answer)).await;
        assert!(early.is_err(), "there is no room yet");
        all.pop();
        timeout(PATIENCE, one_more.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    #[tokio::test]
    async fn at_a_stop_answers_that_are_under_way_are_given_and_idle_connections_end() {
        let (address, stop, serving) = start().await;
        let mut idle = TcpStream::connect(address).await.unwrap();
        ask(&mut idle, "/open").await;
        let mut patient = TcpStream::connect(address).await.unwrap();
        let stopping = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.cancel();
        };
        let (slow, ()) = tokio::join!(ask(&mut patient, "/slow"), stopping);
        assert!(slow.ends_with("slow"), "{slow}");
        assert!(ends(&mut idle, PATIENCE).await);
        timeout(PATIENCE, serving).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
