use axum::{body::Body, http::Request};
use fhir::ResourceRef;
use matrix_appservice::{AppService, ruma::RoomId};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::servers::{Servers, testing::Made};

const TOKEN: &str = "an-example-token-of-some-length";
const BASE: &str = "/_matrix/provision/v1";

/// An API with two FHIR servers, and peers that are away.
struct Place {
    router: Router,
    servers: Servers,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn open() -> Self {
        let made = Made::with(json!({
            "fhir_servers": [
                {"url": "http://127.0.0.1:9/fhir"},
                {"name": "north", "url": "http://127.0.0.1:9/north"},
            ],
        }));
        let Made {
            folder,
            config,
            registration,
            journal,
            servers,
        } = made.await;
        let provision = Provision::new(&servers, &config);
        let (name, url) = (&config.homeserver.name, config.homeserver.url.clone());
        let app = AppService::builder(registration, name, url, journal);
        let app = app.build().unwrap();
        let bot = app.intent(app.client().sender(), "test");
        let api = Api::new(&provision, bot, TOKEN.to_owned().into());
        Self {
            router: app.router().merge(router(api)),
            servers,
            _folder: folder,
        }
    }

    async fn call(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 100_000)
            .await
            .unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("{BASE}/{path}"))
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.call(request).await
    }

    /// The status and the error code.
    async fn refused(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (status, answer) = self.ask(method, path, body).await;
        assert_valid(&schema("Error"), &answer, &format!("{method} {path}"));
        (status, answer["errcode"].as_str().unwrap().to_owned())
    }

    async fn linked(&self, server: Option<&str>, thread: u32, room: &str) {
        let mut all = self.servers.iter();
        let bridge = all.find(|one| one.name.as_deref() == server).unwrap();
        let thread = ResourceRef::parse(&format!("CommunicationRequest/{thread}")).unwrap();
        let room = RoomId::parse(room).unwrap();
        bridge.links.take_room(&thread, &room, false).await.unwrap();
    }
}

fn description() -> Value {
    let text = include_str!("../../../../../docs/api/provisioning.yaml");
    serde_yaml::from_str(text).unwrap()
}

fn schema(name: &str) -> Value {
    let schema = description()["components"]["schemas"][name].take();
    assert!(schema.is_object(), "{name}");
    schema
}

/// The part of JSON Schema that the description uses for answers.
fn assert_valid(schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return assert_valid(&self::schema(name), value, at);
    }
    match schema["type"].as_str() {
        Some("object") => assert!(value.is_object(), "{at}: an object, not {value}"),
        Some("array") => assert!(value.is_array(), "{at}: a list, not {value}"),
        Some("string") => assert!(value.is_string(), "{at}: a text, not {value}"),
        other => panic!("{at}: the schema says {other:?}, teach me"),
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(value.get(name).is_some(), "{at}: no {name}");
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let known = &schema["properties"][name];
        assert!(known.is_object(), "{at}: {name} is not described");
        assert_valid(known, value, &format!("{at}/{name}"));
    }
    for value in value.as_array().into_iter().flatten() {
        assert_valid(&schema["items"], value, at);
    }
}

#[tokio::test]
async fn each_endpoint_that_is_described_is_there_and_has_no_other_methods() {
    let place = Place::open().await;
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 4);
    for (path, operations) in paths {
        let path = path.strip_prefix(BASE).unwrap().trim_start_matches('/');
        let path = path
            .replace("{room_id}", "!r:vvt")
            .replace("{resource_type}/{id}", "CareTeam/1");
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            let described = operations.get(method.to_lowercase()).is_some();
            let (status, answer) = place.ask(method, &path, "{}").await;
            assert_eq!(status != 405, described, "{method} {path}: {answer}");
            if !described {
                assert_eq!(answer["errcode"], "M_UNRECOGNIZED", "{method} {path}");
            }
            // And what is answered is a status that is described.
            let operation = &operations[method.to_lowercase()];
            let statuses = operation["responses"].as_object();
            let known = statuses.is_some_and(|all| all.contains_key(&status.to_string()));
            assert_eq!(known, described, "{method} {path}: {status}");
        }
    }
    assert_eq!(place.ask("GET", "other", "").await.0, 404);
}

#[tokio::test]
async fn without_the_token_nothing_is_told_or_done() {
    let place = Place::open().await;
    place.linked(None, 7, "!r:vvt").await;
    for (method, path) in [
        ("GET", "status"),
        ("GET", "links"),
        ("GET", "links/!r:vvt"),
        ("PUT", "links/!r:vvt"),
        ("DELETE", "links/!r:vvt"),
        ("DELETE", "unlinked/CareTeam/1"),
    ] {
        for (header, errcode) in [
            (None, "M_MISSING_TOKEN"),
            (
                Some("Bearer another-token-of-some-length"),
                "M_UNKNOWN_TOKEN",
            ),
            (Some("Bearer "), "M_UNKNOWN_TOKEN"),
            (Some(TOKEN), "M_UNKNOWN_TOKEN"),
        ] {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{BASE}/{path}?access_token={TOKEN}"));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }
            let (status, answer) = place.call(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                (status, answer["errcode"].as_str()),
                (401, Some(errcode)),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        place.ask("GET", "links/!r:vvt", "").await.0,
        200,
        "it is still there"
    );
}

#[tokio::test]
async fn what_can_not_be_is_refused_before_anybody_is_asked() {
    let place = Place::open().await;
    let put = "links/!r:vvt";
    let long = format!(
        r#"{{"resource": "CareTeam/1", "server": "{}"}}"#,
        "x".repeat(20_000)
    );
    for (method, path, body, status, errcode) in [
        ("PUT", put, "", 400, "M_NOT_JSON"),
        ("PUT", put, "{", 400, "M_NOT_JSON"),
        ("PUT", put, "[]", 400, "M_BAD_JSON"),
        ("PUT", put, "{}", 400, "M_BAD_JSON"),
        ("PUT", put, r#"{"resource": 7}"#, 400, "M_BAD_JSON"),
        (
            "PUT",
            put,
            r#"{"resource": "CareTeam/1", "other": 1}"#,
            400,
            "M_BAD_JSON",
        ),
        (
            "PUT",
            put,
            r#"{"resource": "CareTeam"}"#,
            400,
            "M_INVALID_PARAM",
        ),
        (
            "PUT",
            put,
            r#"{"resource": "Patient/1"}"#,
            400,
            "M_INVALID_PARAM",
        ),
        (
            "PUT",
            put,
            r#"{"resource": "CareTeam/1", "server": "x"}"#,
            404,
            "M_NOT_FOUND",
        ),
        ("PUT", put, &long, 413, "M_TOO_LARGE"),
        (
            "PUT",
            "links/alias",
            r#"{"resource": "CareTeam/1"}"#,
            400,
            "M_INVALID_PARAM",
        ),
        // The FHIR server is away.
        (
            "PUT",
            put,
            r#"{"resource": "CareTeam/1"}"#,
            503,
            "M_UNKNOWN",
        ),
        ("GET", "links/%23a:vvt", "", 400, "M_INVALID_PARAM"),
        ("GET", "links/%FF", "", 400, "M_INVALID_PARAM"),
        ("GET", "links/!none:vvt", "", 404, "M_NOT_FOUND"),
        ("GET", "links?limit=0", "", 400, "M_INVALID_PARAM"),
        ("GET", "links?limit=1&limit=2", "", 400, "M_INVALID_PARAM"),
        ("GET", "links?resource=x", "", 400, "M_INVALID_PARAM"),
        ("DELETE", "links/!none:vvt", "", 404, "M_NOT_FOUND"),
        (
            "DELETE",
            "links/!r:vvt?keep=maybe",
            "",
            400,
            "M_INVALID_PARAM",
        ),
        ("DELETE", "unlinked/care/1", "", 400, "M_INVALID_PARAM"),
        ("DELETE", "unlinked/CareTeam/1", "", 404, "M_NOT_FOUND"),
    ] {
        let (answered, code) = place.refused(method, path, body).await;
        assert_eq!(
            (answered, &*code),
            (status, errcode),
            "{method} {path} {body:.60}"
        );
    }
}

#[tokio::test]
async fn links_of_all_servers_are_listed_undone_and_released() {
    let place = Place::open().await;
    place.linked(None, 1, "!c:vvt").await;
    place.linked(None, 2, "!a:vvt").await;
    place.linked(Some("north"), 1, "!b:vvt").await;

    let (_, status) = place.ask("GET", "status", "").await;
    assert_valid(&schema("Status"), &status, "status");
    assert_eq!(status["user_id"], "@_fhir:vvt");
    assert_eq!(status["servers"], json!([{}, {"name": "north"}]));

    let mut rooms = Vec::new();
    let mut path = "links?limit=2".to_owned();
    loop {
        let (status, page) = place.ask("GET", &path, "").await;
        assert_eq!(status, 200);
        assert_valid(&schema("Page"), &page, &path);
        let links = page["links"].as_array().unwrap().clone();
        rooms.extend(
            links
                .iter()
                .map(|link| link["room_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("links?limit=2&from={next}");
    }
    assert_eq!(rooms, ["!a:vvt", "!b:vvt", "!c:vvt"]);

    let (_, page) = place.ask("GET", "links?server=north", "").await;
    assert_eq!(page["links"][0]["room_id"], "!b:vvt");
    assert_eq!(page["links"].as_array().unwrap().len(), 1);

    let of_one = "links?resource=CommunicationRequest/1";
    let (_, page) = place.ask("GET", of_one, "").await;
    assert_eq!(page["links"].as_array().unwrap().len(), 2);
    let (_, page) = place
        .ask("GET", &format!("{of_one}&server=north"), "")
        .await;
    let expected =
        json!({"room_id": "!b:vvt", "resource": "CommunicationRequest/1", "server": "north"});
    assert_eq!(page, json!({"links": [expected]}));
    assert_eq!(place.ask("GET", "links/!b:vvt", "").await, (200, expected));

    // Undone, and that again; then it may have a room again.
    for _ in 0..2 {
        assert_eq!(
            place.ask("DELETE", "links/!b:vvt", "").await,
            (200, json!({}))
        );
        assert_eq!(place.ask("GET", "links/!b:vvt", "").await.0, 404);
    }
    let release = "unlinked/CommunicationRequest/1";
    assert_eq!(
        place.refused("DELETE", release, "").await.0,
        404,
        "that is the other server's"
    );
    let release = format!("{release}?server=north");
    assert_eq!(place.ask("DELETE", &release, "").await, (200, json!({})));
    assert_eq!(place.refused("DELETE", &release, "").await.0, 404);
    assert_eq!(place.refused("DELETE", "links/!b:vvt", "").await.0, 404);
}
