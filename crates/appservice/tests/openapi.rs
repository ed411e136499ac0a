//! Each operation's answers, held against the official OpenAPI description of the API.
//!
//! The description is not part of this repository. Without it beside the workspace (in
//! `../shared/matrix-spec`), or where `MATRIX_APPSERVICE_OPENAPI` says, the test says so and ends.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{collections::BTreeSet, path::PathBuf};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use common::{HS_TOKEN, call, journal, registration, server};
use matrix_appservice::{
    AppService, HandlerError, Journal, ThirdParty,
    ruma::{RoomAliasId, UserId},
    thirdparty::{FieldType, Fields, Location, Protocol, ProtocolInstance, User},
};
use serde_json::{Value, json};

/// The part of JSON Schema that the description uses for answers.
fn assert_valid(schema: &Value, value: &Value, at: &str) {
    for part in schema["allOf"].as_array().into_iter().flatten() {
        assert_valid(part, value, at);
    }
    match schema["type"].as_str() {
        Some("object") => assert!(value.is_object(), "{at}: an object, not {value}"),
        Some("array") => assert!(value.is_array(), "{at}: a list, not {value}"),
        Some("string") => assert!(value.is_string(), "{at}: a text, not {value}"),
        None if schema["allOf"].is_array() => {}
        other => panic!("{at}: the schema says {other:?}, teach me"),
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(value.get(name).is_some(), "{at}: no {name}");
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        let known = &schema["properties"][name];
        if known.is_object() {
            assert_valid(known, value, &at);
        } else if schema["additionalProperties"].is_object() {
            assert_valid(&schema["additionalProperties"], value, &at);
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        assert_valid(&schema["items"], value, &format!("{at}/{index}"));
    }
}

fn description() -> Option<Value> {
    let path = std::env::var_os("MATRIX_APPSERVICE_OPENAPI").map_or_else(
        || {
            let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
            workspace.join("../shared/matrix-spec/appservice-openapi.json")
        },
        PathBuf::from,
    );
    let text = std::fs::read(&path).ok();
    if text.is_none() {
        eprintln!("skipped: there is no {}", path.display());
    }
    Some(serde_json::from_slice(&text?).unwrap())
}

struct Gitter;

impl Gitter {
    fn user() -> User {
        User {
            userid: "@_ghost_jim:hs.test".try_into().unwrap(),
            protocol: "gitter".to_owned(),
            fields: [("user".to_owned(), json!("jim"))].into_iter().collect(),
        }
    }

    fn location() -> Location {
        Location {
            alias: "#_portal_1:hs.test".try_into().unwrap(),
            protocol: "gitter".to_owned(),
            fields: [("room".to_owned(), json!("matrix"))].into_iter().collect(),
        }
    }
}

impl ThirdParty for Gitter {
    async fn protocol(&self, protocol: &str) -> Result<Option<Protocol>, HandlerError> {
        let field_type = FieldType {
            regexp: ".*".to_owned(),
            placeholder: "jim".to_owned(),
        };
        let instance = ProtocolInstance {
            desc: "Gitter".to_owned(),
            icon: Some("mxc://hs.test/b".to_owned()),
            fields: serde_json::Map::new(),
            network_id: "gitter".to_owned(),
        };
        Ok((protocol == "known").then(|| Protocol {
            user_fields: vec!["user".to_owned()],
            location_fields: Vec::new(),
            icon: "mxc://hs.test/a".to_owned(),
            field_types: [("user".to_owned(), field_type)].into(),
            instances: vec![instance],
        }))
    }

    async fn users(&self, protocol: &str, _: &Fields) -> Result<Vec<User>, HandlerError> {
        Ok((protocol == "known").then(Self::user).into_iter().collect())
    }

    async fn locations(&self, protocol: &str, _: &Fields) -> Result<Vec<Location>, HandlerError> {
        let known = protocol == "known";
        Ok(known.then(Self::location).into_iter().collect())
    }

    async fn user(&self, user_id: &UserId) -> Result<Vec<User>, HandlerError> {
        let known = user_id.localpart() == "known";
        Ok(known.then(Self::user).into_iter().collect())
    }

    async fn location(&self, alias: &RoomAliasId) -> Result<Vec<Location>, HandlerError> {
        let known = alias.alias() == "known";
        Ok(known.then(Self::location).into_iter().collect())
    }
}

fn router(journal: Journal) -> Router {
    let homeserver = "http://127.0.0.1:9".parse().unwrap();
    AppService::builder(registration(), server(), homeserver, journal)
        .on_user_query(|_, id| async move { Ok(id.as_str() == "@known:hs.test") })
        .on_room_query(|_, alias| async move { Ok(alias.as_str() == "#known:hs.test") })
        .third_party(Gitter)
        .build()
        .unwrap()
        .router()
}

/// A value for a parameter: of something that the application knows, or of something else.
fn parameter(name: &str, known: bool) -> &'static str {
    match (name, known) {
        ("userId" | "userid", true) => "%40known%3Ahs.test",
        ("roomAlias" | "alias", true) => "%23known%3Ahs.test",
        (_, true) => "known",
        (_, false) => "unknown",
    }
}

fn request(method: &str, path: &str, operation: &Value, known: bool, token: &str) -> Request<Body> {
    let mut uri = path.to_owned();
    let mut query = Vec::new();
    for one in operation["parameters"].as_array().into_iter().flatten() {
        let name = one["name"].as_str().unwrap();
        match one["in"].as_str().unwrap() {
            "path" => uri = uri.replace(&format!("{{{name}}}"), parameter(name, known)),
            "query" => query.push(format!("{name}={}", parameter(name, known))),
            other => panic!("a parameter in {other}, teach me"),
        }
    }
    assert!(!uri.contains('{'), "{uri}");
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let body = match &schema["example"] {
        Value::Null => Body::empty(),
        example => example.to_string().into(),
    };
    let mut request = Request::builder()
        .method(method.to_uppercase().as_str())
        .uri(format!("{uri}?{}", query.join("&")));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    request.body(body).unwrap()
}

#[tokio::test]
async fn each_answer_is_as_the_official_description_has_it() {
    let Some(description) = description() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let journal = journal(&folder).await;
    let router = router(journal.clone());
    let mut operations = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let asks = method == "get";
            let mut statuses = BTreeSet::new();
            for (known, token, expected) in [
                (true, HS_TOKEN, 200),
                (false, HS_TOKEN, if asks { 404 } else { 200 }),
                (true, "", 401),
                (true, "wrong", 403),
            ] {
                let at = format!("{method} {path}, {expected}");
                let answer = call(&router, request(method, path, operation, known, token)).await;
                assert_eq!(answer.status.as_u16(), expected, "{at}");
                assert_eq!(answer.content_type.as_deref(), Some("application/json"));
                let body = answer.json();
                let described = &operation["responses"][expected.to_string()];
                let schema = &described["content"]["application/json"]["schema"];
                if schema.is_object() {
                    assert_valid(schema, &body, &at);
                } else {
                    // Those for the token go without saying at two of the operations.
                    assert!(!asks && answer.status != StatusCode::OK, "{at}");
                    assert!(body["errcode"].is_string(), "{at}");
                }
                statuses.insert(expected.to_string());
            }
            let described = operation["responses"].as_object().unwrap().keys();
            let unseen: Vec<_> = described.filter(|one| !statuses.contains(*one)).collect();
            assert!(
                unseen.is_empty(),
                "{method} {path} was never answered {unseen:?}"
            );
        }
    }
    assert_eq!(operations, 9);
    let stored = journal.stats().await.unwrap();
    assert_eq!(stored.transactions, 2);
}
