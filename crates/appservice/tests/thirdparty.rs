//! Third-party lookups, and queries that take their time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::time::Duration;

use axum::{Router, http::StatusCode};
use common::{Answer, HS_TOKEN, call, journal, registration, request, server};
use matrix_appservice::{
    AppService, Builder, HandlerError, ThirdParty,
    ruma::{RoomAliasId, UserId},
    thirdparty::{FieldType, Fields, Location, Protocol, ProtocolInstance, User},
};
use serde_json::{Map, Value, json};

/// Knows one user and one channel; goes wrong when it is asked for the protocol `panics`, `fails` or
/// `hangs`.
struct Irc;

fn as_map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn jim(fields: &Value) -> User {
    User {
        userid: "@_ghost_jim:hs.test".try_into().unwrap(),
        protocol: "irc".to_owned(),
        fields: as_map(fields),
    }
}

fn matrix(fields: &Value) -> Location {
    Location {
        alias: "#_portal_matrix:hs.test".try_into().unwrap(),
        protocol: "irc".to_owned(),
        fields: as_map(fields),
    }
}

impl ThirdParty for Irc {
    async fn protocol(&self, protocol: &str) -> Result<Option<Protocol>, HandlerError> {
        match protocol {
            "panics" => std::panic::resume_unwind(Box::new("on purpose")),
            "fails" => return Err(HandlerError::never("on purpose")),
            "hangs" => std::future::pending().await,
            _ => {}
        }
        let field_type = |regexp: &str, placeholder: &str| FieldType {
            regexp: regexp.to_owned(),
            placeholder: placeholder.to_owned(),
        };
        Ok((protocol == "irc/é").then(|| Protocol {
            user_fields: vec!["nickname".to_owned()],
            location_fields: vec!["channel".to_owned()],
            icon: "mxc://hs.test/irc".to_owned(),
            field_types: [
                ("nickname".to_owned(), field_type("[^\\s#]+", "jim")),
                ("channel".to_owned(), field_type("#[^\\s]+", "#matrix")),
            ]
            .into(),
            instances: vec![ProtocolInstance {
                desc: "Libera".to_owned(),
                icon: None,
                fields: as_map(&json!({"network": "libera"})),
                network_id: "libera".to_owned(),
            }],
        }))
    }

    async fn users(&self, protocol: &str, fields: &Fields) -> Result<Vec<User>, HandlerError> {
        assert_eq!(protocol, "irc");
        let found = fields.get("nickname") == Some("jim & co");
        let all: Vec<_> = fields.iter().collect();
        Ok(found
            .then(|| jim(&json!({"asked": all})))
            .into_iter()
            .collect())
    }

    async fn locations(&self, _: &str, fields: &Fields) -> Result<Vec<Location>, HandlerError> {
        let channels: Vec<_> = fields.all("channel").collect();
        let found = channels.contains(&"#matrix");
        let location = found.then(|| matrix(&json!({"channels": channels})));
        Ok(location.into_iter().collect())
    }

    async fn user(&self, user_id: &UserId) -> Result<Vec<User>, HandlerError> {
        let found = user_id == "@_ghost_jim:hs.test";
        Ok(found.then(|| jim(&json!({}))).into_iter().collect())
    }

    async fn location(&self, alias: &RoomAliasId) -> Result<Vec<Location>, HandlerError> {
        let found = alias == "#_portal_matrix:hs.test";
        Ok(found.then(|| matrix(&json!({}))).into_iter().collect())
    }
}

async fn builder(folder: &tempfile::TempDir) -> Builder {
    let homeserver = "http://127.0.0.1:9".parse().unwrap();
    AppService::builder(registration(), server(), homeserver, journal(folder).await)
}

async fn irc(folder: &tempfile::TempDir) -> Router {
    let builder = builder(folder).await.third_party(Irc);
    let builder = builder.query_timeout(Duration::from_millis(50));
    builder.build().unwrap().router()
}

const BASES: [&str; 2] = ["/_matrix/app/v1", "/_matrix/app/unstable"];

async fn get(router: &Router, base: &str, path: &str) -> Answer {
    call(
        router,
        request("GET", &format!("{base}/thirdparty/{path}"), ""),
    )
    .await
}

#[tokio::test]
async fn each_lookup_is_answered_by_the_application_on_both_paths() {
    let folder = tempfile::tempdir().unwrap();
    let router = irc(&folder).await;
    for base in BASES {
        let found = async |path: &str| {
            let answer = get(&router, base, path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            answer.json()
        };
        let protocol = found("protocol/irc%2F%C3%A9").await;
        assert_eq!(protocol["instances"][0]["network_id"], "libera");
        assert_eq!(protocol["field_types"]["nickname"]["placeholder"], "jim");
        assert!(protocol["instances"][0].get("icon").is_none());
        let users = found("user/irc?nickname=jim%20%26+co&nickname=other").await;
        let asked = json!([["nickname", "jim & co"], ["nickname", "other"]]);
        let expected = json!([{"userid": "@_ghost_jim:hs.test", "protocol": "irc", "fields": {"asked": asked}}]);
        assert_eq!(users, expected);
        let locations = found("location/irc?channel=%23other&channel=%23matrix").await;
        assert_eq!(locations[0]["alias"], "#_portal_matrix:hs.test");
        assert_eq!(
            locations[0]["fields"]["channels"],
            json!(["#other", "#matrix"])
        );
        let users = found("user?userid=%40_ghost_jim%3Ahs.test").await;
        assert_eq!(users[0]["fields"], json!({}));
        let locations = found("location?alias=%23_portal_matrix%3Ahs.test").await;
        assert_eq!(locations[0]["protocol"], "irc");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let without = builder(&other).await.build().unwrap().router();
    let with = irc(&folder).await;
    for base in BASES {
        for path in [
            "protocol/xmpp",
            "user/irc",
            "user/irc?nickname=joe",
            "location/irc",
            "user",
            "user?userid=",
            "user?userid=jim",
            "user?userid=%40joe%3Ahs.test",
            "location",
            "location?alias=%FF",
            "location?alias=%23other%3Ahs.test",
        ] {
            for router in [&without, &with] {
                let error = get(router, base, path).await.error();
                assert_eq!(error, (404, "M_NOT_FOUND".to_owned()), "{path}");
            }
        }
        let error = get(&without, base, "protocol/irc%2F%C3%A9").await.error();
        assert_eq!(error, (404, "M_NOT_FOUND".to_owned()));
        for path in ["protocol", "protocol/a/b", "room/irc", "user/irc/"] {
            let error = get(&with, base, path).await.error();
            assert_eq!(error, (404, "M_UNRECOGNIZED".to_owned()), "{path}");
        }
        let put = request("PUT", &format!("{base}/thirdparty/user/irc"), "");
        let error = call(&with, put).await.error();
        assert_eq!(error, (405, "M_UNRECOGNIZED".to_owned()));
    }
}

#[tokio::test]
async fn a_lookup_that_panics_fails_or_hangs_ends_in_a_matrix_error() {
    let folder = tempfile::tempdir().unwrap();
    let router = irc(&folder).await;
    for path in ["protocol/panics", "protocol/fails", "protocol/hangs"] {
        let error = get(&router, BASES[0], path).await.error();
        assert_eq!(error, (500, "M_UNKNOWN".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_user_or_room_query_is_answered_within_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let router = builder(&folder)
        .await
        .on_user_query(|_, _| std::future::pending())
        .on_room_query(|_, _| std::future::pending())
        .query_timeout(Duration::from_millis(20))
        .build()
        .unwrap()
        .router();
    for path in [
        "/_matrix/app/v1/users/%40_ghost_1%3Ahs.test",
        "/_matrix/app/v1/rooms/%23_portal_1%3Ahs.test",
    ] {
        let answer = tokio::time::timeout(
            Duration::from_secs(10),
            call(&router, request("GET", path, "")),
        );
        let error = answer.await.unwrap().error();
        assert_eq!(error, (500, "M_UNKNOWN".to_owned()));
    }
}

#[tokio::test]
async fn a_lookup_needs_the_token_and_the_application_does_not_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let router = irc(&folder).await;
    let path = "/_matrix/app/v1/thirdparty/user/irc?nickname=jim+%26+co";
    let bare = |path: &str| {
        let request = axum::http::Request::builder().uri(path);
        call(&router, request.body(axum::body::Body::empty()).unwrap())
    };
    assert_eq!(
        bare(path).await.error(),
        (401, "M_MISSING_TOKEN".to_owned())
    );
    let wrong = bare(&format!("{path}&access_token=wrong")).await;
    assert_eq!(wrong.error(), (403, "M_FORBIDDEN".to_owned()));
    let right = bare(&format!("{path}&access_token={HS_TOKEN}")).await;
    assert_eq!(
        right.json()[0]["fields"]["asked"],
        json!([["nickname", "jim & co"]])
    );
}
