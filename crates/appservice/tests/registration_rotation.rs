//! While tokens are rotated the server accepts either of two, by header and by query.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on fails"
)]

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use matrix_appservice::{AppService, Journal, Registration, registration::Token};
use tower::ServiceExt as _;

const NEW: &str = "hs-token-from-today-on";
const FORMER: &str = "hs-token-until-yesterday";

async fn router(registration: Registration, folder: &tempfile::TempDir) -> Router {
    let journal = Journal::open(folder.path().join("journal.db"))
        .await
        .unwrap();
    AppService::builder(
        registration,
        "hs".try_into().unwrap(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal,
    )
    .build()
    .unwrap()
    .router()
}

async fn ping(router: &Router, header: Option<&str>, query: Option<&str>) -> StatusCode {
    let query = query
        .map(|token| format!("?access_token={token}"))
        .unwrap_or_default();
    let mut request = Request::post(format!("/_matrix/app/v1/ping{query}"));
    if let Some(token) = header {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let request = request.body(Body::from("{}")).unwrap();
    router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn either_of_two_tokens_is_right_while_they_are_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let mut registration = Registration::generate("a", "a").build().unwrap();
    registration.hs_token = Token::parse(NEW).unwrap();
    let as_token = registration.as_token.expose().to_owned();

    let before = router(registration.clone(), &folder).await;
    assert_eq!(ping(&before, Some(NEW), None).await, StatusCode::OK);
    assert_eq!(
        ping(&before, Some(FORMER), None).await,
        StatusCode::FORBIDDEN
    );

    // It is started anew, with the former token beside the new one.
    drop(before);
    registration
        .accept_also(Token::parse(FORMER).unwrap())
        .unwrap();
    let during = router(registration, &folder).await;
    for (header, query, expected) in [
        (Some(NEW), None, StatusCode::OK),
        (Some(FORMER), None, StatusCode::OK),
        (None, Some(NEW), StatusCode::OK),
        (None, Some(FORMER), StatusCode::OK),
        (Some(NEW), Some(FORMER), StatusCode::OK),
        (Some(NEW), Some("wrong"), StatusCode::FORBIDDEN),
        (Some("wrong"), Some(FORMER), StatusCode::FORBIDDEN),
        (Some(as_token.as_str()), None, StatusCode::FORBIDDEN),
        (Some(""), None, StatusCode::FORBIDDEN),
        (None, None, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(
            ping(&during, header, query).await,
            expected,
            "{header:?} {query:?}"
        );
    }
}
