//! What an operator gets wrong, and the one line that says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

const EXAMPLE: &str = include_str!("../../../registration/fhir-bridge.yaml");

fn config(folder: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let mut config = serde_json::json!({
        "registration": "registration.yaml",
        "listen": "127.0.0.1:0",
        // Several of these run at a time.
        "ops": {"listen": null},
        "data": "data",
        // Port 9 (discard) is served by nobody.
        "homeserver": {"name": "vvt", "url": "http://127.0.0.1:9"},
        "fhir": {"url": "http://127.0.0.1:9/fhir"},
    });
    change(&mut config);
    fs::write(folder.join("bridge.yaml"), config.to_string()).unwrap();
    fs::write(folder.join("registration.yaml"), EXAMPLE).unwrap();
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhir-bridge"));
    command
        .args(["run", "--config", "bridge.yaml"])
        .current_dir(folder);
    command
}

fn run(folder: &Path) -> Output {
    command(folder).output().unwrap()
}

/// It ends with this code, and the last line it says holds the words.
fn assert_ends(folder: &Path, code: i32, words: &[&str]) {
    let output = run(folder);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{last} lacks {word}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert!(!said.contains("30c05ae90a24"), "a token is told: {said}");
}

#[test]
fn a_configuration_that_is_wrong_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    assert_ends(folder, 2, &["bridge.yaml", "can't be read"]);
    fs::write(folder.join("bridge.yaml"), "registration: [").unwrap();
    assert_ends(folder, 2, &["bridge.yaml", "line"]);
    config(folder, |config| config["homserver"] = "x".into());
    assert_ends(
        folder,
        2,
        &["unknown key `homserver`", "did you mean `homeserver`?"],
    );
    config(folder, |config| config["prefix"] = "_other_".into());
    assert_ends(folder, 1, &["registration.yaml", "@_other_.*", "prefix"]);
    config(folder, |config| {
        config["registration"] = "nowhere.yaml".into();
    });
    assert_ends(folder, 1, &["nowhere.yaml", "can't be read"]);
    config(folder, |config| {
        config["fhir"]["token_file"] = "nowhere.token".into();
    });
    assert_ends(folder, 1, &["nowhere.token", "can't be read"]);
}

#[test]
fn a_registration_that_is_wrong_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    config(folder, |_| {});
    fs::write(
        folder.join("registration.yaml"),
        EXAMPLE.replace("hs_token: 312", "hs_token: null #"),
    )
    .unwrap();
    assert_ends(folder, 1, &["registration.yaml:11", "`hs_token`", "null"]);
    fs::write(folder.join("registration.yaml"), "id: [").unwrap();
    assert_ends(folder, 1, &["registration.yaml", "no YAML"]);
}

#[test]
fn an_address_that_is_taken_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    config(folder.path(), |config| {
        config["listen"] = address.clone().into();
    });
    assert_ends(folder.path(), 1, &[&address, "listen"]);
}

#[test]
fn servers_that_are_away_are_told_and_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path(), |_| {});
    let mut child = command(folder.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut wanted = vec!["is `homeserver.url` right?", "is `fhir.url` right?"];
    while !wanted.is_empty() {
        let line = lines.next().expect("it goes on").unwrap();
        wanted.retain(|words| !line.contains(words));
    }
    assert_eq!(child.try_wait().unwrap(), None, "it keeps waiting");
    child.kill().unwrap();
    child.wait().unwrap();
}
