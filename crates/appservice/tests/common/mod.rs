//! What the tests share: a registration, an application service that runs, and requests as a homeserver
//! makes them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses a part of it; a test that can't go on fails"
)]

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use matrix_appservice::{
    AppService, Journal, Registration,
    ruma::{ServerName, UserId, server_name},
    testing::FakeHomeserver,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const AS_TOKEN: &str = "canary-as-token-9d2f4c7ab1";
pub const HS_TOKEN: &str = "canary-hs-token-5e8b3a6fd0";

/// The homeserver's name.
pub fn server() -> &'static ServerName {
    server_name!("hs.test")
}

pub fn registration() -> Registration {
    Registration::parse(&format!(
        r##"
id: test bridge
url: http://127.0.0.1:1
as_token: {AS_TOKEN}
hs_token: {HS_TOKEN}
sender_localpart: bot
namespaces:
  users: [{{exclusive: true, regex: "@_ghost_.*"}}]
  aliases: [{{exclusive: false, regex: "#_portal_.*"}}]
  rooms: [{{exclusive: false, regex: "!*"}}]
"##
    ))
    .unwrap()
}

/// A homeserver that lists this registration.
pub async fn homeserver() -> FakeHomeserver {
    FakeHomeserver::start(server(), &registration()).await
}

pub async fn journal(folder: &tempfile::TempDir) -> Journal {
    Journal::open(folder.path().join("journal.db"))
        .await
        .unwrap()
}

pub fn user(id: &str) -> &UserId {
    id.try_into().unwrap()
}

/// An answer of the application service.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and error code.
    pub fn error(&self) -> (u16, String) {
        let code = self.json()["errcode"].as_str().unwrap().to_owned();
        (self.status.as_u16(), code)
    }
}

pub async fn call(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let content_type = response
        .headers()
        .get("content-type")
        .map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: response.status(),
        content_type,
        body: to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap()
            .to_vec(),
    }
}

/// A request with the right token.
pub fn request(method: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {HS_TOKEN}"))
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

pub async fn push(router: &Router, txn_id: &str, events: &[Value]) -> Answer {
    let path = format!("/_matrix/app/v1/transactions/{txn_id}");
    let body = json!({"events": events}).to_string();
    call(router, request("PUT", &path, body)).await
}

pub fn message(event_id: &str, room: &str, sender: &str, body: &str) -> Value {
    json!({
        "type": "m.room.message", "event_id": event_id, "room_id": room, "sender": sender,
        "origin_server_ts": 1, "content": {"msgtype": "m.text", "body": body},
    })
}

/// An application service at work.
pub struct Running {
    pub router: Router,
    pub journal: Journal,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn start(service: AppService) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let router = service.router();
        Self::start_on(service, listener, router)
    }

    /// Serves `router`, which may do more than the service's own.
    pub fn start_on(service: AppService, listener: TcpListener, router: Router) -> Self {
        let journal = service.journal().clone();
        let stop = CancellationToken::new();
        let (served, stopping) = (router.clone(), stop.clone());
        let task =
            tokio::spawn(async move { service.run(listener, served, stopping).await.unwrap() });
        Self {
            router,
            journal,
            stop,
            task,
        }
    }

    pub async fn stop(self) -> Journal {
        self.stop.cancel();
        self.task.await.unwrap();
        self.journal
    }

    /// Waits until all that was pushed has been looked through.
    pub async fn split(&self) {
        while self.journal.stats().await.unwrap().transactions > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until nothing is left to be done.
    pub async fn idle(&self) {
        let idle = async {
            loop {
                let stats = self.journal.stats().await.unwrap();
                if stats.transactions == 0 && stats.waiting == 0 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        let minute = std::time::Duration::from_mins(1);
        let ended = tokio::time::timeout(minute, idle).await;
        assert!(
            ended.is_ok(),
            "still at work: {:?}",
            self.journal.stats().await
        );
    }
}
