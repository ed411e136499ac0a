//! The API, held against its description.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::*;
use crate::ops::{
    access::Access,
    flows::Direction,
    testing::{Asked, TOKEN, World},
};

const DESCRIPTION: &str = include_str!("../../../../../docs/api/operator.yaml");

fn description() -> Value {
    serde_yaml::from_str(DESCRIPTION).unwrap()
}

/// Follows a reference, where there is one.
fn resolve<'a>(all: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(place) => all.pointer(place.trim_start_matches('#')).unwrap(),
        None => schema,
    }
}

/// An answer has each key that is described, no other, and values of the described types.
fn hold(all: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolve(all, schema);
    if let Some(either) = schema["oneOf"].as_array() {
        if !value.is_null() {
            hold(all, &either[0], value, place);
        }
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = &schema["type"];
    let fits = kinds == kind
        || kinds
            .as_array()
            .is_some_and(|kinds| kinds.contains(&kind.into()));
    assert!(fits, "{place} is {kind}, described as {kinds}");
    if let Some(values) = schema["enum"].as_array() {
        assert!(values.contains(value), "{place} is {value}");
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        hold(all, &schema["items"], item, &format!("{place}[{index}]"));
    }
    if let Some(object) = value.as_object() {
        let properties = schema["properties"].as_object().unwrap();
        let there: BTreeSet<_> = object.keys().collect();
        assert_eq!(there, properties.keys().collect(), "{place}");
        let required = schema["required"].as_array().unwrap();
        assert_eq!(
            required.len(),
            properties.len(),
            "{place}: all are there always"
        );
        for (key, value) in object {
            hold(all, &properties[key], value, &format!("{place}.{key}"));
        }
    }
}

/// Holds an answer against what is described for this path, method and status.
fn check(path: &str, method: &str, answer: &Asked) -> Value {
    let all = description();
    let responses = &all["paths"][path][method]["responses"];
    let response = resolve(&all, &responses[answer.status.to_string()]);
    let schema = &response["content"]["application/json"]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path} is not described with {}",
        answer.status
    );
    let json = answer.json();
    hold(&all, schema, &json, path);
    json
}

#[tokio::test]
async fn answers_are_as_they_are_described() {
    let world = World::new().await;
    for number in 0..3 {
        let key = format!("Communication/{number}/1");
        world.dead_letter(&key, "content of a message").await;
    }
    for (server, resource, room) in [
        (None, "CareTeam/1", "!a:vvt"),
        (None, "CareTeam/2", "!b:vvt"),
        (Some("north"), "CareTeam/1", "!c:vvt"),
    ] {
        world.link(server, resource, room).await;
    }
    world.desk.components.set("database", None);
    world
        .desk
        .components
        .set("fhirServer", Some("it is away".to_owned()));
    world.desk.components.looked();
    let bridge = world.desk.servers.iter().next().unwrap();
    let deed = crate::mapping::audit_event::Deed::StoredInFhir;
    bridge.flows.count(Direction::ToFhir, deed);

    let status = check("/status", "get", &world.api("GET", "/api/v1/status").await);
    assert_eq!(status["ready"], false);
    assert_eq!(status["journal"]["dead_letters"], 3);
    assert_eq!(status["flows"]["to_fhir"].as_array().unwrap().len(), 60);
    assert_eq!(status["fhir"].as_array().unwrap().len(), 2 * TYPES);
    assert_eq!(status["federation"]["mode"], "closed");
    assert_eq!(status["federation"]["list"]["source"], "file");

    // Page by page.
    let answer = world.api("GET", "/api/v1/dead-letters?limit=2").await;
    assert!(!answer.body.contains("content of a message"));
    let first = check("/dead-letters", "get", &answer);
    assert_eq!(first["dead_letters"].as_array().unwrap().len(), 2);
    let next = format!("/api/v1/dead-letters?limit=2&after={}", first["next"]);
    let rest = check("/dead-letters", "get", &world.api("GET", &next).await);
    assert_eq!(
        (
            rest["dead_letters"].as_array().unwrap().len(),
            &rest["next"]
        ),
        (1, &Value::Null)
    );
    let mut found = Vec::new();
    let mut path = "/api/v1/links?limit=1".to_owned();
    for _ in 0..3 {
        let page = check("/links", "get", &world.api("GET", &path).await);
        found.push(page["links"][0]["room"].as_str().unwrap().to_owned());
        let next = page["next"].as_str().unwrap_or_default();
        path = format!("/api/v1/links?limit=1&after={next}");
    }
    assert_eq!(found, ["!a:vvt", "!b:vvt", "!c:vvt"]);
    for (query, rooms) in [
        ("resource=CareTeam/1", vec!["!a:vvt", "!c:vvt"]),
        ("room=%21b:vvt", vec!["!b:vvt"]),
        ("room=%21z:vvt", vec![]),
    ] {
        let path = format!("/api/v1/links?{query}");
        let page = check("/links", "get", &world.api("GET", &path).await);
        let links = page["links"].as_array().unwrap();
        let found: Vec<_> = links
            .iter()
            .filter_map(|link| link["room"].as_str())
            .collect();
        assert_eq!(found, rooms, "{query}");
    }

    // One of them, and what becomes of it.
    let id = first["dead_letters"][0]["id"].as_i64().unwrap();
    let one = format!("/api/v1/dead-letters/{id}");
    let letter = check("/dead-letters/{id}", "get", &world.api("GET", &one).await);
    assert_eq!(
        (&letter["error"], &letter["key"]),
        (&"odd resource".into(), &"Communication/0/1".into())
    );
    for (verdict, done) in [("retry", "retried"), ("skip", "skipped")] {
        let letters = world.api("GET", "/api/v1/dead-letters").await.json();
        let id = &letters["dead_letters"][0]["id"];
        let path = format!("/api/v1/dead-letters/{id}/{verdict}");
        let described = format!("/dead-letters/{{id}}/{verdict}");
        let settled = check(&described, "post", &world.api("POST", &path).await);
        assert_eq!((&settled["id"], &settled["done"]), (id, &done.into()));
        let again = world.api("POST", &path).await;
        assert_eq!(again.status, 404);
        check(&described, "post", &again);
    }
    let now = world.desk.journal.stats().await.unwrap();
    assert_eq!((now.dead, now.waiting, now.done), (1, 1, 1));
}

#[tokio::test]
async fn a_resource_is_looked_at_again_for_its_own_server_each_time_that_is_asked_for() {
    let world = World::new().await;
    let waiting = async || world.desk.journal.stats().await.unwrap().waiting;
    for (number, query) in [
        "resource=Communication/7",
        "resource=CareTeam/7&server=north",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = world.api("POST", &format!("/api/v1/replay?{query}")).await;
        let json = check("/replay", "post", &answer);
        assert_eq!(json["done"], "waits");
        assert_eq!(waiting().await, u64::try_from(number).unwrap() + 1);
    }
    for (query, status) in [
        ("resource=Patient/7", 400),
        ("resource=7", 400),
        ("", 400),
        ("resource=CareTeam/7&server=south", 404),
    ] {
        let answer = world.api("POST", &format!("/api/v1/replay?{query}")).await;
        assert_eq!(answer.status, status, "{query}");
        check("/replay", "post", &answer);
    }
    assert_eq!(waiting().await, 2);
}

const TYPES: usize = crate::puller::TYPES.len();

#[tokio::test]
async fn what_is_refused_is_said_in_json() {
    let world = World::new().await;
    let error = |answer: &Asked| answer.json()["error"].as_str().unwrap().to_owned();
    for headers in [
        vec![],
        vec![("authorization", "Bearer wrong")],
        vec![("authorization", "Basic example-token-of-operators")],
        vec![("authorization", "Bearer")],
        vec![("cookie", "fhir_bridge_session=example-token-of-operators")],
    ] {
        for path in ["/api/v1/status", "/api/v1/other"] {
            let answer = world.ask("GET", path, &headers, "").await;
            assert_eq!(answer.status, 401, "{headers:?}");
            assert!(error(&answer).contains("ops.token_file"));
            assert!(!answer.body.contains(TOKEN));
        }
    }
    for (method, path, status) in [
        ("GET", "/api/v1/other", 404),
        ("GET", "/api/v1", 404),
        ("POST", "/api/v1/status", 405),
        ("GET", "/api/v1/dead-letters/7", 404),
        ("GET", "/api/v1/dead-letters/x", 404),
        ("POST", "/api/v1/dead-letters/7/skip", 404),
        ("GET", "/api/v1/dead-letters?limit=many", 400),
        ("GET", "/api/v1/links?after=x", 400),
        ("GET", "/api/v1/links?person=x", 400),
    ] {
        let answer = world.api(method, path).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(!error(&answer).is_empty());
    }
}

#[tokio::test]
async fn whoever_guesses_the_token_has_to_wait() {
    let world = World::new().await;
    let wrong = [("authorization", "Bearer guess")];
    for _ in 0..5 {
        assert_eq!(
            world.ask("GET", "/api/v1/status", &wrong, "").await.status,
            401
        );
    }
    let answer = world.api("GET", "/api/v1/status").await;
    assert_eq!(
        (answer.status, answer.header(header::RETRY_AFTER)),
        (429, "60")
    );
}

#[tokio::test]
async fn on_this_machine_no_token_is_asked_for() {
    let world = World::with(Access::ThisMachine).await;
    assert_eq!(world.get("/api/v1/status").await.status, 200);
}

#[test]
fn ages_are_whole_seconds_and_never_negative() {
    let now = i64::try_from(Duration::from_mins(1).as_millis()).unwrap();
    assert_eq!(seconds_since(0, now), 60);
    assert_eq!(seconds_since(now, 0), 0);
    assert_eq!(time(0), "1970-01-01T00:00:00Z");
}
