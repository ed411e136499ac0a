//! No acknowledgement before the commit: what happens when there is no commit.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use ruma::server_name;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{
    AppService, Journal, Registration,
    journal::{PushError, intake::Intake},
};

async fn put(router: &axum::Router, txn_id: u32) -> (StatusCode, Value) {
    let event =
        json!({"event_id": format!("${txn_id}"), "room_id": "!a", "x": "x".repeat(100_000)});
    let request = Request::builder()
        .method("PUT")
        .uri(format!("/_matrix/app/v1/transactions/{txn_id}"))
        .header("authorization", "Bearer hs-token-hs-token")
        .body(Body::from(json!({"events": [event]}).to_string()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn what_can_not_be_stored_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("journal.db"))
        .await
        .unwrap();
    let registration = Registration::parse(
        "{id: test, url: null, as_token: as-token-as-token, hs_token: hs-token-hs-token, \
         sender_localpart: bot, namespaces: {}}",
    )
    .unwrap();
    let homeserver = "http://127.0.0.1:9".parse().unwrap();
    let router = AppService::builder(
        registration,
        server_name!("test"),
        homeserver,
        journal.clone(),
    )
    .build()
    .unwrap()
    .router();
    let stored = async || journal.stats().await.unwrap().transactions;

    assert_eq!(put(&router, 1).await.0, StatusCode::OK);
    assert_eq!(stored().await, 1);

    let store = journal.sqlite();
    store.set_full(true).await;
    let (status, body) = put(&router, 2).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["errcode"], "M_UNKNOWN");
    assert_eq!(stored().await, 1);
    let full = journal
        .push("3".to_owned(), vec![b' '; 100_000].into(), Arc::default())
        .await;
    let Err(PushError::NotStored(crate::JournalError::DiskFull(_))) = full else {
        panic!("{full:?}");
    };
    store.set_full(false).await;

    store.set_unwritable(true).await;
    assert_eq!(put(&router, 2).await.0, StatusCode::SERVICE_UNAVAILABLE);
    store.set_unwritable(false).await;

    // The homeserver tries again, and nothing is missing.
    assert_eq!(put(&router, 2).await.0, StatusCode::OK);
    assert_eq!(stored().await, 2);
    while journal.take_in(&Intake::default()).await.unwrap() {}
    assert_eq!(stored().await, 0);
    assert_eq!(journal.stats().await.unwrap().waiting, 2);
}
