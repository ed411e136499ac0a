//! `docker-compose.yml` and `deploy/` are the testbed in containers: what differs is listed here, nothing else does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says when it leaves something out"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testbed::{CLIENT_PORT, FEDERATION_PORT, FHIR_PORT, HOMESERVERS};

/// Those that run once, before others start.
const ONE_SHOT: [&str; 2] = ["setup", "fhir-ready"];
/// Those whose health check is not in `docker-compose.yml`, and where it is.
const ASKED_ELSEWHERE: [(&str, &str); 2] = [
    (
        "fhir",
        "the image has nothing to ask with: `fhir-ready` does",
    ),
    (
        "bridge",
        "HEALTHCHECK in deploy/Dockerfile, for all who run the image",
    ),
];

/// What a setting is, on one side.
enum Is {
    Set(Value),
    SetSomehow,
    Absent,
}

/// Where a homeserver of the compose file is configured otherwise than the testbed's: (key, testbed, compose, why).
fn differences(name: &str, host: u8) -> Vec<(&'static str, Is, Is, &'static str)> {
    use Is::{Absent, Set, SetSomehow};
    let registrations = if name == "vvt" {
        json!(["/registration.yaml"])
    } else {
        json!([])
    };
    let mut rows = vec![
        (
            "/public_baseurl",
            Set(json!("@BASE_URL@")),
            Set(json!(format!("http://127.0.0.1:{}/", client_port(host)))),
            "clients come by the published port",
        ),
        (
            "/listeners/0/bind_addresses",
            Set(json!(["@ADDRESS@"])),
            Set(json!(["0.0.0.0"])),
            "a container has its addresses to itself",
        ),
        (
            "/log_config",
            Set(json!("log.yaml")),
            Set(json!("/config/log.yaml")),
            "configuration is mounted apart from data",
        ),
        (
            "/macaroon_secret_key",
            Set(json!("@MACAROON_SECRET@")),
            Absent,
            "deploy/setup.sh makes a file of it",
        ),
        (
            "/macaroon_secret_key_path",
            Absent,
            Set(json!("macaroon.secret")),
            "as above",
        ),
        (
            "/form_secret",
            Set(json!("@FORM_SECRET@")),
            Absent,
            "deploy/setup.sh makes a file of it",
        ),
        (
            "/form_secret_path",
            Absent,
            Set(json!("form.secret")),
            "as above",
        ),
        (
            "/bcrypt_rounds",
            Set(json!(4)),
            Absent,
            "people's passwords may guard something",
        ),
        (
            "/federation_custom_ca_list",
            Set(json!(["@CA@"])),
            Set(json!(["/certificates/ca.crt"])),
            "deploy/setup.sh makes the CA",
        ),
        (
            "/ip_range_whitelist",
            Set(json!(["127.0.0.0/8", "::1/128"])),
            Set(json!([format!("{}/32", proxy_address())])),
            "other homeservers are at the proxy's address and nowhere else",
        ),
        (
            "/app_service_config_files",
            Set(json!("@REGISTRATIONS@")),
            Set(registrations),
            "the bridge belongs to vvt",
        ),
    ];
    for key in [
        "/rc_message",
        "/rc_registration",
        "/rc_login",
        "/rc_joins",
        "/rc_joins_per_room",
        "/rc_presence",
        "/rc_media_create",
        "/rc_user_directory",
        "/rc_admin_redaction",
        "/rc_federation",
        "/federation_rr_transactions_per_room_per_second",
    ] {
        rows.push((
            key,
            SetSomehow,
            Absent,
            "Synapse's defaults are for people, and tests are none",
        ));
    }
    rows
}

#[test]
fn homeservers_differ_from_the_testbeds_only_where_the_table_says() {
    for (name, host) in HOMESERVERS {
        let mut testbed = testbed_homeserver(name);
        let mut compose = compose_homeserver(name);
        for (key, in_testbed, in_compose, why) in differences(name, host) {
            check(take(&mut testbed, key), &in_testbed, name, key, why);
            check(take(&mut compose, key), &in_compose, name, key, why);
        }
        assert_eq!(
            compose, testbed,
            "{name}: what the table of differences does not name must be equal"
        );
    }
    assert_eq!(
        yaml("deploy/synapse/log.yaml"),
        yaml("crates/testbed/synapse/log.yaml")
    );
}

fn check(found: Option<Value>, expected: &Is, name: &str, key: &str, why: &str) {
    match (found, expected) {
        (None, Is::Absent) | (Some(_), Is::SetSomehow) => {}
        (Some(found), Is::Set(value)) => assert_eq!(found, *value, "{name}: {key} ({why})"),
        (found, _) => panic!("{name}: {key} is {found:?}, the table says otherwise ({why})"),
    }
}

#[test]
fn homeservers_are_reached_by_name_at_the_proxy_and_directly_by_clients() {
    let compose = compose();
    let names: Vec<&str> = HOMESERVERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        compose["services"]["proxy"]["networks"]["matrix"]["aliases"],
        json!(names)
    );
    assert_eq!(
        published(&compose["services"]["proxy"]),
        [(FEDERATION_PORT, FEDERATION_PORT)]
    );
    assert_eq!(compose["services"]["setup"]["command"], json!(names));

    for (name, host) in HOMESERVERS {
        let service = &compose["services"][format!("synapse-{name}")];
        assert_eq!(published(service), [(client_port(host), CLIENT_PORT)]);
        assert_eq!(
            service["command"],
            json!([
                "run",
                "--config-path",
                "/config/homeserver.yaml",
                "--config-path",
                format!("/config/{name}.yaml")
            ])
        );
        let mounts = mounts(service);
        assert_eq!(mounts["/data"], name);
        assert_eq!(mounts["/config"], "./deploy/synapse");
        assert_eq!(mounts["/certificates"], "certificates");
        let mut setup = mounts_of(&compose, "setup");
        assert_eq!(
            setup.remove(&format!("/homeservers/{name}")).as_deref(),
            Some(name)
        );
        // Relative paths in homeserver.yaml.
        assert_eq!(service["working_dir"], json!("/data"));
        assert_eq!(compose_homeserver(name)["server_name"], json!(name));
    }
}

#[test]
fn nobody_is_given_the_proxys_address() {
    let config = &compose()["networks"]["matrix"]["ipam"]["config"][0];
    let proxy: Ipv4Addr = proxy_address().parse().unwrap();
    assert!(contains(config["subnet"].as_str().unwrap(), proxy));
    assert!(!contains(config["ip_range"].as_str().unwrap(), proxy));
}

#[test]
fn the_proxy_passes_each_name_on_to_its_homeserver() {
    let conf = text("deploy/nginx/nginx.conf");
    let words: Vec<&str> = conf
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .collect();
    let conf = words.join(" ");

    let map: String = HOMESERVERS
        .map(|(name, _)| format!("{name} synapse-{name}:{CLIENT_PORT}; "))
        .concat();
    let names = HOMESERVERS.map(|(name, _)| name).join(" ");
    for part in [
        format!("map $ssl_server_name $homeserver {{ {map}}}"),
        format!("listen {FEDERATION_PORT} ssl; server_name {names};"),
        // A path here, or even a slash, would rewrite the request and break its signature.
        "proxy_pass http://$homeserver;".to_owned(),
        format!("listen {FEDERATION_PORT} ssl default_server; ssl_reject_handshake on;"),
        "ssl_certificate /certificates/homeservers.crt;".to_owned(),
        "ssl_certificate_key /certificates/homeservers.key;".to_owned(),
    ] {
        assert!(conf.contains(&part), "nginx.conf lacks: {part}");
    }
    let mounts = mounts_of(&compose(), "proxy");
    assert_eq!(mounts["/etc/nginx/nginx.conf"], "./deploy/nginx/nginx.conf");
    assert_eq!(mounts["/certificates"], "certificates");
}

#[test]
fn versions_are_the_testbeds() {
    let compose = compose();
    let requirements = text("crates/testbed/requirements.in");
    let synapse = requirements
        .lines()
        .find_map(|line| line.strip_prefix("matrix-synapse=="))
        .unwrap();
    let mut uses = 0;
    for (name, service) in compose["services"].as_object().unwrap() {
        let image = service["image"].as_str().unwrap();
        if image.starts_with("matrixdotorg/synapse") {
            assert_eq!(image, format!("matrixdotorg/synapse:v{synapse}"), "{name}");
            uses += 1;
        }
        let tag = image.split_once(':').map_or("", |(_, tag)| tag);
        let pinned = tag.contains(|digit: char| digit.is_ascii_digit());
        assert!(pinned || service.get("build").is_some(), "{name}: {image}");
    }
    assert!(uses >= HOMESERVERS.len());

    let pom = text("crates/testbed/hapi/pom.xml");
    let base = pom.split("hapi-fhir-jpaserver-base").nth(1).unwrap();
    let hapi = between(base, "<version>", "</version>");
    let image = compose["services"]["fhir"]["image"].as_str().unwrap();
    // The image's own revision comes after the version: v8.8.0-1.
    assert!(
        image.starts_with(&format!("hapiproject/hapi:v{hapi}-")),
        "{image} is not {hapi}"
    );
}

#[test]
fn the_registration_differs_only_in_where_the_bridge_is() {
    let mut example = yaml("registration/fhir-bridge.yaml");
    let mut deployed = yaml("deploy/registration.yaml");
    let url = take(&mut example, "/url").unwrap();
    let port = url.as_str().unwrap().rsplit_once(':').unwrap().1;
    assert_eq!(
        take(&mut deployed, "/url"),
        Some(json!(format!("http://bridge:{port}")))
    );
    assert_eq!(deployed, example);

    let compose = compose();
    let port: u16 = port.parse().unwrap();
    let ops = yaml("deploy/bridge.yaml");
    let ops = ops["ops"]["listen"].as_str().unwrap().to_owned();
    let ops = ops.strip_prefix("0.0.0.0:").unwrap().parse().unwrap();
    let both = [(port, port), (ops, ops)];
    assert_eq!(published(&compose["services"]["bridge"]), both);
    for port in [port, ops] {
        assert!(text("deploy/Dockerfile").contains(&format!("EXPOSE {port}\n")));
    }
    assert!(text("deploy/Dockerfile").contains(&format!("\"127.0.0.1:{ops}\"]")));
    let file = "./deploy/registration.yaml";
    assert_eq!(
        mounts_of(&compose, "synapse-vvt")["/registration.yaml"],
        file
    );
    assert_eq!(
        mounts_of(&compose, "bridge")["/etc/fhir-bridge/registration.yaml"],
        file
    );
}

#[test]
fn the_fhir_server_has_the_testbeds_settings() {
    let settings = yaml("deploy/hapi/application.yaml");
    let hapi = &settings["hapi"]["fhir"];
    let server = text("crates/testbed/hapi/src/FhirServer.java");
    let config = text("crates/testbed/hapi/src/FhirServerConfig.java");
    assert_eq!(hapi["fhir_version"], json!("R4"));
    assert!(config.contains("JpaR4Config.class"));
    assert_eq!(hapi["reuse_cached_search_results_millis"], json!(-1));
    assert!(config.contains("setReuseCachedSearchResultsForMillis(null)"));
    assert_eq!(hapi["subscription"]["resthook_enabled"], json!(true));
    assert!(config.contains("SubscriptionChannelType.RESTHOOK"));
    for (java, call, value) in [
        (&server, "setDefaultPageSize", &hapi["default_page_size"]),
        (&server, "setMaximumPageSize", &hapi["max_page_size"]),
        (
            &config,
            "setSubscriptionIntervalInMs",
            &hapi["subscription"]["polling_interval_ms"],
        ),
    ] {
        assert!(java.contains(&format!("{call}({value})")), "{call}");
    }
    // What repeats contents is silent on both sides.
    let levels = settings["logging"]["level"].as_object().unwrap();
    let logback = text("crates/testbed/hapi/src/logback.xml");
    let mut off = 0;
    for line in logback
        .lines()
        .filter(|line| line.contains("level=\"OFF\""))
    {
        let logger = between(line, "name=\"", "\"");
        assert_eq!(levels.get(logger), Some(&json!("OFF")), "{logger}");
        off += 1;
    }
    assert!(off > 0);

    let compose = compose();
    assert_eq!(
        published(&compose["services"]["fhir"]),
        [(FHIR_PORT, FHIR_PORT)]
    );
    assert_eq!(
        mounts_of(&compose, "fhir")["/app/config/application.yaml"],
        "./deploy/hapi/application.yaml"
    );
    let database = &compose["services"]["postgres"]["environment"];
    let source = &settings["spring"]["datasource"];
    assert_eq!(source["username"], database["POSTGRES_USER"]);
    assert_eq!(
        source["url"],
        json!(format!(
            "jdbc:postgresql://postgres:5432/{}",
            database["POSTGRES_DB"].as_str().unwrap()
        ))
    );
    assert_eq!(
        compose["services"]["fhir"]["environment"]["SPRING_DATASOURCE_PASSWORD"],
        database["POSTGRES_PASSWORD"]
    );
}

#[test]
fn element_signs_in_at_vvt() {
    let config: Value = serde_json::from_str(&text("deploy/element/config.json")).unwrap();
    let homeserver = &config["default_server_config"]["m.homeserver"];
    let compose = compose();
    assert_eq!(homeserver["server_name"], json!("vvt"));
    let (port, _) = published(&compose["services"]["synapse-vvt"])[0];
    assert_eq!(
        homeserver["base_url"],
        json!(format!("http://127.0.0.1:{port}"))
    );
    let element = &compose["services"]["element"];
    let (port, inside) = published(element)[0];
    assert_eq!(port, 8003);
    assert_eq!(
        element["environment"]["ELEMENT_WEB_PORT"],
        json!(inside.to_string())
    );
    assert_eq!(
        mounts(element)["/app/config.json"],
        "./deploy/element/config.json"
    );
}

#[test]
fn everything_that_is_mounted_waited_for_or_joined_is_there() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    let mut used = BTreeSet::new();
    for (name, service) in services {
        for (target, source) in mounts(service) {
            if source.starts_with("./") {
                assert!(repository().join(&source).exists(), "{name}: {source}");
            } else {
                assert!(volumes.contains_key(&source), "{name}: {source}");
                used.insert(source.clone());
            }
            assert!(target.starts_with('/'), "{name}: {target}");
        }
        for (other, wait) in service["depends_on"].as_object().into_iter().flatten() {
            let possible = match wait["condition"].as_str().unwrap() {
                "service_healthy" => services[other].get("healthcheck").is_some(),
                "service_completed_successfully" => ONE_SHOT.contains(&other.as_str()),
                _ => services.contains_key(other),
            };
            assert!(possible, "{name} waits for {other} in vain");
            // Without its profile, it would not be started.
            let profiles = services[other].get("profiles");
            assert!(
                profiles.is_none() || profiles == service.get("profiles"),
                "{name} waits for {other}, which has a profile of its own"
            );
        }
        let networks = match &service["networks"] {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            Value::Object(names) => names.keys().map(String::as_str).collect(),
            _ => Vec::new(),
        };
        for network in networks {
            let known = compose["networks"].get(network).is_some();
            assert!(known, "{name}: {network}");
        }
    }
    assert_eq!(used, volumes.keys().cloned().collect());
}

#[test]
fn whoever_runs_on_is_asked_how_it_is_and_started_again() {
    for (name, service) in compose()["services"].as_object().unwrap() {
        let restart = service["restart"].as_str().unwrap();
        if ONE_SHOT.contains(&name.as_str()) {
            assert_eq!(restart, "no", "{name}");
            continue;
        }
        assert_eq!(restart, "unless-stopped", "{name}");
        let elsewhere = ASKED_ELSEWHERE.iter().find(|(other, _)| other == name);
        assert_ne!(
            service.get("healthcheck").is_some(),
            elsewhere.is_some(),
            "{name}"
        );
    }
    assert!(text("deploy/Dockerfile").contains("\nHEALTHCHECK "));
}

#[test]
fn ports_are_open_to_this_machine_only_and_to_one_service_each() {
    let mut taken = BTreeSet::new();
    for (name, service) in compose()["services"].as_object().unwrap() {
        if service.get("ports").is_some() {
            for (outside, _) in published(service) {
                assert!(taken.insert(outside), "{name}: {outside} is taken");
            }
        }
    }
}

#[test]
fn the_image_is_built_by_the_workspaces_toolchain_from_all_its_members_and_runs_without_root() {
    let dockerfile = text("deploy/Dockerfile");
    let toolchain = text("rust-toolchain.toml");
    let channel = between(&toolchain, "channel = \"", "\"");
    assert!(dockerfile.contains(&format!("FROM rust:{channel}-bookworm AS builder")));
    // The same C library on both sides.
    assert!(dockerfile.contains("FROM gcr.io/distroless/cc-debian12:nonroot"));
    assert!(dockerfile.contains("\nUSER 65532:65532\n"));

    let ignored = text(".dockerignore");
    let let_in: BTreeSet<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let manifest = text("Cargo.toml");
    let members = between(&manifest, "members = [", "]");
    let needed = members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .map(|member| member.split('/').next().unwrap())
        .chain(["Cargo.toml", "Cargo.lock", "deploy/healthy.rs", "examples"]);
    assert_eq!(let_in, needed.collect());
    assert_eq!(
        ignored.lines().find(|line| !line.starts_with('#')),
        Some("*")
    );
    for path in &let_in {
        assert!(repository().join(path).exists(), "{path}");
    }
    // What a crate's documentation takes from elsewhere in the repository is read in each build.
    for entry in fs::read_dir(repository().join("crates")).unwrap() {
        let lib = entry.unwrap().path().join("src/lib.rs");
        let elsewhere = "#![doc = include_str!(\"../../../";
        // A crate of programs only has none.
        for line in fs::read_to_string(lib).unwrap_or_default().lines() {
            if let Some(path) = line.strip_prefix(elsewhere) {
                let top = path.split('/').next().unwrap();
                assert!(let_in.contains(top), "{top} is read, but not let in");
            }
        }
    }
}

#[test]
fn setup_makes_what_is_missing_and_keeps_what_is_there() {
    if !runs(Command::new("openssl").arg("version")) {
        eprintln!("left out: there is no openssl here to run deploy/setup.sh with");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("certificates");
    let homeservers = folder.path().join("homeservers");
    let names = HOMESERVERS.map(|(name, _)| name);
    let setup = || {
        let output = Command::new("sh")
            .arg(repository().join("deploy/setup.sh"))
            .args([&certificates, &homeservers])
            .args(names)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        files_below(folder.path())
    };

    let first = setup();
    let made: Vec<&str> = first.keys().map(String::as_str).collect();
    assert_eq!(
        made,
        [
            "certificates/ca.crt",
            "certificates/homeservers.crt",
            "certificates/homeservers.key",
            "homeservers/apotheek/form.secret",
            "homeservers/apotheek/macaroon.secret",
            "homeservers/apotheek/signing.key",
            "homeservers/huisarts/form.secret",
            "homeservers/huisarts/macaroon.secret",
            "homeservers/huisarts/signing.key",
            "homeservers/vvt/form.secret",
            "homeservers/vvt/macaroon.secret",
            "homeservers/vvt/signing.key",
        ]
    );
    let vouched = |name: &str| {
        runs(
            Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", "sslserver"])
                .args(["-verify_hostname", name, "-CAfile"])
                .arg(certificates.join("ca.crt"))
                .arg(certificates.join("homeservers.crt")),
        )
    };
    for name in names {
        assert!(vouched(name), "{name}");
    }
    assert!(!vouched("ziekenhuis"));
    assert_eq!(setup(), first, "a second run changes nothing");

    // Half a set of files is made anew, the homeservers' keys are kept.
    fs::remove_file(certificates.join("ca.crt")).unwrap();
    fs::remove_file(homeservers.join("vvt/form.secret")).unwrap();
    let second = setup();
    for name in names {
        assert!(vouched(name), "{name}");
    }
    for (file, text) in &second {
        let renewed = file.starts_with("certificates/") || file == "homeservers/vvt/form.secret";
        assert_eq!(text != &first[file], renewed, "{file}");
    }
}

#[test]
fn docker_compose_accepts_it() {
    if !runs(Command::new("docker").args(["compose", "version"])) {
        eprintln!("left out: there is no `docker compose` here to ask");
        return;
    }
    let output = Command::new("docker")
        .args(["compose", "--file", "docker-compose.yml", "config", "-q"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The testbed's homeserver.yaml before addresses, secrets and paths are filled in.
fn testbed_homeserver(name: &str) -> Value {
    let template = text("crates/testbed/synapse/homeserver.yaml");
    let filled = [
        "ADDRESS",
        "BASE_URL",
        "CA",
        "FORM_SECRET",
        "MACAROON_SECRET",
        "REGISTRATIONS",
    ]
    .iter()
    .fold(template, |text, key| {
        text.replace(&format!("@{key}@"), &format!("\"@{key}@\""))
    })
    .replace("@SERVER_NAME@", name);
    serde_yaml::from_str(&filled).unwrap()
}

/// What Synapse reads in a container: the keys of the second file replace those of the first.
fn compose_homeserver(name: &str) -> Value {
    let mut settings = yaml("deploy/synapse/homeserver.yaml");
    let own = yaml(&format!("deploy/synapse/{name}.yaml"));
    for (key, value) in own.as_object().unwrap() {
        settings[key] = value.clone();
    }
    settings
}

/// 8011 for the homeserver that is 11 in the testbed's net.
fn client_port(host: u8) -> u16 {
    8000 + u16::from(host)
}

fn proxy_address() -> String {
    let proxy = &compose()["services"]["proxy"];
    let address = &proxy["networks"]["matrix"]["ipv4_address"];
    address.as_str().unwrap().to_owned()
}

/// The ports of a service, outside and inside. All are open to this machine only.
fn published(service: &Value) -> Vec<(u16, u16)> {
    let published = service["ports"].as_array().unwrap();
    published
        .iter()
        .map(|port| {
            let port = port.as_str().unwrap();
            let parts: Vec<&str> = port.split(':').collect();
            let ["127.0.0.1", outside, inside] = parts[..] else {
                panic!("{port} is open to others than this machine");
            };
            (outside.parse().unwrap(), inside.parse().unwrap())
        })
        .collect()
}

fn mounts_of(compose: &Value, service: &str) -> BTreeMap<String, String> {
    mounts(&compose["services"][service])
}

/// From the place in the container to the file or volume. Files are mounted to be read only.
fn mounts(service: &Value) -> BTreeMap<String, String> {
    let mounts = service["volumes"].as_array().into_iter().flatten();
    mounts
        .map(|mount| {
            let mount = mount.as_str().unwrap();
            let mut parts = mount.split(':');
            let (source, target) = (parts.next().unwrap(), parts.next().unwrap());
            assert_eq!(
                source.starts_with("./"),
                parts.next() == Some("ro") && source != "certificates",
                "{mount}"
            );
            (target.to_owned(), source.to_owned())
        })
        .collect()
}

fn contains(net: &str, address: Ipv4Addr) -> bool {
    let (base, bits) = net.split_once('/').unwrap();
    let base: Ipv4Addr = base.parse().unwrap();
    let shift = 32 - bits.parse::<u32>().unwrap();
    u32::from(base) >> shift == u32::from(address) >> shift
}

/// Removes what a JSON pointer points to.
fn take(root: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    root.pointer_mut(parent)?.as_object_mut()?.remove(key)
}

fn files_below(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn runs(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

fn compose() -> Value {
    yaml("docker-compose.yml")
}

fn yaml(path: &str) -> Value {
    let mut value: serde_yaml::Value = serde_yaml::from_str(&text(path)).unwrap();
    value.apply_merge().unwrap();
    serde_json::to_value(value).unwrap()
}

fn text(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
