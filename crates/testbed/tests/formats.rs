//! What is shipped to run the bridge is what Kubernetes, Compose and systemd read, by their own schemas and programs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says when it leaves something out"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The oldest release that knows all of the manifests, and the newest whose schemas are installed.
const RELEASES: [&str; 2] = ["1.29.0", "1.37.0"];
/// What `kubectl apply -k` applies; the Secret is everybody's own.
const APPLIED: [&str; 6] = [
    "configmap.yaml",
    "deployment.yaml",
    "networkpolicy.yaml",
    "persistentvolumeclaim.yaml",
    "poddisruptionbudget.yaml",
    "service.yaml",
];
const SECRET: &str = "secret.example.yaml";

#[tokio::test]
async fn kubernetes_takes_each_manifest_and_knows_each_field() {
    let programs = testbed::checkers().await.unwrap();
    for release in RELEASES {
        let mut check = Command::new(programs.with_file_name("kubernetes-validate"));
        check.args(["--strict", "--kubernetes-version", release]);
        let checked = check.args(manifests()).output().unwrap();
        assert!(checked.status.success(), "{release}: {}", told(&checked));
    }
}

#[tokio::test]
async fn compose_takes_docker_compose_yml() {
    let programs = testbed::checkers().await.unwrap();
    let checked = Command::new(programs.with_file_name("check-jsonschema"))
        .args(["--builtin-schema", "vendor.compose-spec"])
        .arg(repository().join("docker-compose.yml"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", told(&checked));
}

#[test]
fn kubectl_puts_the_manifests_together() {
    if !runs(Command::new("kubectl").args(["version", "--client"])) {
        eprintln!("left out: there is no `kubectl` here to ask");
        return;
    }
    let built = Command::new("kubectl")
        .args(["kustomize", "deploy/kubernetes"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", told(&built));
    let built = String::from_utf8(built.stdout).unwrap();
    assert_eq!(built.matches("\nkind: ").count(), APPLIED.len());
    assert!(!built.contains("kind: Secret") && !built.contains("namespace: "));
}

#[test]
fn systemd_takes_the_unit() {
    if !runs(Command::new("systemd-analyze").arg("--version")) {
        eprintln!("left out: there is no `systemd-analyze` here to ask");
        return;
    }
    let unit = text("deploy/systemd/fhir-bridge.service");
    // systemd looks whether the program is there, and here another one has to do.
    let program = "ExecStart=/usr/local/bin/fhir-bridge ";
    assert_eq!(unit.matches(program).count(), 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fhir-bridge.service");
    fs::write(&file, unit.replace(program, "ExecStart=/bin/sh ")).unwrap();
    let checked = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(&file)
        .output()
        .unwrap();
    // A key that it doesn't know is told and changes nothing else.
    assert!(checked.status.success(), "{}", told(&checked));
    assert!(
        !told(&checked).contains("fhir-bridge.service"),
        "{}",
        told(&checked)
    );
}

#[test]
fn prometheus_takes_the_alerts_and_each_fires_when_it_should() {
    if !runs(Command::new("promtool").arg("--version")) {
        eprintln!("left out: there is no `promtool` here to ask (Debian has it in `prometheus`)");
        return;
    }
    for check in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts.test.yaml"],
    ] {
        let checked = Command::new("promtool")
            .args(check)
            .current_dir(repository().join("deploy/prometheus"))
            .output()
            .unwrap();
        assert!(checked.status.success(), "{check:?}: {}", told(&checked));
    }
}

#[test]
fn each_alert_is_tried() {
    let alerts = yaml("deploy/prometheus/alerts.yaml");
    let tests = text("deploy/prometheus/alerts.test.yaml");
    for rule in list(&alerts["groups"][0]["rules"]) {
        let name = rule["alert"].as_str().unwrap();
        let tried = [
            format!("alertname=\"{name}\""),
            format!("alertname: {name}"),
        ];
        assert!(tried.iter().any(|tried| tests.contains(tried)), "{name}");
    }
}

#[test]
fn the_manifests_belong_together() {
    let all: BTreeMap<String, Value> = manifests()
        .into_iter()
        .map(|path| {
            let value: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            (value["kind"].as_str().unwrap().to_owned(), value)
        })
        .collect();
    assert_eq!(all.len(), APPLIED.len() + 1);
    let labels = json!({"app.kubernetes.io/name": "fhir-bridge"});
    for (kind, one) in &all {
        assert_eq!(one["metadata"]["name"], "fhir-bridge", "{kind}");
        assert_eq!(one["metadata"]["labels"], labels, "{kind}");
        assert!(one["metadata"].get("namespace").is_none(), "{kind}");
    }
    let deployment = &all["Deployment"]["spec"];
    let pod = &deployment["template"];
    assert_eq!(pod["metadata"]["labels"], labels);
    for selector in [
        &deployment["selector"]["matchLabels"],
        &all["Service"]["spec"]["selector"],
        &all["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        &all["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(*selector, labels);
    }
    // One process works on a journal.
    assert_eq!(deployment["replicas"], 1);
    assert_eq!(deployment["strategy"], json!({"type": "Recreate"}));
    assert_eq!(
        all["PersistentVolumeClaim"]["spec"]["accessModes"],
        json!(["ReadWriteOncePod"])
    );
    // Being ready takes being reached by the homeserver, through this Service.
    assert_eq!(all["Service"]["spec"]["publishNotReadyAddresses"], true);

    let container = &pod["spec"]["containers"][0];
    let ports: Vec<(&str, u64)> = list(&container["ports"])
        .map(|port| {
            (
                port["name"].as_str().unwrap(),
                port["containerPort"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(ports, [("bridge", 1234), ("ops", 1233)]);
    for (probe, path) in [
        ("startupProbe", "liveness"),
        ("livenessProbe", "liveness"),
        ("readinessProbe", "readiness"),
    ] {
        let asked = json!({"path": format!("/actuator/health/{path}"), "port": "ops"});
        assert_eq!(container[probe]["httpGet"], asked, "{probe}");
    }
    let mounted: BTreeMap<&str, &str> = list(&container["volumeMounts"])
        .map(|mount| {
            (
                mount["name"].as_str().unwrap(),
                mount["mountPath"].as_str().unwrap(),
            )
        })
        .collect();
    for volume in list(&pod["spec"]["volumes"]) {
        let is_there = volume["configMap"]["name"] == "fhir-bridge"
            || volume["secret"]["secretName"] == "fhir-bridge"
            || volume["persistentVolumeClaim"]["claimName"] == "fhir-bridge";
        assert!(is_there, "{volume}");
        assert!(
            mounted.contains_key(volume["name"].as_str().unwrap()),
            "{volume}"
        );
    }
    let config: Value =
        serde_yaml::from_str(all["ConfigMap"]["data"]["bridge.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(config["data"], mounted["data"]);
    let secrets = config["registration"].as_str().unwrap();
    assert_eq!(secrets, format!("{}/registration.yaml", mounted["secrets"]));
    assert!(
        all["Secret"]["stringData"]
            .get("registration.yaml")
            .is_some()
    );
    assert_eq!(
        container["args"][2],
        format!("{}/bridge.yaml", mounted["config"])
    );
}

#[test]
fn nothing_in_the_pod_may_more_than_it_needs() {
    let deployment = yaml("deploy/kubernetes/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    // The image's own user, to whom its volume belongs.
    let user = pod["securityContext"]["runAsUser"].as_u64().unwrap();
    assert!(text("deploy/Dockerfile").contains(&format!("\nUSER {user}:{user}\n")));
    let container = &pod["containers"][0];
    let expected = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(container["securityContext"], expected);
    assert!(container["resources"]["limits"]["memory"].is_string());
    let policy = yaml("deploy/kubernetes/networkpolicy.yaml");
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    for rule in list(&policy["spec"]["ingress"]).chain(list(&policy["spec"]["egress"])) {
        assert!(
            rule["from"].is_array() || rule["to"].is_array(),
            "open to all: {rule}"
        );
        assert!(rule["ports"].is_array(), "open at all ports: {rule}");
    }
}

#[test]
fn kustomization_and_version_are_those_of_the_repository() {
    let kustomization = yaml("deploy/kubernetes/kustomization.yaml");
    assert_eq!(kustomization["resources"], json!(APPLIED));
    assert!(kustomization.get("namespace").is_none());
    let manifest = text("Cargo.toml");
    let (_, rest) = manifest.split_once("\nversion = \"").unwrap();
    let version = rest.split_once('"').unwrap().0;
    assert_eq!(kustomization["images"][0]["newTag"], version);
    let deployment = yaml("deploy/kubernetes/deployment.yaml");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("fhir-bridge:{version}"));
}

fn manifests() -> Vec<PathBuf> {
    let folder = repository().join("deploy/kubernetes");
    let expected: Vec<PathBuf> = APPLIED
        .iter()
        .chain([&SECRET])
        .map(|name| folder.join(name))
        .collect();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let known = expected.contains(&path) || path.ends_with("kustomization.yaml");
        assert!(known, "{} is looked at by nobody", path.display());
    }
    expected
}

fn told(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|said| String::from_utf8_lossy(said))
        .concat()
}

fn runs(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&text(path)).unwrap()
}

fn text(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
