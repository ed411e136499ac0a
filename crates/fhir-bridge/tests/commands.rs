//! The commands that ask no server: their output, their exit codes, and that they keep secrets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn bridge(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_fhir-bridge"))
        .args(args)
        .current_dir(folder)
        .env_remove("FHIR_BRIDGE_CONFIG")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_is_generated_can_be_used_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made = bridge(folder, &["registration", "generate"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let file = folder.join("registration.yaml");
    let first = fs::read_to_string(&file).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = fs::metadata(&file).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
    }
    let again = bridge(folder, &["registration", "generate"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), first);

    let token = first
        .lines()
        .find_map(|line| line.strip_prefix("as_token: "))
        .unwrap()
        .trim_matches('"');
    assert!(token.len() >= 32);
    let sample = "@_fhir_bridge_practitioner_1:vvt";
    let checked = bridge(
        folder,
        &[
            "registration",
            "check",
            "registration.yaml",
            "--sample",
            sample,
        ],
    );
    assert!(checked.status.success());
    let said = text(&checked.stdout);
    assert!(
        said.contains(sample) && said.ends_with("All is well.\n"),
        "{said}"
    );
    for output in [&made, &checked] {
        assert!(!text(&output.stdout).contains(token));
    }
    // And the example of the configuration goes with it.
    let example = bridge(folder, &["config", "example"]);
    let config =
        text(&example.stdout).replace("registration/fhir-bridge.yaml", "registration.yaml");
    fs::write(folder.join("bridge.yaml"), config).unwrap();
    let checked = bridge(folder, &["config", "check", "--config", "bridge.yaml"]);
    assert!(checked.status.success(), "{}", text(&checked.stdout));
}

#[test]
fn mistakes_end_with_1_or_2_and_are_told_as_json_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("bridge.yaml"), "lisen: x\n").unwrap();
    let checked = bridge(
        folder,
        &["config", "check", "--json", "--config", "bridge.yaml"],
    );
    assert_eq!(checked.status.code(), Some(2));
    let line: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(line["outcome"], "failed");
    assert!(
        line["seen"]
            .as_str()
            .unwrap()
            .contains("did you mean `listen`?"),
        "{line}"
    );

    fs::write(folder.join("registration.yaml"), "id: x\n").unwrap();
    let checked = bridge(folder, &["registration", "check", "registration.yaml"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(text(&checked.stdout).contains("`url` is missing"));
    assert_eq!(bridge(folder, &["nonsense"]).status.code(), Some(2));
}

#[test]
fn the_schema_knows_the_sections_and_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let schema = bridge(folder.path(), &["config", "schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["homeserver"].is_object());
    assert_eq!(schema["properties"]["listen"]["default"], "127.0.0.1:1234");
}

#[test]
fn shells_get_their_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = bridge(folder.path(), &["completions", shell]);
        assert!(text(&script.stdout).contains("registration"), "{shell}");
    }
}

#[test]
fn traces_are_for_programs_that_were_built_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    bridge(folder, &["registration", "generate"]);
    let example = text(&bridge(folder, &["config", "example"]).stdout);
    let example = example.replace("registration/fhir-bridge.yaml", "registration.yaml");
    let with = format!("{example}\nopentelemetry: {{endpoint: 'http://127.0.0.1:4318'}}\n");
    fs::write(folder.join("bridge.yaml"), with).unwrap();
    let words = ["config", "check", "--config", "bridge.yaml"];
    let checked = bridge(folder, &words);
    if cfg!(feature = "opentelemetry") {
        assert!(checked.status.success(), "{}", text(&checked.stdout));
        return;
    }
    assert_eq!(checked.status.code(), Some(2));
    let told = text(&checked.stdout);
    for words in [
        "`opentelemetry.endpoint`",
        "--features fhir-bridge/opentelemetry",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    // Nor does it run without what it was told to do.
    let run = bridge(folder, &["run", "--config", "bridge.yaml"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("opentelemetry.endpoint"));
}

#[test]
fn what_was_never_there_is_neither_moved_nor_exported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let example = text(&bridge(folder, &["config", "example"]).stdout);
    fs::write(folder.join("bridge.yaml"), &example).unwrap();
    let refused = |words: &[&str], code: i32, told: &str| {
        let ran = bridge(folder, &[words, &["--config", "bridge.yaml"]].concat());
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(said.contains(told), "{told} is not in\n{said}");
        assert!(!said.contains("canary"), "{said}");
        assert!(ran.stdout.is_empty() && !folder.join("data").exists());
    };
    let nobody = "http://127.0.0.1:9";
    let export = [
        "export",
        "CareTeam/1",
        "--output",
        "x.jsonl",
        "--url",
        nobody,
    ];
    refused(&["export"], 2, "<ID>");
    // Half of what was asked for would look like all of it.
    refused(&export, 1, "--without-dead-letters");
    refused(
        &[&export[..], &["--without-dead-letters"]].concat(),
        1,
        "has the bridge ever run",
    );
    assert!(!folder.join("x.jsonl").exists());

    refused(&["database", "move"], 1, "`database` isn't set");
    let with = |database: &str| {
        let text = format!("{example}\ndatabase: {database}\n");
        fs::write(folder.join("bridge.yaml"), text).unwrap();
    };
    with("{url_file: database.url}");
    refused(&["database", "move"], 1, "database.url can't be read");
    refused(
        &["export", "CareTeam/1", "--without-dead-letters"],
        1,
        "database.url can't be read",
    );
    fs::write(folder.join("database.url"), "mysql://me:canary@x/y").unwrap();
    refused(
        &["database", "move"],
        1,
        "postgres://user:password@host:5432/database is expected",
    );
    fs::write(
        folder.join("database.url"),
        "postgres://me:canary@127.0.0.1:9/y",
    )
    .unwrap();
    refused(&["database", "move"], 1, "there is nothing to move");
    with("{url_env: A_VARIABLE_THAT_IS_NOT_SET}");
    refused(
        &["database", "move"],
        1,
        "the variable A_VARIABLE_THAT_IS_NOT_SET isn't set",
    );
    with("{url_file: database.url, url_env: X}");
    refused(&["database", "move"], 2, "`database.url_file`");
}

#[test]
fn links_that_are_not_there_are_no_empty_list() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let example = bridge(folder, &["config", "example"]);
    fs::write(folder.join("bridge.yaml"), example.stdout).unwrap();
    let listed = bridge(folder, &["links", "--config", "bridge.yaml"]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(!folder.join("data").exists());
}
