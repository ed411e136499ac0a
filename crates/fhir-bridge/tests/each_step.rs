//! The bridge dies behind each of its writes: the server has done what it was asked for, the bridge never hears of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; what it prints helps when it does"
)]

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::Response,
};
use testbed::{Bridge, BridgeSetup, Testbed, scene};
use tokio::sync::mpsc;
use url::Url;

/// Passes everything on, but the answer to a write that it has not seen before is swallowed and the bridge killed.
#[derive(Clone)]
struct Deadly {
    to: Url,
    http: reqwest::Client,
    seen: Arc<Mutex<HashSet<(Method, String, Bytes)>>>,
    kill: mpsc::UnboundedSender<String>,
}

impl Deadly {
    /// In front of `to`; where the bridge reaches it, with the same path.
    async fn in_front_of(to: &Url, kill: &mpsc::UnboundedSender<String>) -> Url {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let deadly = Self {
            to: to.clone(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            seen: Arc::default(),
            kill: kill.clone(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new().fallback(pass).with_state(deadly);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let mut url = to.clone();
        url.set_ip_host(address.ip()).unwrap();
        url.set_port(Some(address.port())).unwrap();
        url
    }

    fn is_new_write(&self, method: &Method, path: &str, body: &Bytes) -> bool {
        let is_write = *method == Method::PUT
            || *method == Method::POST && !path.ends_with("/_search") && !path.ends_with("/ping");
        let what = (method.clone(), path.to_owned(), body.clone());
        is_write && self.seen.lock().unwrap().insert(what)
    }
}

async fn pass(State(deadly): State<Deadly>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = head.uri.path_and_query().unwrap().to_string();
    let url = deadly.to.join(&path).unwrap();
    let mut headers = head.headers;
    headers.remove(header::HOST);
    let answer = deadly
        .http
        .request(head.method.clone(), url)
        .headers(headers)
        .body(body.clone())
        .send()
        .await
        .unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != header::TRANSFER_ENCODING && name != header::CONNECTION {
            response = response.header(name, value);
        }
    }
    let status = answer.status();
    let answer = answer.bytes().await.unwrap();
    if status.is_success() && deadly.is_new_write(&head.method, &path, &body) {
        let route = path.split('?').next().unwrap_or_default().to_owned();
        deadly
            .kill
            .send(format!("{} {route}", head.method))
            .unwrap();
        // The bridge is dead before this could reach it.
        std::future::pending::<()>().await;
    }
    response.body(Body::from(answer)).unwrap_or_else(|_| {
        let mut error = Response::new(Body::empty());
        *error.status_mut() = StatusCode::BAD_GATEWAY;
        error
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_dies_behind_each_of_its_writes_does_each_thing_once() {
    let testbed = Testbed::shared().await.unwrap();
    // The same as the other scenes': two bridges at once on one FHIR server would both carry what is there.
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let (kill, mut killed) = mpsc::unbounded_channel();

    let program = Path::new(env!("CARGO_BIN_EXE_fhir-bridge"));
    let mut setup = BridgeSetup::of(&appservice, program, folder.path(), fhir.clone());
    setup.homeserver = Deadly::in_front_of(&setup.homeserver, &kill).await;
    setup.fhir = Deadly::in_front_of(&fhir, &kill).await;
    let bridge = Bridge::start(testbed, setup).await.unwrap();

    let tell = |line: &str| println!("{line}");
    let playing = scene::play(
        testbed,
        &fhir,
        &appservice.user_prefix,
        scene::Names::Unique,
        &tell,
    );
    let mut deaths = Vec::new();
    let dying = async {
        loop {
            let behind = killed.recv().await.unwrap();
            bridge.kill().await;
            // What else it had asked for died with it.
            while killed.try_recv().is_ok() {}
            println!("         died behind {behind}");
            deaths.push(behind);
            bridge.restart().await.unwrap();
        }
    };
    let played = tokio::select! {
        played = playing => played.unwrap(),
        () = dying => unreachable!(),
    };
    bridge.restart_if_dead().await.unwrap();
    println!("it died {} times", deaths.len());
    for step in [
        "/register",
        "/displayname",
        "/createRoom",
        "/state/m.space.child",
        "/state/m.room.member",
        "/join",
        "/send/m.room.message",
        "/fhir/Communication",
    ] {
        assert!(
            deaths.iter().any(|death| death.contains(step)),
            "it never died behind {step}"
        );
    }
    scene::stays_the_same(testbed, &fhir, &played, Duration::from_secs(8))
        .await
        .unwrap();
    bridge.stop().await;
}
