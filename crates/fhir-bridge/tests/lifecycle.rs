//! Signals, reloading, tokens that are replaced, and what systemd is told.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

const REGISTRATION: &str = include_str!("../../../registration/fhir-bridge.yaml");
const HS_TOKEN: &str = "312df522183efd404ec1cd22d2ffa4bbc76a8c1ccf541dd692eef281356bb74e";

/// A bridge whose homeserver takes connections and says nothing.
struct Running {
    folder: tempfile::TempDir,
    config: Value,
    listen: String,
    child: Child,
    /// Taken to be there, so that a port is.
    _homeserver: TcpListener,
}

impl Running {
    fn start(socket: Option<&Path>) -> Self {
        Self::start_with(socket, &json!({}))
    }

    /// With these keys in its configuration.
    fn start_with(socket: Option<&Path>, further: &Value) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let homeserver = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap().to_string();
        drop(free);
        let mut config = json!({
            "registration": "registration.yaml",
            "listen": listen,
            "data": "data",
            "drain_seconds": 120,
            "homeserver": {"name": "vvt", "url": format!("http://{}", homeserver.local_addr().unwrap())},
            "fhir": {"url": "http://127.0.0.1:9/fhir"},
            "ops": {"listen": null},
        });
        for (key, value) in further.as_object().unwrap() {
            config[key] = value.clone();
        }
        fs::write(folder.path().join("bridge.yaml"), config.to_string()).unwrap();
        fs::write(folder.path().join("registration.yaml"), REGISTRATION).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fhir-bridge"));
        command
            .args(["run", "--config", "bridge.yaml"])
            .current_dir(folder.path())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .stdout(Stdio::null());
        if let Some(socket) = socket {
            command.env("NOTIFY_SOCKET", socket);
        }
        let running = Self {
            child: command.spawn().unwrap(),
            folder,
            config,
            listen,
            _homeserver: homeserver,
        };
        running.wait_for("the bridge takes transactions", 1);
        running
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap()
    }

    fn wait_for(&self, words: &str, times: usize) {
        let until = Instant::now() + PATIENCE;
        while self.log().matches(words).count() < times {
            assert!(
                Instant::now() < until,
                "{words} is not said:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it goes on:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the ping answers to this token.
    async fn ping(&self, token: &str) -> u16 {
        self.call("POST", "ping", token, &json!({})).await
    }

    async fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> u16 {
        let url = format!("http://{}/_matrix/app/v1/{path}", self.listen);
        let client = reqwest::Client::new();
        let request = client
            .request(method.parse().unwrap(), url)
            .bearer_auth(token)
            .header("content-type", "application/json")
            .body(body.to_string());
        request.send().await.unwrap().status().as_u16()
    }

    /// Whether somebody listens: a connection that was just being closed may break, and the homeserver repeats what it
    /// asked over it; but nobody is refused.
    async fn is_there(&self) -> bool {
        let url = format!("http://{}/_matrix/app/v1/ping", self.listen);
        let request = reqwest::Client::new().post(url).bearer_auth(HS_TOKEN);
        match request
            .header("content-type", "application/json")
            .body("{}")
            .send()
            .await
        {
            Ok(answer) => answer.status() == 200,
            Err(error) => !error.is_connect(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_has_all_read_again_and_refuses_nobody() {
    let mut bridge = Running::start(None);
    assert_eq!(bridge.ping(HS_TOKEN).await, 200);
    assert_eq!(bridge.ping("a-new-example-token-of-some-length").await, 403);

    // A mistake changes nothing.
    fs::write(bridge.file("bridge.yaml"), "lisen: x").unwrap();
    bridge.signal("HUP");
    bridge.wait_for("nothing is changed", 1);
    assert!(bridge.log().contains("did you mean `listen`?"));
    assert_eq!(bridge.ping(HS_TOKEN).await, 200);

    // A new hs_token, and the former one while the homeserver still shows it.
    let text = REGISTRATION.replace(HS_TOKEN, "a-new-example-token-of-some-length");
    fs::write(bridge.file("registration.yaml"), text).unwrap();
    fs::write(bridge.file("former"), HS_TOKEN).unwrap();
    bridge.config["tokens"] = json!({"former_hs_token_file": "former"});
    fs::write(bridge.file("bridge.yaml"), bridge.config.to_string()).unwrap();
    bridge.signal("HUP");
    while bridge
        .log()
        .matches("the bridge takes transactions")
        .count()
        < 2
    {
        assert!(bridge.is_there().await);
    }
    assert_eq!(bridge.ping(HS_TOKEN).await, 200);
    assert_eq!(bridge.ping("a-new-example-token-of-some-length").await, 200);

    fs::remove_file(bridge.file("former")).unwrap();
    bridge.signal("HUP");
    bridge.wait_for("the bridge takes transactions", 3);
    assert_eq!(bridge.ping(HS_TOKEN).await, 403);
    assert_eq!(bridge.ping("a-new-example-token-of-some-length").await, 200);
    let log = bridge.log();
    assert!(!log.contains(HS_TOKEN) && !log.contains("a-new-example-token"));

    bridge.signal("TERM");
    assert!(bridge.ended().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once_what_the_first_one_waits_for() {
    let mut bridge = Running::start(None);
    // An invitation, which can't be answered before the homeserver says something.
    let event = json!({
        "type": "m.room.member", "event_id": "$1", "room_id": "!1:vvt", "sender": "@somebody:vvt",
        "state_key": "@_fhir:vvt", "origin_server_ts": 1, "content": {"membership": "invite"},
    });
    let body = json!({"events": [event]});
    let pushed = bridge.call("PUT", "transactions/1", HS_TOKEN, &body);
    assert_eq!(pushed.await, 200);
    bridge.signal("TERM");
    bridge.wait_for("what is at work may finish", 1);
    thread::sleep(Duration::from_millis(500));
    assert!(
        bridge.child.try_wait().unwrap().is_none(),
        "it waits for what is at work"
    );
    bridge.signal("TERM");
    assert_eq!(bridge.ended().code(), Some(1));
    bridge.wait_for("ended at once", 1);
}

#[test]
fn a_federation_list_that_can_not_be_fetched_keeps_nobody_from_starting() {
    let policy = json!({"federation": "closed", "list": {"url": "https://127.0.0.1:9/list"}});
    let mut bridge = Running::start_with(None, &json!({"policy": policy}));
    bridge.wait_for("the federation list can't be read", 1);
    bridge.signal("TERM");
    assert!(bridge.ended().success());
}

#[test]
fn systemd_is_told_how_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut text = [0; 200];
        let length = systemd.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let mut bridge = Running::start(Some(&socket));
    assert_eq!(next().trim(), "READY=1");
    bridge.signal("HUP");
    let reloading = next();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(next().trim(), "READY=1");
    bridge.signal("TERM");
    assert_eq!(next().trim(), "STOPPING=1");
    assert!(bridge.ended().success());
}
