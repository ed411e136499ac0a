//! Traces of a bridge at work, on real homeservers and a real FHIR server; needs the feature `opentelemetry`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; what it prints helps when it does"
)]

use std::{net::TcpListener, path::Path};

use matrix_appservice::Registration;
use serde_json::json;
use testbed::{Bridge, BridgeSetup, Collector, Testbed, TracedSpan, scene};

/// The same for all that play a scene: two bridges at once on one FHIR server would both carry what is there.
const APPSERVICE: &str = "bridge1";
const PROGRAM: &str = env!("CARGO_BIN_EXE_fhir-bridge");

/// The requests, by what they are called, that were made for what is handled under an id that begins like this.
fn within<'a>(spans: &'a [TracedSpan], begin: &str) -> Vec<(&'a TracedSpan, &'a TracedSpan)> {
    let roots = spans.iter().filter(|span| {
        span.name == "work"
            && span.parent.is_empty()
            && span
                .fields
                .get("id")
                .is_some_and(|id| id.starts_with(begin))
    });
    let pairs = roots.flat_map(|root| {
        let of_root = spans.iter().filter(|span| span.trace == root.trace);
        of_root
            .filter(|span| span.parent == root.id)
            .map(move |span| (root, span))
    });
    pairs.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_followed_both_ways_and_a_collector_that_is_away_changes_nothing() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice(APPSERVICE).await.unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"opentelemetry": {"endpoint": format!("http://{address}")}});
    let setup = BridgeSetup::of(&appservice, Path::new(PROGRAM), folder.path(), fhir.clone());
    let bridge = Bridge::start(testbed, setup.with(config)).await.unwrap();
    let play = async || {
        let names = scene::Names::Unique;
        let tell = |line: &str| println!("{line}");
        let played = scene::play(testbed, &fhir, &appservice.user_prefix, names, &tell);
        played.await.unwrap()
    };

    // Nobody takes the traces.
    play().await;
    let log = bridge.log_text().unwrap();
    assert_eq!(log.matches("takes no traces").count(), 1, "it is said once");
    assert!(!log.contains("opentelemetry_sdk"), "and by us alone");

    let collector = Collector::start_on(address).await.unwrap();
    let played = play().await;
    // What is left is sent at the end.
    bridge.stop().await;
    assert!(bridge.log_text().unwrap().contains("takes traces again"));
    let spans = collector.spans().unwrap();
    println!("{} spans", spans.len());

    // A message from Matrix: its event, and the request that stores it.
    let stored = within(&spans, "matrix-")
        .into_iter()
        .find(|(root, request)| {
            root.fields
                .get("key")
                .is_some_and(|key| key.starts_with('$'))
                && request.name == "POST Communication"
                && request.fields["http.response.status_code"] == "201"
        });
    let (root, _) = stored.unwrap();
    assert!(!root.failed, "{root:?}");
    // And the last one from the record: its version, and the request that sends it.
    let sent = "PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let sent = within(&spans, "fhir-").into_iter().find(|(root, request)| {
        root.fields
            .get("key")
            .is_some_and(|key| key.starts_with("Communication/"))
            && request.name == sent
    });
    let names: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.name).collect();
    assert!(sent.is_some(), "{names:?}");

    // Each is within what caused it, and what is asked all the time is not there.
    for span in &spans {
        assert_eq!(span.name == "work", span.parent.is_empty(), "{span:?}");
        assert_eq!(span.source["service.name"], "fhir-bridge");
        assert_eq!(span.source["service.instance.id"], "vvt");
        assert_eq!(span.events, 0);
    }
    let registration = Registration::load(&appservice.registration_path).unwrap();
    let tokens = [&registration.as_token, &registration.hs_token];
    let tokens = tokens.map(|token| token.expose().to_owned());
    let bytes = collector.bytes();
    for (number, word) in played.private.iter().chain(&tokens).enumerate() {
        let is_there = bytes.windows(word.len()).any(|one| one == word.as_bytes());
        assert!(!is_there, "private word {number} is in the traces");
    }
}
