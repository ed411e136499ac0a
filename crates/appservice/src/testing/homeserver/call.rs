//! A call of the client-server API, and what is answered.

use std::{collections::BTreeMap, time::Instant};

use axum::{
    Json,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// A call that came in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Call {
    /// The method, in capitals.
    pub method: String,
    /// The path, decoded, without `/_matrix/client/v3`; one with another beginning is there in full.
    pub path: String,
    /// The parts of the path, decoded.
    pub segments: Vec<String>,
    /// The query. Of a name that is there several times, the last counts.
    pub query: BTreeMap<String, String>,
    /// The user whom the call is made as.
    pub acting_as: String,
    /// The body, where it is JSON; else null.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// When it came.
    pub at: Instant,
}

impl Call {
    /// What the call is about: behind a room's id (`send`, `join`, `messages`, `state`, …), else the
    /// path's first part (`register`, `createRoom`, `profile`, …). For paths that don't begin with
    /// `/_matrix/client/v3`, the part behind the version: `media`, `upload`, `appservice`, ….
    #[must_use]
    pub fn kind(&self) -> &str {
        let segments: Vec<_> = self.segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["rooms", _, kind, ..] | ["_matrix", _, _, kind, ..] | [kind, ..] => kind,
            [] => "",
        }
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    body: Value,
    file: Option<(String, Vec<u8>)>,
}

impl Reply {
    pub(super) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            body,
            file: None,
        }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(200, body)
    }

    /// A file of this content type.
    pub(super) fn file(content_type: &str, bytes: Vec<u8>) -> Self {
        Self {
            file: Some((content_type.to_owned(), bytes)),
            ..Self::ok(Value::Null)
        }
    }

    /// An error. Its text is a canary: no log and no error of an application service repeats it.
    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::new(
            status,
            json!({"errcode": code, "error": "canary of the homeserver"}),
        )
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap();
        match self.file {
            Some((content_type, bytes)) => {
                (status, [(CONTENT_TYPE, content_type)], bytes).into_response()
            }
            None => (status, Json(self.body)).into_response(),
        }
    }
}
