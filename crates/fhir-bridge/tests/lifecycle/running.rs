//! A bridge whose homeserver takes connections and says nothing.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long something may take that takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const REGISTRATION: &str = include_str!("../../../../registration/fhir-bridge.yaml");
pub(crate) const HS_TOKEN: &str =
    "312df522183efd404ec1cd22d2ffa4bbc76a8c1ccf541dd692eef281356bb74e";

/// A bridge whose homeserver takes connections and says nothing.
pub(crate) struct Running {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Value,
    listen: String,
    pub(crate) child: Child,
    /// It takes connections by being there, and what it is asked can be looked at.
    homeserver: TcpListener,
}

impl Running {
    pub(crate) fn start(socket: Option<&Path>) -> Self {
        Self::start_with(socket, &json!({}))
    }

    /// With these keys in its configuration, and with a file beside it.
    pub(crate) fn start_with_file(further: &Value, name: &str, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        Self::start_in(folder, None, further)
    }

    /// With these keys in its configuration.
    pub(crate) fn start_with(socket: Option<&Path>, further: &Value) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), socket, further)
    }

    fn start_in(folder: tempfile::TempDir, socket: Option<&Path>, further: &Value) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
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
            homeserver,
        };
        running.wait_for("the bridge takes transactions", 1);
        running
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap()
    }

    pub(crate) fn wait_for(&self, words: &str, times: usize) {
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

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it goes on:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the homeserver is asked something whose first line holds the words. Nobody is answered.
    pub(crate) fn wait_until_asked(&self, words: &str) {
        let (asked, lines) = mpsc::channel();
        let homeserver = self.homeserver.try_clone().unwrap();
        thread::spawn(move || {
            while let Ok((stream, _)) = homeserver.accept() {
                let asked = asked.clone();
                thread::spawn(move || {
                    let mut line = String::new();
                    let _ = BufReader::new(&stream).read_line(&mut line);
                    let _ = asked.send(line);
                    // The connection stays open, and silent.
                    thread::sleep(2 * PATIENCE);
                });
            }
        });
        let mut heard = Vec::new();
        while !heard.iter().any(|line: &String| line.contains(words)) {
            let line = lines.recv_timeout(PATIENCE);
            assert!(line.is_ok(), "{words} is not asked: {heard:?}");
            heard.extend(line);
        }
    }

    /// What the ping answers to this token.
    pub(crate) async fn ping(&self, token: &str) -> u16 {
        self.call("POST", "ping", token, &json!({})).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> u16 {
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
    pub(crate) async fn is_there(&self) -> bool {
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

impl Running {
    /// What a command says, with the bridge's configuration.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_fhir-bridge"))
            .args(args)
            .args(["--config", "bridge.yaml"])
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
