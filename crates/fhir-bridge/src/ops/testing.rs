//! A bridge that nobody runs, and what is asked of it.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, header},
};
use fhir::ResourceRef;
use matrix_appservice::{NewEntry, registration::Token, ruma::OwnedRoomId};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{access::Access, desk::Desk, router};
use crate::servers::testing::Made;

pub(crate) const TOKEN: &str = "example-token-of-operators";
/// Where the browser thinks that it is.
pub(crate) const HOST: &str = "127.0.0.1:1233";
pub(crate) const ORIGIN: &str = "http://127.0.0.1:1233";

/// A desk with a journal in memory.
pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) desk: Desk,
    router: Router,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    /// One with a token.
    pub(crate) async fn new() -> Self {
        Self::with(Access::with(Token::parse(TOKEN).unwrap())).await
    }

    pub(crate) async fn with(access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("list.json"), r#"["huisarts.example"]"#).unwrap();
        let made = Made::in_folder(
            folder,
            json!({
                "fhir_servers": [
                    {"url": "http://one.example/fhir"},
                    {"name": "north", "url": "http://north.example/fhir"},
                ],
                "policy": {"federation": "closed", "list": {"file": "list.json"}},
            }),
        );
        let made = made.await;
        let desk = Desk::try_new(made.servers, made.journal, access).unwrap();
        Self {
            _folder: made.folder,
            router: router(desk.clone()),
            desk,
        }
    }

    /// Puts a dead letter into the journal, which holds `payload`; returns its id.
    pub(crate) async fn dead_letter(&self, key: &str, payload: &str) -> i64 {
        let entry = NewEntry {
            dead: Some("odd resource"),
            ..NewEntry::new("fhir", key, "CommunicationRequest/7", payload.as_bytes())
        };
        self.desk.journal.append(&[entry], None).await.unwrap();
        let letters = self.desk.journal.dead_letters(0, 100).await.unwrap();
        letters.last().unwrap().id
    }

    pub(crate) async fn link(&self, server: Option<&str>, resource: &str, room: &str) {
        let mut bridges = self.desk.servers.iter();
        let bridge = bridges.find(|one| one.name.as_deref() == server).unwrap();
        let resource = ResourceRef::parse(resource).unwrap();
        let room: OwnedRoomId = room.parse().unwrap();
        bridge.links.link_room(&resource, &room).await.unwrap();
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Asked {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", HOST);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = axum::body::to_bytes(answer.into_body(), 1_000_000)
            .await
            .unwrap();
        Asked {
            status,
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Asked {
        self.ask("GET", path, &[], "").await
    }

    /// Asks the API with the token.
    pub(crate) async fn api(&self, method: &str, path: &str) -> Asked {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str())];
        self.ask(method, path, &headers, "").await
    }
}
