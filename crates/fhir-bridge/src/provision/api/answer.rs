//! Answers, and errors in Matrix's form.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use matrix_appservice::Retry;
use serde_json::{Value, json};

use super::super::{Failed, Link, Refused};

/// What an endpoint answers.
pub(super) type Answer = Result<Json<Value>, ApiError>;

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    errcode: &'static str,
    error: std::borrow::Cow<'static, str>,
}

impl ApiError {
    pub(super) const FAULT: Self = Self::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "M_UNKNOWN",
        "It failed for a reason that is in the bridge's log",
    );
    pub(super) const LATE: Self = Self::new(
        StatusCode::GATEWAY_TIMEOUT,
        "M_UNKNOWN",
        "It takes too long; the bridge goes on with it: ask again",
    );

    pub(super) const fn new(
        status: StatusCode,
        errcode: &'static str,
        error: &'static str,
    ) -> Self {
        Self {
            status,
            errcode,
            error: std::borrow::Cow::Borrowed(error),
        }
    }

    /// A parameter that can't be.
    pub(super) const fn parameter(error: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", error)
    }
}

impl From<Failed> for ApiError {
    fn from(failed: Failed) -> Self {
        let error = match failed {
            Failed::Refused(refused) => return refused.into(),
            Failed::Fault(error) => error,
        };
        tracing::warn!(
            class = error.class(),
            "a call of the provisioning API failed"
        );
        match error.retry() {
            Retry::WhenAvailable | Retry::After(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "M_UNKNOWN",
                "The homeserver, the FHIR server or the database is away: ask again later",
            ),
            Retry::Backoff | Retry::Never => Self::FAULT,
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let (status, errcode) = refused.code();
        Self {
            // The codes are those of a list that a test goes through.
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            errcode,
            error: refused.to_string().into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"errcode": self.errcode, "error": self.error}));
        (self.status, body).into_response()
    }
}

/// A link as it is told.
pub(super) fn link(link: &Link) -> Value {
    let mut json = json!({"room_id": link.room, "resource": link.resource.to_string()});
    if let Some(server) = &link.server {
        json["server"] = server.as_str().into();
    }
    json
}

pub(super) async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "M_UNRECOGNIZED",
        "This endpoint has other methods",
    )
}
