//! `fhir-bridge doctor` on a real homeserver and a real FHIR server: what it finds when all is well, and that it names
//! each thing that isn't.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fs, path::Path};

use serde_json::{Value, json};
use testbed::{Appservice, Bridge, BridgeSetup, FhirStub, Testbed};
use url::Url;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fhir-bridge");

/// Writes a configuration, changed so, and has it looked at: the exit code and the checks.
async fn doctor(folder: &Path, config: &Value, args: &[&str]) -> (i32, Vec<Value>) {
    fs::write(folder.join("doctor.yaml"), config.to_string()).unwrap();
    let output = tokio::process::Command::new(PROGRAM)
        .args(["doctor", "--json", "--config", "doctor.yaml"])
        .args(args)
        .current_dir(folder)
        .output()
        .await
        .unwrap();
    let checks: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        !checks.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code().unwrap(), checks)
}

fn config(appservice: &Appservice, fhir: &Url) -> Value {
    json!({
        "registration": std::path::absolute(&appservice.registration_path).unwrap(),
        "listen": appservice.listen_addr.to_string(),
        "data": "data",
        "prefix": appservice.user_prefix,
        "homeserver": {"name": "vvt", "url": appservice.homeserver_url},
        "fhir": {"url": fhir},
        "ops": {"listen": null},
    })
}

/// The checks with this outcome, by name.
fn with(checks: &[Value], outcome: &str) -> Vec<String> {
    let of = |check: &&Value| check["outcome"] == outcome;
    let name = |check: &Value| check["check"].as_str().unwrap().to_owned();
    checks.iter().filter(of).map(name).collect()
}

/// Whether a check ended well, if late: HAPI is slow where much else goes on.
fn works(checks: &[Value], name: &str) -> bool {
    let late = |check: &Value| {
        check["outcome"] == "warning" && check["seen"].as_str().unwrap().contains(" s to answer")
    };
    checks
        .iter()
        .any(|check| check["check"] == name && (check["outcome"] == "ok" || late(check)))
}

/// One check fails, and its advice says more than nothing.
fn assert_fails(checks: &[Value], name: &str, seen: &str) {
    let failed = checks
        .iter()
        .find(|check| check["check"] == name && check["outcome"] == "failed");
    assert!(failed.is_some(), "{name} has not failed: {checks:#?}");
    let failed = failed.unwrap();
    assert!(failed["seen"].as_str().unwrap().contains(seen), "{failed}");
    assert!(failed["advice"].as_str().unwrap().len() > 10, "{failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_nothing_where_all_is_well_beside_a_bridge_or_without_one() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let settings = config(&appservice, &fhir);

    let (code, checks) = doctor(folder, &settings, &[]).await;
    assert_eq!(with(&checks, "failed"), Vec::<String>::new(), "{checks:#?}");
    assert_eq!(code, 0);
    for check in [
        "homeserver: network",
        "homeserver: versions",
        "homeserver: clock",
        "homeserver: token",
        "homeserver: register",
        "homeserver: reaches the bridge",
        "FHIR server: CapabilityStatement",
        "FHIR server: read",
        "FHIR server: write",
    ] {
        assert!(works(&checks, check), "{check}: {checks:#?}");
    }

    let setup = BridgeSetup::of(&appservice, Path::new(PROGRAM), folder, fhir.clone());
    let bridge = Bridge::start(testbed, setup).await.unwrap();
    let (code, checks) = doctor(folder, &settings, &["--no-write"]).await;
    assert_eq!((code, with(&checks, "failed")), (0, vec![]), "{checks:#?}");
    assert!(with(&checks, "ok").contains(&"homeserver: reaches the bridge".to_owned()));
    assert!(!with(&checks, "ok").contains(&"FHIR server: write".to_owned()));
    let journal = checks
        .iter()
        .find(|check| check["check"] == "journal")
        .unwrap();
    assert!(
        journal["seen"].as_str().unwrap().contains("at work"),
        "{journal}"
    );
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_names_what_is_wrong() {
    let testbed = Testbed::shared().await.unwrap();
    let appservice = testbed.appservice("bridge1").await.unwrap();
    let fhir = testbed.start_fhir().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let good = config(&appservice, &fhir);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };

    // Nobody serves port 9 (discard), and no name ends in `.invalid`.
    let nobody = changed(&|config| {
        config["homeserver"]["url"] = "http://127.0.0.1:9".into();
        config["fhir"]["url"] = "https://fhir.invalid/fhir".into();
    });
    let (code, checks) = doctor(folder, &nobody, &[]).await;
    assert_eq!(code, 1);
    assert_fails(&checks, "homeserver: network", "port 9");
    assert_fails(&checks, "FHIR server: network", "fhir.invalid");

    // Something answers there, but it is neither.
    let stub = FhirStub::start().await.unwrap();
    let other = changed(&|config| {
        config["homeserver"]["url"] = stub.url().as_str().into();
        config["fhir"]["url"] = appservice.homeserver_url.as_str().into();
    });
    let (_, checks) = doctor(folder, &other, &[]).await;
    assert_fails(&checks, "homeserver: versions", "");
    assert_fails(&checks, "FHIR server: CapabilityStatement", "");

    let name = changed(&|config| config["homeserver"]["name"] = "other.example".into());
    let (_, checks) = doctor(folder, &name, &["--no-write"]).await;
    assert_fails(&checks, "homeserver: token", ":vvt");

    // A token that the homeserver does not know, as when it was not restarted.
    let registration = fs::read_to_string(&appservice.registration_path).unwrap();
    let token = matrix_appservice::Registration::parse(&registration)
        .unwrap()
        .as_token;
    let strange = registration.replace(token.expose(), &"0123456789abcdef".repeat(4));
    fs::write(folder.join("strange.yaml"), strange).unwrap();
    let unknown = changed(&|config| config["registration"] = "strange.yaml".into());
    let (_, checks) = doctor(folder, &unknown, &["--no-write"]).await;
    assert_fails(&checks, "homeserver: token", "M_UNKNOWN_TOKEN");
    assert!(
        !checks
            .iter()
            .any(|check| check.to_string().contains("0123456789abcdef"))
    );

    // The homeserver pushes to where nobody listens.
    let elsewhere = changed(&|config| config["listen"] = "127.0.0.1:0".into());
    let (_, checks) = doctor(folder, &elsewhere, &["--no-write"]).await;
    assert_fails(
        &checks,
        "homeserver: reaches the bridge",
        appservice.listen_addr.to_string().as_str(),
    );

    let prefix = changed(&|config| config["prefix"] = "_nobody_".into());
    let (_, checks) = doctor(folder, &prefix, &["--no-write"]).await;
    assert_fails(&checks, "registration", "_nobody_");

    // A FHIR server that does not let the bridge in.
    stub.require_token(Some("example-token"));
    let shut = changed(&|config| config["fhir"]["url"] = stub.url().as_str().into());
    let (_, checks) = doctor(folder, &shut, &[]).await;
    assert!(
        with(&checks, "failed")
            .iter()
            .any(|check| check.starts_with("FHIR server")),
        "{checks:#?}"
    );

    // A folder of which a file took the place, and a journal of something else.
    fs::write(folder.join("file"), "x").unwrap();
    fs::create_dir(folder.join("broken")).unwrap();
    fs::write(
        folder.join("broken/journal.db"),
        "this is no database, whatever it is called",
    )
    .unwrap();
    let broken = changed(&|config| config["data"] = "broken".into());
    let (_, checks) = doctor(folder, &broken, &["--no-write"]).await;
    assert_fails(&checks, "journal", "");
}
