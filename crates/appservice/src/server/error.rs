//! Errors in Matrix's form: a status and `{"errcode": …, "error": …}`.

use axum::{
    Json,
    extract::rejection::PathRejection,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// What a homeserver is told when a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MatrixError {
    MissingToken,
    WrongToken,
    NotFound,
    BadPath,
    NotJson,
    NoEvents,
    TooLarge,
    BodyUnread,
    BodyLate,
    NotStored,
    QueryFailed,
    UnknownPath,
    WrongMethod,
}

impl MatrixError {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::MissingToken => (
                StatusCode::UNAUTHORIZED,
                "M_MISSING_TOKEN",
                "No hs_token: send it as `Authorization: Bearer …`",
            ),
            Self::WrongToken => (
                StatusCode::FORBIDDEN,
                "M_FORBIDDEN",
                "This is not the hs_token of the registration",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "M_NOT_FOUND",
                "There is no such thing here",
            ),
            Self::BadPath => (
                StatusCode::BAD_REQUEST,
                "M_INVALID_PARAM",
                "The last part of the path is no percent-encoded UTF-8",
            ),
            Self::NotJson => (
                StatusCode::BAD_REQUEST,
                "M_NOT_JSON",
                "The body is not JSON",
            ),
            Self::NoEvents => (
                StatusCode::BAD_REQUEST,
                "M_BAD_JSON",
                "The body must be an object with a list `events`",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "M_TOO_LARGE",
                "The body is larger than the application service's limit: raise that limit",
            ),
            Self::BodyUnread => (
                StatusCode::BAD_REQUEST,
                "M_UNKNOWN",
                "The body ended before it was complete",
            ),
            Self::BodyLate => (
                StatusCode::REQUEST_TIMEOUT,
                "M_UNKNOWN",
                "The body did not come in time",
            ),
            Self::NotStored => (
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The transaction could not be stored, send it again later",
            ),
            Self::QueryFailed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "M_UNKNOWN",
                "The query could not be answered",
            ),
            Self::UnknownPath => (
                StatusCode::NOT_FOUND,
                "M_UNRECOGNIZED",
                "There is no such endpoint",
            ),
            Self::WrongMethod => (
                StatusCode::METHOD_NOT_ALLOWED,
                "M_UNRECOGNIZED",
                "This endpoint has other methods",
            ),
        }
    }
}

impl IntoResponse for MatrixError {
    fn into_response(self) -> Response {
        let (status, errcode, error) = self.parts();
        (status, Json(json!({"errcode": errcode, "error": error}))).into_response()
    }
}

impl From<PathRejection> for MatrixError {
    fn from(_: PathRejection) -> Self {
        Self::BadPath
    }
}

pub(super) async fn unknown_path() -> MatrixError {
    MatrixError::UnknownPath
}

pub(super) async fn wrong_method() -> MatrixError {
    MatrixError::WrongMethod
}
