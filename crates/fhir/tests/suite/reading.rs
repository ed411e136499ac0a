//! Reading, searching and the faults of transport.

use std::time::Duration;

use fhir::{
    BaseUrlError, Error, FhirClient, ResourceRef, ResourceType, Retry, SetupError, Unavailable,
};
use serde_json::json;

use crate::stub::{Stub, answer};

fn team() -> ResourceRef {
    ResourceRef::try_new(ResourceType::CareTeam, "7").unwrap()
}

async fn read_error(stub: &Stub) -> Error {
    stub.client().read(&team()).await.unwrap_err()
}

#[tokio::test]
async fn a_resource_is_read_with_version_and_time() {
    let body = json!({"resourceType": "CareTeam", "id": "7", "x": 1,
        "meta": {"versionId": "3", "lastUpdated": "2026-11-21T10:00:00.120+01:00"}});
    let stub = Stub::new([answer(200).json(&body)]).await;
    let client = stub
        .builder()
        .bearer("t0ken".to_owned().into())
        .build()
        .unwrap();
    let team = client.read(&team()).await.unwrap().unwrap();
    assert_eq!(team.version_id.as_deref(), Some("3"));
    assert_eq!(
        team.last_updated.as_ref().unwrap().as_str(),
        "2026-11-21T10:00:00.120+01:00"
    );
    assert_eq!(team.json, body);
    let seen = stub.seen();
    assert_eq!(seen[0].line, "GET /fhir/CareTeam/7");
    assert_eq!(seen[0].header("authorization"), Some("Bearer t0ken"));
    assert_eq!(seen[0].header("accept"), Some("application/fhir+json"));
    assert_eq!(seen[0].header("cache-control"), Some("no-cache"));
}

#[tokio::test]
async fn what_is_asked_because_of_one_thing_bears_one_id() {
    let found = || answer(200).json(&json!({"resourceType": "CareTeam", "id": "7"}));
    let stub = Stub::new([found(), found()]).await;
    let client = stub.client();
    fhir::correlated("matrix-17", client.read(&team()))
        .await
        .unwrap();
    client.read(&team()).await.unwrap();
    let seen = stub.seen();
    assert_eq!(seen[0].header("x-correlation-id"), Some("matrix-17"));
    assert!(
        seen[0]
            .header("x-request-id")
            .unwrap()
            .starts_with("matrix-17.")
    );
    assert_eq!(seen[1].header("x-correlation-id"), None);
}

#[tokio::test]
async fn version_and_time_come_from_the_headers_when_the_body_has_none() {
    let stub = Stub::new([answer(200)
        .header("etag", "W/\"12\"")
        .header("last-modified", "Sat, 21 Nov 2026 09:00:00 GMT")
        .text("\u{FEFF}{\"resourceType\":\"CareTeam\",\"id\":\"7\"}")])
    .await;
    let team = stub.client().read(&team()).await.unwrap().unwrap();
    assert_eq!(team.version_id.as_deref(), Some("12"));
    assert_eq!(team.last_updated.unwrap().as_str(), "2026-11-21T09:00:00Z");
}

#[tokio::test]
async fn what_is_missing_or_deleted_is_none() {
    let outcome = json!({"resourceType": "OperationOutcome"});
    let stub = Stub::new([answer(404).json(&outcome), answer(404), answer(410)]).await;
    let client = stub.client();
    assert_eq!(client.read(&team()).await.unwrap(), None);
    assert_eq!(client.read(&team()).await.unwrap(), None);
    assert_eq!(client.read(&team()).await.unwrap(), None);
}

#[tokio::test]
async fn a_404_page_of_something_else_does_not_mean_that_the_resource_is_gone() {
    for page in [
        "<h1>Not Found</h1>",
        "default backend - 404",
        r#"{"status":404,"error":"Not Found"}"#,
    ] {
        let stub = Stub::new([answer(404).text(page)]).await;
        let error = read_error(&stub).await;
        assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
        assert_eq!(error.retry(), Retry::Later(None));
    }
}

#[tokio::test]
async fn a_busy_server_says_how_long_to_wait() {
    for (header, wait) in [
        ("7", Some(Duration::from_secs(7))),
        ("999999999999", Some(Duration::from_hours(1))),
        ("Fri, 01 Jan 2021 00:00:00 GMT", Some(Duration::ZERO)),
        ("soon", None),
    ] {
        let stub = Stub::new([answer(429).header("retry-after", header)]).await;
        let error = read_error(&stub).await;
        assert_eq!(error.retry(), Retry::Later(wait), "{header}");
        assert!(matches!(
            error,
            Error::Unavailable {
                reason: Unavailable::Status(429),
                ..
            }
        ));
    }
}

#[tokio::test]
async fn each_status_says_what_to_do() {
    for (status, retry) in [
        (500, Retry::Later(None)),
        (502, Retry::Later(None)),
        (503, Retry::Later(None)),
        (504, Retry::Later(None)),
        (408, Retry::Later(None)),
        (401, Retry::Later(None)),
        (403, Retry::Later(None)),
        (302, Retry::Later(None)),
        (400, Retry::Never),
        (422, Retry::Never),
        (501, Retry::Never),
    ] {
        let stub = Stub::new([answer(status).header("location", "/fhir/CareTeam/8")]).await;
        let error = read_error(&stub).await;
        assert_eq!(error.retry(), retry, "{status}");
        let redirects = matches!(error, Error::BadAnswer { .. });
        assert_eq!(redirects, status == 302, "{error}");
        assert!(
            error
                .to_string()
                .contains("GET CareTeam/[id] at http://127.0.0.1:"),
            "{error}"
        );
        assert_eq!(stub.seen().len(), 1, "nothing is repeated or followed");
    }
}

#[tokio::test]
async fn a_refusal_names_codes_and_elements_and_no_more() {
    let stub = Stub::new([answer(422).json(&json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": "code-invalid", "expression": ["Communication.payload[0].content"], "diagnostics": "Jansen"},
        {"severity": "error", "code": "required", "expression": ["Communication.extension('Jansen')"]},
        {"severity": "error", "code": "value", "location": ["Communication.Jansen"]},
        {"severity": "warning", "code": "informational"},
        {"severity": "error", "code": "Jansen"},
        "Jansen",
    ]}))])
    .await;
    let error = read_error(&stub).await;
    let text = error.to_string();
    assert!(
        text.ends_with(
            "status 422: code-invalid at Communication.payload[0].content, required, value"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn no_connection_and_no_answer_are_unavailable() {
    let closed = FhirClient::builder("http://127.0.0.1:9/fhir")
        .build()
        .unwrap();
    let error = closed.read(&team()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable { reason: Unavailable::Connect(cause), .. } if cause.contains("refused")),
        "{error}"
    );

    let stub = Stub::new([answer(200).after(Duration::from_secs(5))]).await;
    let hasty = stub
        .builder()
        .timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    let error = hasty.read(&team()).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unavailable {
                reason: Unavailable::Timeout,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Later(None));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unavailable() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/fhir", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let _ = socket.read(&mut [0; 4096]).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"resourceType\"")
            .await
            .unwrap();
    });
    let error = FhirClient::builder(&base)
        .build()
        .unwrap()
        .read(&team())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unavailable {
                reason: Unavailable::Interrupted,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_and_an_error_page_over_it_keeps_its_status() {
    let big = "x".repeat(2000);
    let stub = Stub::new([answer(200).text(big.clone()), answer(503).text(big)]).await;
    let client = stub.builder().max_body_bytes(1000).build().unwrap();
    let error = client.read(&team()).await.unwrap_err();
    assert!(
        matches!(error, Error::BadAnswer { what, .. } if what.contains("larger")),
        "{error}"
    );
    let error = client.read(&team()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_the_resource_is_a_bad_answer() {
    for body in [
        "<html>log in</html>",
        "",
        "[]",
        "{}",
        r#"{"resourceType":"CareTeam"}"#,
        r#"{"resourceType":"CareTeam","id":"8"}"#,
        r#"{"resourceType":"Patient","id":"7"}"#,
        r#"{"resourceType":"CareTeam","id":"../7"}"#,
    ] {
        let stub = Stub::new([answer(200).text(body)]).await;
        let error = read_error(&stub).await;
        assert!(matches!(error, Error::BadAnswer { .. }), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_search_is_posted_and_follows_its_pages() {
    let stub = Stub::new([]).await;
    let bundle = |ids: &[&str], next: Option<String>| {
        let entries: Vec<_> = ids
            .iter()
            .map(|id| json!({"resource": {"resourceType": "Patient", "id": id}}))
            .collect();
        let links: Vec<_> = next
            .iter()
            .map(|url| json!({"relation": "next", "url": url}))
            .collect();
        json!({"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})
    };
    stub.then(answer(200).json(&bundle(
        &["1"],
        Some(format!("{}?_getpages=abc&_offset=1", stub.base())),
    )));
    // A server that repeats the search in its link: followed by POST, so that no value is in a URL.
    let repeating = format!("{}/Patient?identifier=urn:x%7Cn%201&_cursor=2", stub.base());
    stub.then(answer(200).json(&bundle(&["2"], Some(repeating))));
    stub.then(answer(200).json(&bundle(
        &["3"],
        Some("Patient/_search?_cursor=3".to_owned()),
    )));
    stub.then(answer(200).json(&bundle(&["4"], None)));
    let found = stub
        .client()
        .search(&ResourceType::Patient, &[("identifier", "urn:x|n 1")], 50)
        .await
        .unwrap();
    let ids: Vec<_> = found.resources.iter().map(|r| r.reference.id()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert!(!found.more);
    assert_eq!(
        stub.lines(),
        [
            "POST /fhir/Patient/_search",
            "GET /fhir?_getpages=abc&_offset=1",
            "POST /fhir/Patient/_search",
            "GET /fhir/Patient/_search?_cursor=3",
        ]
    );
    let seen = stub.seen();
    assert_eq!(
        seen[0].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        seen[0].form(),
        [
            ("identifier".into(), "urn:x|n 1".into()),
            ("_count".into(), "50".into())
        ]
    );
    assert_eq!(
        seen[2].form(),
        [
            ("identifier".into(), "urn:x|n 1".into()),
            ("_cursor".into(), "2".into())
        ]
    );
}

#[tokio::test]
async fn a_search_stops_at_its_limit_and_says_that_there_is_more() {
    let stub = Stub::new([]).await;
    stub.then(answer(200).json(&json!({"resourceType": "Bundle",
        "link": [{"relation": "next", "url": stub.base()}],
        "entry": [{"resource": {"resourceType": "Patient", "id": "1"}}, {"resource": {"resourceType": "Patient", "id": "2"}}]})));
    let found = stub
        .client()
        .search(&ResourceType::Patient, &[], 2)
        .await
        .unwrap();
    assert_eq!(found.resources.len(), 2);
    assert!(found.more);
    assert_eq!(stub.lines().len(), 1);
}

#[tokio::test]
async fn one_odd_entry_never_stops_a_page() {
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let stub = Stub::new([answer(200).text(format!(
        r#"{{"resourceType":"Bundle","entry":[
            7, null, {{}}, {{"resource":null}}, {{"resource":{{"resourceType":"Patient","id":"a b"}}}},
            {{"resource":{{"resourceType":"Patient","id":"huge","x":1e999}}}},
            {{"resource":{{"resourceType":"Patient","id":"deep","x":{deep}}}}},
            {{"resource":{{"resourceType":"Practitioner","id":"p"}},"search":{{"mode":"include"}}}},
            {{"resource":{{"resourceType":"Practitioner","id":"p"}}}},
            {{"resource":{{"resourceType":"OperationOutcome"}},"search":{{"mode":"outcome"}}}},
            {{"resource":{{"resourceType":"Patient","id":"good","gender":"no such code"}}}}
        ]}}"#
    ))])
    .await;
    let found = stub
        .client()
        .search(&ResourceType::Patient, &[], 50)
        .await
        .unwrap();
    let ids: Vec<_> = found.resources.iter().map(|r| r.reference.id()).collect();
    assert_eq!(ids, ["good"]);
    assert_eq!(found.odd.len(), 7);
}

#[tokio::test]
async fn a_link_to_elsewhere_is_an_error_that_names_the_setting() {
    for link in [
        "https://fhir.example.org/fhir?_getpages=x",
        "http://127.0.0.1:1/fhir",
        "/other?_getpages=x",
        "//192.0.2.1/fhir",
        "http://[",
    ] {
        let stub = Stub::new([answer(200).json(&json!({"resourceType": "Bundle",
            "link": [{"relation": "self", "url": "x"}, {"relation": "next", "url": link}]}))])
        .await;
        let error = stub
            .client()
            .search(&ResourceType::Patient, &[], 50)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("link to the next page"), "{text}");
        assert!(!text.contains("example.org"), "{text}");
        assert_eq!(stub.lines().len(), 1);
    }
}

#[tokio::test]
async fn pages_that_lead_in_circles_end() {
    let stub = Stub::new([]).await;
    for _ in 0..2 {
        let link = format!("{}?_getpages=same", stub.base());
        stub.then(
            answer(200).json(
                &json!({"resourceType": "Bundle", "link": [{"relation": "next", "url": link}]}),
            ),
        );
    }
    let error = stub
        .client()
        .search(&ResourceType::Patient, &[], 50)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("same page"), "{error}");
}

#[tokio::test]
async fn what_is_not_a_bundle_is_a_bad_answer() {
    for body in [
        "{}",
        r#"{"resourceType":"Patient"}"#,
        r#"{"resourceType":"Bundle","entry":7}"#,
        "[",
        "nothing",
    ] {
        let stub = Stub::new([answer(200).text(body)]).await;
        let error = stub
            .client()
            .search(&ResourceType::Patient, &[], 50)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_server_says_what_it_can_do() {
    let stub = Stub::new([
        answer(200).json(
            &json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1",
            "software": {"name": "Server", "version": "8"},
            "rest": [{"resource": [
                {"type": "Subscription", "interaction": [{"code": "create"}]},
                {"type": "Communication", "interaction": [{"code": "history-type"}, {}, 7]},
                {}, 7]}]}),
        ),
        answer(200).json(&json!({"resourceType": "CapabilityStatement", "fhirVersion": "5.0.0"})),
        answer(200).json(&json!({"versions": []})),
    ])
    .await;
    let client = stub.client();
    let server = client.capability().await.unwrap();
    assert_eq!(server.fhir_version, "4.0.1");
    assert_eq!(server.software.as_deref(), Some("Server 8"));
    assert!(server.is_r4() && server.offers_subscriptions());
    assert!(server.offers(&ResourceType::Communication, "history-type"));
    assert!(!server.offers(&ResourceType::CareTeam, "history-type"));
    assert!(!client.capability().await.unwrap().is_r4());
    assert!(matches!(
        client.capability().await.unwrap_err(),
        Error::BadAnswer { .. }
    ));
}

#[test]
fn a_base_url_is_checked_and_its_slashes_dont_matter() {
    let base = |text: &str| {
        FhirClient::builder(text)
            .build()
            .map(|client| client.base().as_str().to_owned())
    };
    assert_eq!(
        base("http://a.example/fhir/").unwrap(),
        "http://a.example/fhir"
    );
    assert_eq!(base("http://a.example/").unwrap(), "http://a.example");
    for (text, why) in [
        ("a.example/fhir", BaseUrlError::NotHttp),
        ("", BaseUrlError::NotHttp),
        ("ftp://a.example", BaseUrlError::NotHttp),
        ("http://me:secret@a.example/fhir", BaseUrlError::Credentials),
        ("http://a.example/fhir?x=1", BaseUrlError::Query),
        ("http://a.example/fhir#x", BaseUrlError::Query),
    ] {
        assert_eq!(base(text).unwrap_err(), SetupError::BaseUrl(why), "{text}");
    }
    for token in ["", "line\nbreak", " space", "é"] {
        let builder = FhirClient::builder("http://a.example").bearer(token.to_owned().into());
        assert_eq!(builder.build().unwrap_err(), SetupError::Token);
    }
}
