//! What is built in has licences, names and sources that `deny.toml` allows.
//!
//! `cargo deny` says so where it is installed, which takes longer to build than the bridge. What it says of licences, bans and
//! sources is looked at here in what `cargo metadata` says, so that it is looked at everywhere.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails, and says when it leaves something out"
)]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(repository());
    command
}

/// Each package that anything of ours needs, with all features and on all platforms.
fn packages() -> Vec<Value> {
    let metadata = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--all-features",
    ];
    let output = cargo(&metadata).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "cargo metadata fails");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let resolved: BTreeSet<&str> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = list(&metadata["packages"]);
    let packages: Vec<Value> = packages
        .filter(|package| resolved.contains(package["id"].as_str().unwrap()))
        .cloned()
        .collect();
    assert!(packages.len() > 200, "only {}", packages.len());
    packages
}

fn rules() -> toml::Table {
    let text = std::fs::read_to_string(repository().join("deny.toml")).unwrap();
    text.parse().unwrap()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn name(package: &Value) -> String {
    format!(
        "{} {}",
        package["name"].as_str().unwrap(),
        package["version"].as_str().unwrap()
    )
}

/// Whether an SPDX expression can be met with these licences: `OR` by one of its sides, `AND` by both, and `AND` binds closer.
/// `/` is how `OR` was written before there were expressions.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = either(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = either(words, allowed);
        return words.next_if_eq(&")").is_some() && met;
    }
    let mut licence = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&*licence)
}

#[test]
fn licences_names_and_sources_are_those_that_are_allowed() {
    let rules = rules();
    let allowed = rules["licenses"]["allow"].as_array().unwrap();
    let allowed: BTreeSet<&str> = allowed.iter().filter_map(toml::Value::as_str).collect();
    let banned = rules["bans"]["deny"].as_array().unwrap();
    let banned: BTreeSet<&str> = banned
        .iter()
        .filter_map(|one| one["crate"].as_str())
        .collect();
    assert!(banned.contains("aws-lc-rs") && allowed.contains("MIT"));
    let mut wrong = Vec::new();
    for package in packages() {
        let name = name(&package);
        match package["license"].as_str() {
            Some(licence) if is_allowed(licence, &allowed) => {}
            other => wrong.push(format!("{name}: the licence {other:?}")),
        }
        if banned.contains(package["name"].as_str().unwrap()) {
            wrong.push(format!("{name}: it is banned"));
        }
        let source = package["source"].as_str();
        if source.is_some_and(|source| source != CRATES_IO) {
            wrong.push(format!("{name}: it comes from {source:?}"));
        }
        if source.is_none() {
            let any = list(&package["dependencies"])
                .filter(|dependency| dependency["req"] == "*" && dependency["path"].is_null());
            wrong.extend(any.map(|one| format!("{name}: any version of {}", one["name"])));
        }
    }
    assert!(
        wrong.is_empty(),
        "deny.toml doesn't allow\n{}",
        wrong.join("\n")
    );
}

#[test]
fn an_expression_is_met_as_spdx_says() {
    let allowed = BTreeSet::from(["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"]);
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-3.0-only/MIT", true),
        ("GPL-3.0-only OR MIT AND Zlib", true),
        ("(GPL-3.0-only OR MIT) AND Zlib", true),
        ("MIT AND (GPL-3.0-only OR Unlicense)", false),
        ("Apache-2.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("MIT Zlib", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn cargo_deny_is_content() {
    let quiet = |command: &mut Command| {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !quiet(&mut cargo(&["deny", "--version"])) {
        eprintln!("left out: there is no `cargo deny` here to ask");
        return;
    }
    let check = ["deny", "--offline", "check", "bans", "licenses", "sources"];
    let checked = cargo(&check).output().unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}
