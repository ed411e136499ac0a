//! What operators are told, on real homeservers and a real FHIR server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{net::TcpListener, path::Path, time::Duration};

use serde_json::{Value, json};
use testbed::{Bridge, BridgeSetup, Postgres, Testbed};
use url::Url;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fhir-bridge");
const METRICS: &str = include_str!("../../../docs/src/metrics.md");
const PATIENCE: Duration = Duration::from_mins(1);

async fn ask(address: &str, path: &str) -> Option<(u16, Value)> {
    let answer = reqwest::get(format!("http://{address}{path}")).await.ok()?;
    Some((answer.status().as_u16(), answer.json().await.ok()?))
}

/// Waits until readiness says this of the FHIR server, and returns the whole answer.
async fn wait(address: &str, fhir_server: &str) -> (u16, Value) {
    let looking = async {
        loop {
            if let Some(answer) = ask(address, "/actuator/health/readiness").await
                && answer.1["components"]["fhirServer"]["status"] == fhir_server
                && answer.1["components"]["homeserverPushes"]["status"] == "UP"
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap()
}

/// What a bridge exports that has just begun is documented, and says what is up.
async fn assert_metrics(address: &str, fhir_server: &str) {
    let answer = reqwest::get(format!("http://{address}/metrics")).await;
    let text = answer.unwrap().text().await.unwrap();
    let samples = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in samples {
        let name = line.split(['{', ' ']).next().unwrap();
        let ends = ["_bucket", "_sum", "_count"];
        let name = ends
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        let row = format!("| `{name}` |");
        assert!(METRICS.contains(&row), "docs/src/metrics.md lacks {line}");
    }
    let up = u8::from(fhir_server == "UP");
    let fhir = if up == 1 { "2xx" } else { "none" };
    for begin in [
        format!("fhir_bridge_component_up{{component=\"fhirServer\"}} {up}"),
        "fhir_bridge_component_up{component=\"homeserverPushes\"} 1".to_owned(),
        "fhir_bridge_journal_waiting ".to_owned(),
        "matrix_appservice_request_duration_seconds_count{status=\"2xx\"}".to_owned(),
        format!("fhir_request_duration_seconds_count{{server=\"\",status=\"{fhir}\"}}"),
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(&begin)),
            "{begin} is not in\n{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_is_ready_when_all_that_it_needs_is_there_and_says_what_is_not() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    // Free when it is dropped.
    let free = || {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let nobody = Url::parse(&format!("http://{}/fhir", free())).unwrap();
    for (fhir, status, code, up) in [(nobody, "DOWN", 503, "DOWN"), (fhir, "UP", 200, "UP")] {
        let address = free().to_string();
        let folder = tempfile::tempdir().unwrap();
        let mut setup = BridgeSetup::of(&appservice, Path::new(PROGRAM), folder.path(), fhir);
        let contact = json!({"role": "m.role.admin", "email_address": "admin@vvt.example"});
        setup.config = Some(json!({
            "ops": {"listen": address},
            "support": {"contacts": [contact]},
        }));
        let listen = setup.listen;
        let bridge = Bridge::start(testbed, setup).await.unwrap();
        let (answered, ready) = wait(&address, status).await;
        assert_eq!((answered, &ready["status"]), (code, &json!(up)));
        for component in ["database", "journal", "homeserver"] {
            assert_eq!(ready["components"][component]["status"], "UP", "{ready}");
        }
        assert_metrics(&address, status).await;
        let live = ask(&address, "/actuator/health/liveness").await;
        assert_eq!(live, Some((200, json!({"status": "UP"}))));
        let support = ask(&listen.to_string(), "/.well-known/matrix/support").await;
        assert_eq!(support, Some((200, json!({"contacts": [contact]}))));
        bridge.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_is_not_ready_while_its_database_is_away_and_ready_again_after_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("database.url"), database.url()).unwrap();
    let operators = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let operators = operators.unwrap().to_string();
    let setup = BridgeSetup::of(&appservice, Path::new(PROGRAM), folder.path(), fhir);
    let bridge = setup.with(json!({
        "ops": {"listen": operators}, "database": {"url_file": "database.url"},
    }));
    let bridge = Bridge::start(testbed, bridge).await.unwrap();
    let until = async |status: &str| {
        let looking = async {
            loop {
                if let Some((code, ready)) = ask(&operators, "/actuator/health/readiness").await
                    && ready["components"]["database"]["status"] == status
                {
                    return (code, ready);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap()
    };
    let (_, ready) = until("UP").await;
    assert_eq!(ready["components"]["fhirServer"]["status"], "UP", "{ready}");
    database.cut().await.unwrap();
    let (code, ready) = until("DOWN").await;
    assert_eq!((code, &ready["status"]), (503, &json!("DOWN")), "{ready}");
    // The process itself is well: starting it anew would help nobody.
    let live = ask(&operators, "/actuator/health/liveness").await;
    assert_eq!(live, Some((200, json!({"status": "UP"}))));
    let metrics = reqwest::get(format!("http://{operators}/metrics")).await;
    let metrics = metrics.unwrap().text().await.unwrap();
    let down = "fhir_bridge_component_up{component=\"database\"} 0";
    assert!(metrics.lines().any(|line| line == down), "{metrics}");
    database.restore().await.unwrap();
    until("UP").await;
    let looking = async {
        while ask(&operators, "/actuator/health/readiness")
            .await
            .map(|it| it.0)
            != Some(200)
        {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap();
    let password = database.url().split([':', '@']).nth(2).unwrap();
    assert!(!bridge.log_text().unwrap().contains(password));
    bridge.stop().await;
}
