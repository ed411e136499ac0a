//! What the tests share: a registration, an application service that runs, and requests as a homeserver
//! makes them.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses a part of it; a test that can't go on fails"
)]

pub mod generator;

pub use matrix_appservice::testing::Running;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use matrix_appservice::{
    Journal, Registration,
    ruma::{ServerName, UserId, server_name},
    testing::FakeHomeserver,
};
use serde_json::{Value, json};
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
