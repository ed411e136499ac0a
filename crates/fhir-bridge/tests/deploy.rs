//! The configurations that the repository ships are ones that the bridge takes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use fhir_bridge::config::{Config, Fhir};
use matrix_appservice::Registration;
use testbed::{CLIENT_PORT, FHIR_HOST, FHIR_PORT, HOMESERVERS};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The one FHIR server.
fn fhir(config: Config) -> Fhir {
    config.fhir.unwrap()
}

#[test]
fn the_bridge_in_docker_compose_reaches_its_peers_and_is_reached_by_them() {
    let config = Config::load(&repository().join("deploy/bridge.yaml")).unwrap();
    let registration = Registration::load(&config.registration).unwrap();
    assert_eq!(config.homeserver.name, "vvt");
    assert_eq!(
        config.homeserver.url.as_str(),
        format!("http://synapse-vvt:{CLIENT_PORT}/")
    );
    assert_eq!(
        fhir(config.clone()).url.as_str(),
        format!("http://fhir:{FHIR_PORT}/fhir")
    );
    // The homeserver and the FHIR server call the same listener, by the service's name.
    let notify_url = fhir(config.clone()).notify_url.unwrap();
    let url = registration.url.unwrap();
    assert_eq!(notify_url.as_str().trim_end_matches('/'), url);
    assert_eq!(notify_url.host_str(), Some("bridge"));
    let port = notify_url.port().unwrap();
    assert_eq!(config.listen, format!("0.0.0.0:{port}"));
    // The volume of docker-compose.yml and deploy/Dockerfile.
    assert_eq!(config.data, Path::new("/data"));
}

#[test]
fn it_differs_from_the_example_only_in_addresses_and_places() {
    let example = Config::load(&repository().join("bridge.yaml")).unwrap();
    let deployed = Config::load(&repository().join("deploy/bridge.yaml")).unwrap();
    assert_eq!(deployed.prefix, example.prefix);
    assert_eq!(deployed.homeserver.name, example.homeserver.name);
    let [deployed, example] = [deployed, example].map(fhir);
    assert_eq!(deployed.poll_interval(), example.poll_interval());
    assert_eq!(deployed.url.path(), example.url.path());
    assert_eq!(deployed.token_file, example.token_file);
    assert_eq!(deployed.notify_url.is_some(), example.notify_url.is_some());
}

#[test]
fn the_example_has_the_addresses_of_the_demo() {
    let example = Config::load(&repository().join("bridge.yaml")).unwrap();
    let (_, host) = HOMESERVERS
        .into_iter()
        .find(|(name, _)| example.homeserver.name == *name)
        .unwrap();
    assert_eq!(
        example.homeserver.url.as_str(),
        format!("http://127.0.0.{host}:{CLIENT_PORT}/")
    );
    assert_eq!(
        fhir(example.clone()).url.as_str(),
        format!("http://127.0.0.{FHIR_HOST}:{FHIR_PORT}/fhir")
    );
    let registration = Registration::load(&example.registration).unwrap();
    assert_eq!(registration.url, Some(format!("http://{}", example.listen)));
}

#[test]
fn the_configurations_for_kubernetes_and_systemd_are_ones_that_the_bridge_takes() {
    let manifest = |name: &str| -> serde_json::Value {
        let file = repository().join("deploy/kubernetes").join(name);
        serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &serde_json::Value| {
        let file = folder.path().join(name);
        std::fs::write(&file, text.as_str().unwrap()).unwrap();
        file
    };
    let config = &manifest("configmap.yaml")["data"]["bridge.yaml"];
    let kubernetes = Config::load(&write("bridge.yaml", config)).unwrap();
    let systemd = Config::load(&repository().join("deploy/systemd/bridge.yaml")).unwrap();
    // systemd's, and no other machine's.
    assert_eq!(
        systemd.registration,
        Path::new("/run/credentials/fhir-bridge.service/registration.yaml")
    );
    assert_eq!(systemd.data, Path::new("/var/lib/fhir-bridge"));

    let registration = &manifest("secret.example.yaml")["stringData"]["registration.yaml"];
    let registration = Registration::load(write("registration.yaml", registration)).unwrap();
    let ghost = |config: &Config| format!("@{}patient_1:{}", config.prefix, config.homeserver.name);
    assert!(
        registration
            .namespaces
            .users
            .matches_exclusively(&ghost(&kubernetes))
    );
    // The homeserver and the FHIR server call the same Service.
    let service = format!(
        "http://{}:1234",
        manifest("service.yaml")["metadata"]["name"]
            .as_str()
            .unwrap()
    );
    assert_eq!(registration.url.as_deref(), Some(service.as_str()));
    let notify_url = fhir(kubernetes).notify_url.unwrap();
    assert_eq!(notify_url.as_str().trim_end_matches('/'), service);
}

#[test]
fn the_bridge_is_told_of_the_database_that_is_started_for_it() {
    let deployed = Config::load(&repository().join("deploy/bridge.yaml")).unwrap();
    let compose = std::fs::read_to_string(repository().join("docker-compose.yml")).unwrap();
    let compose: serde_json::Value = serde_yaml::from_str(&compose).unwrap();
    let services = &compose["services"];
    let variable = deployed.database.url_env.unwrap();
    let url = services["bridge"]["environment"][&variable]
        .as_str()
        .unwrap();
    let database = &services["bridge-postgres"]["environment"];
    let [user, password, name] =
        ["USER", "PASSWORD", "DB"].map(|key| database[format!("POSTGRES_{key}")].as_str().unwrap());
    assert_eq!(
        url,
        format!("postgres://{user}:{password}@bridge-postgres:5432/{name}?sslmode=disable")
    );
}
