//! What the homeserver sends: recorded requests, wrong ones, and anything at all.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use common::{Answer, HS_TOKEN, Running, call, journal, message, push, request, server};
use matrix_appservice::{AppService, Journal, Registration};
use proptest::prelude::*;
use serde_json::{Value, json};

const RECORDED: &str = include_str!("fixtures/synapse-transactions.jsonl");
const BRIDGE: &str = include_str!("../../../registration/fhir-bridge.yaml");

fn recorded() -> Vec<Value> {
    RECORDED
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A recorded request as it came, perhaps with another transaction id.
fn replayed(line: &Value, txn_id: Option<usize>) -> Request<Body> {
    let mut path = text(&line["path"]).to_owned();
    if let (Some(txn_id), Some((start, _))) = (txn_id, path.rsplit_once("transactions/")) {
        path = format!("{start}transactions/{txn_id}");
    }
    if let Some(query) = line["query"].as_str().filter(|query| !query.is_empty()) {
        path = format!("{path}?{query}");
    }
    let mut request = Request::builder().method(text(&line["method"])).uri(path);
    for header in line["headers"].as_array().unwrap() {
        request = request.header(text(&header[0]), text(&header[1]));
    }
    let body = match &line["body"] {
        Value::Null => Body::empty(),
        body => body.to_string().into(),
    };
    request.body(body).unwrap()
}

fn plain(journal: Journal) -> AppService {
    AppService::builder(
        common::registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal,
    )
    .build()
    .unwrap()
}

async fn router(folder: &tempfile::TempDir) -> Router {
    plain(journal(folder).await).router()
}

#[tokio::test]
async fn each_recorded_request_is_answered_and_each_event_handled_once() {
    let folder = tempfile::tempdir().unwrap();
    let seen: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let handled = seen.clone();
    let service = AppService::builder(
        Registration::parse(BRIDGE).unwrap(),
        "huisarts".try_into().unwrap(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal(&folder).await,
    )
    .on_event(move |_, event| {
        *handled
            .lock()
            .unwrap()
            .entry(event.event_id().to_string())
            .or_default() += 1;
        async { Ok(()) }
    })
    .on_user_query(|_, id| async move { Ok(id.as_str() == "@_fhir_bridge_lazyp2:huisarts") })
    .on_room_query(|_, alias| async move { Ok(alias.as_str() == "#_fhir_bridge_lazyp2:huisarts") })
    .build()
    .unwrap();
    let service = Running::start(service).await;

    let lines = recorded();
    assert_eq!(lines.len(), 68);
    for round in 0..3 {
        for (index, line) in lines.iter().enumerate() {
            let other_id = (round == 2).then_some(7_000_000 - index);
            let answer = call(&service.router, replayed(line, other_id)).await;
            // One was answered with a deliberate 500 when it was recorded.
            let expected = match line["answer"]["status"].as_u64().unwrap() {
                500 => 200,
                other => other,
            };
            assert_eq!(u64::from(answer.status.as_u16()), expected, "{}", line["n"]);
            if expected == 200 {
                assert_eq!(answer.json(), json!({}), "{}", line["n"]);
            } else {
                let code = &line["answer"]["body"]["errcode"];
                assert_eq!(&answer.json()["errcode"], code, "{}", line["n"]);
            }
        }
    }

    service.idle().await;
    let events: BTreeSet<_> = lines
        .iter()
        .filter_map(|line| line["body"]["events"].as_array())
        .flatten()
        .map(|event| text(&event["event_id"]).to_owned())
        .collect();
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!(stats.done, events.len() as u64);
    assert_eq!((stats.dead, stats.waiting, stats.transactions), (0, 0, 0));
    let seen = seen.lock().unwrap();
    assert!(seen.values().all(|times| *times == 1));
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), events);
}

#[tokio::test]
async fn a_query_without_a_handler_is_answered_with_no() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(&folder).await;
    for path in [
        "/_matrix/app/v1/users/%40_ghost_1%3Ahs.test",
        "/_matrix/app/v1/rooms/%23_portal_1%3Ahs.test",
    ] {
        let answer = call(&router, request("GET", path, "")).await;
        assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()));
    }
}

#[tokio::test]
async fn a_query_gets_the_decoded_id_and_survives_a_handler_that_panics() {
    let folder = tempfile::tempdir().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (users, rooms) = (asked.clone(), asked.clone());
    let router = AppService::builder(
        common::registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal(&folder).await,
    )
    .on_user_query(move |bot, id| {
        assert_eq!(bot.user_id(), "@bot:hs.test");
        if id.as_str().contains("panic") {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        users.lock().unwrap().push(id.to_string());
        async { Ok(true) }
    })
    .on_room_query(move |_, id| {
        rooms.lock().unwrap().push(id.to_string());
        async { std::panic::resume_unwind(Box::new("on purpose")) }
    })
    .build()
    .unwrap()
    .router();
    let get = |path: &'static str| call(&router, request("GET", path, ""));
    let answer = get("/_matrix/app/v1/users/%40_ghost_a%2Fb%2B%25%3Ahs.test").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})));
    assert_eq!(
        get("/_matrix/app/v1/rooms/%23_portal_%C3%A9%3Ahs.test")
            .await
            .error(),
        (500, "M_UNKNOWN".to_owned())
    );
    assert_eq!(
        get("/_matrix/app/v1/users/@panic:hs.test").await.error(),
        (500, "M_UNKNOWN".to_owned())
    );
    assert_eq!(
        *asked.lock().unwrap(),
        ["@_ghost_a/b+%:hs.test", "#_portal_é:hs.test"]
    );
    // What is no id doesn't exist, and nobody is asked.
    for path in [
        "/_matrix/app/v1/users/nobody",
        "/_matrix/app/v1/rooms/%23nowhere",
    ] {
        assert_eq!(get(path).await.error(), (404, "M_NOT_FOUND".to_owned()));
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
    for path in ["/_matrix/app/v1/users/%FF", "/_matrix/app/v1/rooms/%FF%FE"] {
        assert_eq!(get(path).await.error(), (400, "M_INVALID_PARAM".to_owned()));
    }
}

#[tokio::test]
async fn only_the_right_token_opens() {
    let folder = tempfile::tempdir().unwrap();
    let stored = journal(&folder).await;
    let router = plain(stored.clone()).router();
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let query = |token: &str| format!("?access_token={token}");
    let nothing = String::new;
    let wrong = "wrong-token-of-some-length";
    let missing = Some((401, "M_MISSING_TOKEN"));
    let forbidden = Some((403, "M_FORBIDDEN"));
    for (header, query, expected) in [
        (None, nothing(), missing),
        (None, "?other=1".to_owned(), missing),
        (bearer(HS_TOKEN), nothing(), None),
        (Some(format!("bEARER {HS_TOKEN}")), nothing(), None),
        (None, query(HS_TOKEN), None),
        (bearer(HS_TOKEN), query(HS_TOKEN), None),
        (bearer(wrong), nothing(), forbidden),
        (bearer(common::AS_TOKEN), nothing(), forbidden),
        (bearer(&HS_TOKEN[1..]), nothing(), forbidden),
        (bearer(&format!("{HS_TOKEN}x")), nothing(), forbidden),
        (bearer(&HS_TOKEN.to_uppercase()), nothing(), forbidden),
        (None, query(wrong), forbidden),
        (None, query(""), forbidden),
        (bearer(wrong), query(HS_TOKEN), forbidden),
        (bearer(HS_TOKEN), query(wrong), forbidden),
        (bearer(wrong), query(wrong), forbidden),
        (
            None,
            format!("{}&access_token={wrong}", query(HS_TOKEN)),
            forbidden,
        ),
        (Some("Bearer".to_owned()), nothing(), forbidden),
        (Some("Bearer ".to_owned()), nothing(), forbidden),
        (Some(HS_TOKEN.to_owned()), nothing(), forbidden),
        (Some(format!("Basic {HS_TOKEN}")), nothing(), forbidden),
        (Some("\u{e9}".to_owned()), nothing(), forbidden),
    ] {
        for (method, path, body) in [
            ("PUT", "/_matrix/app/v1/transactions/1", r#"{"events":[]}"#),
            ("POST", "/_matrix/app/v1/ping", "{}"),
            ("GET", "/_matrix/app/v1/users/@_ghost_1:hs.test", ""),
            ("GET", "/_matrix/app/v1/rooms/%23_portal_1:hs.test", ""),
            ("GET", "/_matrix/app/v1/thirdparty/protocol/irc", ""),
            ("GET", "/_matrix/app/unstable/thirdparty/user", ""),
            ("PUT", "/transactions/1", r#"{"events":[]}"#),
            ("GET", "/users/@_ghost_1:hs.test", ""),
            ("GET", "/rooms/%23_portal_1:hs.test", ""),
        ] {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{path}{query}"));
            if let Some(header) = &header {
                request = request.header("authorization", header.as_bytes());
            }
            let answer = call(&router, request.body(body.into()).unwrap()).await;
            match expected {
                None => assert!(
                    answer.status == StatusCode::OK || answer.error().1 == "M_NOT_FOUND",
                    "{header:?} {query}"
                ),
                Some((status, code)) => {
                    assert_eq!(
                        answer.error(),
                        (status, code.to_owned()),
                        "{header:?} {query}"
                    );
                }
            }
        }
    }
    let stats = stored.stats().await.unwrap();
    assert_eq!(stats.transactions, 8, "two for each that was let in");
}

#[tokio::test]
async fn of_two_headers_both_have_to_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(&folder).await;
    for (first, second, status) in [
        (HS_TOKEN, HS_TOKEN, StatusCode::OK),
        (HS_TOKEN, "wrong", StatusCode::FORBIDDEN),
        ("wrong", HS_TOKEN, StatusCode::FORBIDDEN),
    ] {
        let request = Request::builder()
            .method("POST")
            .uri("/_matrix/app/v1/ping")
            .header("authorization", format!("Bearer {first}"))
            .header("authorization", format!("Bearer {second}"));
        let answer = call(&router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{first} {second}");
    }
}

#[tokio::test]
async fn the_paths_of_old_lead_to_the_same_endpoints() {
    let folder = tempfile::tempdir().unwrap();
    let service = AppService::builder(
        common::registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal(&folder).await,
    )
    .on_user_query(|_, id| async move { Ok(id.as_str() == "@_ghost_a/b:hs.test") })
    .on_room_query(|_, alias| async move { Ok(alias.as_str() == "#_portal_1:hs.test") })
    .build()
    .unwrap();
    let router = service.router();
    let get = |path: &'static str| call(&router, request("GET", path, ""));
    for path in [
        "/users/%40_ghost_a%2Fb%3Ahs.test",
        "/rooms/%23_portal_1%3Ahs.test",
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({})));
    }
    let answer = get("/users/%40_ghost_2%3Ahs.test").await;
    assert_eq!(answer.error(), (404, "M_NOT_FOUND".to_owned()));
    let event = message("$1", "!a", "@a:b", "x");
    let body = json!({"events": [event]}).to_string();
    let answer = call(&router, request("PUT", "/transactions/1", body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let stats = service.journal().stats().await.unwrap();
    assert_eq!(stats.transactions, 1);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(&folder).await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/_matrix/app/v1", 404),
        ("GET", "/_matrix/app/v2/ping", 404),
        ("PUT", "/_matrix/app/v1/transactions", 404),
        ("PUT", "/_matrix/app/v1/transactions/", 404),
        ("PUT", "/_matrix/app/v1/transactions/1/2", 404),
        (
            "POST",
            "/_matrix/app/unstable/org.matrix.msc3983/keys/claim",
            404,
        ),
        (
            "POST",
            "/_matrix/app/unstable/org.matrix.msc3984/keys/query",
            404,
        ),
        ("GET", "/_matrix/app/unstable/users/@a:b", 404),
        ("POST", "/ping", 404),
        ("GET", "/transactions/1", 405),
        ("PUT", "/_matrix/app/v1/thirdparty/user", 405),
        ("GET", "/_matrix/app/v1/transactions/1", 405),
        ("POST", "/_matrix/app/v1/transactions/1", 405),
        ("DELETE", "/_matrix/app/v1/users/@a:b", 405),
        ("PUT", "/_matrix/app/v1/rooms/%23a:b", 405),
        ("GET", "/_matrix/app/v1/ping", 405),
        ("OPTIONS", "/_matrix/app/v1/ping", 405),
    ] {
        let answer = call(&router, request(method, path, "{}")).await;
        assert_eq!(
            answer.error(),
            (status, "M_UNRECOGNIZED".to_owned()),
            "{method} {path}"
        );
        // Also for those who show no token.
        let request = Request::builder().method(method).uri(path);
        let answer = call(&router, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_transaction_is_refused_and_nothing_stored() {
    let folder = tempfile::tempdir().unwrap();
    let stored = journal(&folder).await;
    let router = plain(stored.clone()).router();
    let path = "/_matrix/app/v1/transactions/1";
    for (body, code) in [
        ("", "M_NOT_JSON"),
        ("not json", "M_NOT_JSON"),
        ("{\"events\":[", "M_NOT_JSON"),
        ("{}", "M_BAD_JSON"),
        ("[]", "M_BAD_JSON"),
        (r#"{"events":{}}"#, "M_BAD_JSON"),
        ("[[]]", "M_BAD_JSON"),
        (
            "[[],null,null,null,null,null,null,null,null,null,null,null]",
            "M_BAD_JSON",
        ),
    ] {
        let answer = call(&router, request("PUT", path, body)).await;
        assert_eq!(answer.error(), (400, code.to_owned()), "{body}");
    }
    let stats = stored.stats().await.unwrap();
    assert_eq!(stats.transactions, 0);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_and_one_at_the_limit_taken() {
    let folder = tempfile::tempdir().unwrap();
    let router = AppService::builder(
        common::registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal(&folder).await,
    )
    .max_body_bytes(1000)
    .build()
    .unwrap()
    .router();
    let body = |bytes: usize| {
        let empty = r#"{"events":[],"x":""}"#.len();
        format!(r#"{{"events":[],"x":"{}"}}"#, "y".repeat(bytes - empty))
    };
    let put = |body: String| {
        call(
            &router,
            request("PUT", "/_matrix/app/v1/transactions/1", body),
        )
    };
    assert_eq!(put(body(1000)).await.status, StatusCode::OK);
    assert_eq!(
        put(body(1001)).await.error(),
        (413, "M_TOO_LARGE".to_owned())
    );
}

#[tokio::test]
async fn the_default_limit_takes_a_hundred_of_the_largest_events_three_times_over() {
    let folder = tempfile::tempdir().unwrap();
    let router = router(&folder).await;
    let events: Vec<_> = (0..300)
        .map(|nth| message(&format!("${nth}"), "!a", "@a:b", &"x".repeat(64 * 1024)))
        .collect();
    assert_eq!(push(&router, "1", &events).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_event_that_can_not_be_read_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let handled = seen.clone();
    let service = AppService::builder(
        common::registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal(&folder).await,
    )
    .on_event(move |_, event| {
        handled.lock().unwrap().push(event.event_id().to_string());
        async { Ok(()) }
    })
    .build()
    .unwrap();
    let service = Running::start(service).await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let mut odd = message("$deep", "!a", "@a:b", "x").to_string();
    odd.truncate(odd.len() - 1);
    let body = format!(
        r#"{{"events":[{},null,17,"text",[],{{}},{{"event_id":"$x"}},{{"event_id":"$y","room_id":"!a"}},
            ["$v","!a","@a:b","m",null,{{}}],{{"event_id":"$w\u0000","room_id":"!a"}},
            {{"event_id":"$z","room_id":"!a","sender":"nobody","type":"m"}},{odd},"deep":{deep}}},{}]}}"#,
        message("$1", "!a", "@a:b", "first"),
        message("$2", "!a", "@a:b", "second"),
    );
    let path = "/_matrix/app/v1/transactions/1";
    for _ in 0..2 {
        let answer = call(&service.router, request("PUT", path, body.clone())).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    service.idle().await;
    let stats = service.stop().await.stats().await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["$1", "$deep", "$2"]);
    assert_eq!((stats.done, stats.dead), (3, 10));
}

fn assert_well_formed(answer: &Answer) {
    assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    let body = answer.json();
    if answer.status == StatusCode::OK {
        assert_eq!(body, json!({}));
    } else {
        assert!(answer.status.is_client_error(), "{}", answer.status);
        assert!(body["errcode"].as_str().unwrap().starts_with("M_"));
        assert!(body["error"].is_string());
    }
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![
        "/[!-~]{0,40}",
        "/_matrix/app/v1/(transactions|users|rooms|ping)(/([!-~]|%[0-9A-F]{2}){0,20}){0,3}",
        "/(transactions|users|rooms)(/([!-~]|%[0-9A-F]{2}){0,20}){0,3}",
        "/_matrix/app/(v1|unstable)/thirdparty/(user|location|protocol)(/[!-~]{0,9})?(\\?([!-~]|%[0-9A-F]{2}){0,30})?",
        "/_matrix/app/v1/thirdparty/(user\\?userid=@|location\\?alias=%23)[a-z]{0,3}:?[!-~]{0,5}",
        "/_matrix/app/v1/(transactions|users|rooms)/\\PC{0,20}".prop_map(|path| {
            percent_encoding::utf8_percent_encode(&path, percent_encoding::CONTROLS).to_string()
        }),
        "(/_matrix|/app|/v1|/transactions|/%2e%2e|/\\.\\.|//){0,6}",
    ]
}

/// What transactions have besides events, and what is in it.
const KEYS: [&str; 14] = [
    "type",
    "sender",
    "user_ids",
    "m.read",
    "@a:b",
    "to_user_id",
    "to_device_id",
    "org.matrix.msgid",
    "ephemeral",
    "de.sorunome.msc2409.ephemeral",
    "de.sorunome.msc2409.to_device",
    "org.matrix.msc3202.device_lists",
    "org.matrix.msc3202.device_one_time_keys_count",
    "org.matrix.msc3202.device_unused_fallback_key_types",
];

/// Something like an ephemeral event or a message to a device.
fn nearly_ephemeral() -> impl Strategy<Value = Value> {
    let kind = "m\\.(typing|receipt|presence|room_key)";
    (kind, any_json(), any_json(), any_json(), 0..5).prop_map(|(kind, a, b, c, shape)| {
        let content = match shape {
            0 => a.clone(),
            1 => json!({"user_ids": a, "presence": b, "org.matrix.msgid": c}),
            2 => json!({"$1": {"m.read": {"@a:b": a, "@c:d": {"ts": b}}, "m.x": b}, "$2": c}),
            3 => json!({"user_ids": ["@a:b"], "presence": "online", "status_msg": a}),
            _ => json!({"$1": {"m.read": {"@a:b": {"ts": 1, "thread_id": a}}}}),
        };
        let mut event = json!({"type": kind, "room_id": "!a", "sender": "@a:b",
            "to_user_id": "@_ghost_1:hs.test", "to_device_id": "D", "content": content});
        if shape == 1 {
            event["room_id"] = b;
            event["to_device_id"] = c;
        }
        event
    })
}

/// A transaction with events that are none, and more.
fn any_transaction() -> impl Strategy<Value = Value> {
    let events = prop::collection::vec(any_json(), 0..4);
    let passing = prop_oneof![
        prop::collection::vec(nearly_ephemeral(), 0..4).prop_map(Value::from),
        any_json(),
    ];
    let key = prop::sample::select(&KEYS[8..]);
    let more = prop::collection::vec((key, prop_oneof![passing.clone(), any_json()]), 0..4);
    let devices = (any_json(), any_json())
        .prop_map(|(a, b)| json!({"@a:b": {"D": a, "E": {"signed_curve25519": 7}}, "@c:d": b}));
    (events, passing, more, devices).prop_map(|(events, passing, more, devices)| {
        let mut body = json!({
            "events": events, "ephemeral": passing, "to_device": passing,
            "device_lists": {"changed": passing, "left": ["@a:b"]},
            "device_one_time_keys_count": devices, "device_unused_fallback_key_types": passing,
        });
        for (key, value) in more {
            body[key] = value;
        }
        body
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,10}".prop_map(Value::from),
        "[$!@#][a-z]{0,3}(:b)?".prop_map(Value::from),
        "m\\.(read|typing|receipt|presence|room\\.message)".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![
            Just("events".to_owned()),
            Just("event_id".to_owned()),
            Just("room_id".to_owned()),
            Just("content".to_owned()),
            prop::sample::select(&KEYS[..]).prop_map(ToOwned::to_owned),
            "\\PC{0,5}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key, inner.clone(), 0..6)
                .prop_map(|map| map.into_iter().collect::<Value>()),
            prop::collection::vec(inner, 0..6).prop_map(|events| json!({"events": events})),
        ]
    })
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any_json().prop_map(|json| json.to_string().into_bytes()),
        (any_json(), 0..100_usize).prop_map(|(json, cut)| {
            let mut bytes = json.to_string().into_bytes();
            bytes.truncate(cut);
            bytes
        }),
    ]
}

#[test]
fn whatever_comes_is_answered_in_json_and_nothing_panics() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let service = runtime.block_on(async {
        let service = AppService::builder(
            common::registration(),
            server(),
            "http://127.0.0.1:9".parse().unwrap(),
            journal(&folder).await,
        )
        .on_typing(|_, _| async { Ok(()) })
        .on_receipt(|_, _| async { Ok(()) })
        .on_presence(|_, _| async { Ok(()) })
        .on_to_device(|_, _| async { Ok(()) })
        .on_device_lists(|_, _| async { Ok(()) })
        .on_key_counts(|_, _| async { Ok(()) })
        .build()
        .unwrap();
        Running::start(service).await
    });
    let method = prop_oneof!["GET|PUT|POST|DELETE|PATCH|OPTIONS|TRACE|[A-Z]{1,8}"];
    proptest!(ProptestConfig::with_cases(400), |(
        method in method,
        path in any_path(),
        body in any_body(),
        authorized in prop::bool::weighted(0.9),
    )| {
        let method: Method = method.parse().unwrap();
        // Its answers have no body.
        prop_assume!(method != Method::HEAD);
        let mut request = Request::builder().method(method).uri(&path);
        if authorized {
            request = request.header("authorization", format!("Bearer {HS_TOKEN}"));
        }
        let Ok(request) = request.body(Body::from(body)) else {
            return Err(TestCaseError::reject("no URI"));
        };
        let answer = runtime.block_on(call(&service.router, request));
        assert_well_formed(&answer);
    });
    // Transactions in particular, and what is in them.
    proptest!(ProptestConfig::with_cases(200), |(events in prop::collection::vec(any_json(), 0..8))| {
        let answer = runtime.block_on(push(&service.router, "1", &events));
        prop_assert_eq!(answer.status, StatusCode::OK);
    });
    proptest!(ProptestConfig::with_cases(400), |(body in any_transaction())| {
        let body = body.to_string();
        let put = request("PUT", "/_matrix/app/v1/transactions/1", body);
        let answer = runtime.block_on(call(&service.router, put));
        prop_assert_eq!(answer.status, StatusCode::OK);
    });
    runtime.block_on(async {
        service.idle().await;
        // Something of each kind was read all the same, and what was not is a dead letter.
        let dead = service.journal.dead_letters(0, 10_000).await.unwrap();
        for class in [
            "to-device message without sender",
            "device lists that",
            "key counts that",
        ] {
            assert!(
                dead.iter().any(|letter| letter.error.starts_with(class)),
                "{class}"
            );
        }
        let odd: Vec<_> = dead
            .iter()
            .filter(|letter| letter.error.contains("entry that"))
            .collect();
        assert!(odd.is_empty(), "what was taken in can be read: {odd:?}");
        service.stop().await;
    });
}
