//! `/api/v1/`: what the page shows and does, for programs. docs/api/operator.yaml describes it.
//!
//! Answers are JSON; what is refused or fails is `{"error": "…"}` with the status that says so. A path has one file, with
//! what it reads apart from how it is asked, since the page shows the same.

pub(super) mod dead_letters;
pub(super) mod links;
mod replay;
pub(super) mod status;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fhir::Instant;
use matrix_appservice::JournalError;
use serde_json::json;

use super::{
    access::{Refused, bearer},
    desk::Desk,
};
use crate::links::LinksError;

/// Why there is no other answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("there is no such path")]
    NoPath,
    #[error("this path is asked with another method")]
    Method,
    #[error("there is no dead letter with this id: it was retried, skipped, or never there")]
    NoDeadLetter,
    #[error("a parameter of the query is none that is known here, or not of the right kind")]
    Query,
    #[error(
        "only a CareTeam, CommunicationRequest or Communication, such as CareTeam/7, can be looked at again"
    )]
    NotFollowed,
    #[error("there is no FHIR server of this name in the configuration")]
    NoServer,
    #[error("`after` is none that was given as `next`")]
    After,
    #[error("the journal doesn't answer: see the component `database`")]
    Journal(#[from] JournalError),
    #[error("the links can't be read: see the component `database`")]
    Links(#[from] LinksError),
}

impl ApiError {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refused) => refused.status(),
            Self::NoPath | Self::NoDeadLetter | Self::NoServer => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Query | Self::After | Self::NotFollowed => StatusCode::BAD_REQUEST,
            Self::Journal(_) | Self::Links(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.to_string()}));
        match self {
            Self::Refused(refused @ Refused::Token) => {
                let asks = [(header::WWW_AUTHENTICATE, "Bearer")];
                (refused.status(), asks, body).into_response()
            }
            Self::Refused(refused @ Refused::TooMany) => {
                let later = [(header::RETRY_AFTER, "60")];
                (refused.status(), later, body).into_response()
            }
            other => (other.status(), body).into_response(),
        }
    }
}

/// The API, below its base path.
pub(super) fn router(desk: &Desk) -> Router<Desk> {
    Router::new()
        .route("/status", get(status::get))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/{id}", get(dead_letters::get))
        .route("/dead-letters/{id}/retry", post(dead_letters::retry))
        .route("/dead-letters/{id}/skip", post(dead_letters::skip))
        .route("/links", get(links::list))
        .route("/replay", post(replay::post))
        .fallback(async || ApiError::NoPath)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(middleware::from_fn_with_state(desk.clone(), check))
}

/// Lets in who has the token, and no page of somebody else's.
async fn check(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let access = &desk.access;
    let let_in = access
        .check_browser(headers, request.uri())
        .and_then(|()| access.check(peer(&request), bearer(headers)));
    if let Err(refused) = let_in {
        return ApiError::Refused(refused).into_response();
    }
    let mut answer = next.run(request).await;
    let never = header::HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, never);
    answer
}

/// From where somebody asks.
pub(super) fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

/// A time as people and programs read it.
pub(super) fn time(ms: i64) -> String {
    let at = u64::try_from(ms).ok().and_then(Instant::from_unix_millis);
    at.map_or_else(String::new, |at| at.to_string())
}

/// For how many seconds something is so.
pub(super) fn seconds_since(ms: i64, now: i64) -> u64 {
    u64::try_from((now - ms) / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
