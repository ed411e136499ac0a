//! `cargo xtask sbom`: what the bridge is built from, as a `CycloneDX` document.
//!
//! It follows from `Cargo.lock` and the platform alone: no time, no random number, no path of this machine is in it, so
//! that the same sources give the same document.
//!
//! [Specification](https://cyclonedx.org/docs/1.6/json/)

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{ExitCode, Output},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

/// The package that is told about.
const PROGRAM: &str = "fhir-bridge";

/// Writes the document, and says where it is.
pub(crate) async fn run(out: Option<PathBuf>) -> Result<ExitCode> {
    let document = serde_json::to_string_pretty(&of_the_bridge().await?)?;
    let out = match out {
        Some(out) => out,
        None => testbed::root()
            .with_file_name(PROGRAM)
            .with_extension("cdx.json"),
    };
    std::fs::write(&out, document + "\n")
        .with_context(|| format!("{} can't be written", out.display()))?;
    println!("{}", out.display());
    Ok(ExitCode::SUCCESS)
}

/// The document for the bridge on this platform.
async fn of_the_bridge() -> Result<Value> {
    let version = output("rustc", "RUSTC", &["-vV"]).await?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc doesn't say what it builds for")?;
    let arguments = ["metadata", "--format-version", "1", "--locked"];
    let arguments = [&arguments[..], &["--filter-platform", host]].concat();
    let metadata: Value = serde_json::from_str(&output("cargo", "CARGO", &arguments).await?)?;
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let lock = std::fs::read_to_string(Path::new(root).join("Cargo.lock"))
        .context("Cargo.lock can't be read")?;
    // `cargo metadata` knows the features of the whole workspace, tests and all; `cargo tree` those of one program.
    let arguments = ["tree", "--locked", "--package", PROGRAM, "--target", host];
    let listed = [
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = output("cargo", "CARGO", &[&arguments[..], &listed].concat()).await?;
    document(&metadata, &built_in(&tree), &checksums(&lock))
}

async fn output(program: &str, variable: &str, arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os(variable).unwrap_or_else(|| program.into());
    let Output { status, stdout, .. } = Command::new(&program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{} can't be started", program.display()))?;
    ensure!(status.success(), "{} fails", program.display());
    Ok(String::from_utf8(stdout)?)
}

/// The packages in the output of `cargo tree`, by name and version: `fhir v0.1.0 (/folder) (*)`.
fn built_in(tree: &str) -> BTreeSet<(&str, &str)> {
    tree.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect()
}

/// The SHA-256 of each package that was downloaded, by name and version.
fn checksums(lock: &str) -> BTreeMap<(&str, &str), &str> {
    lock.split("[[package]]")
        .skip(1)
        .filter_map(|block| {
            let value = |key: &str| {
                let mut lines = block.lines();
                lines.find_map(|line| {
                    line.strip_prefix(key)?
                        .strip_prefix(" = \"")?
                        .strip_suffix('"')
                })
            };
            Some(((value("name")?, value("version")?), value("checksum")?))
        })
        .collect()
}

/// The document, from what `cargo metadata` says of those that are built in.
fn document(
    metadata: &Value,
    built_in: &BTreeSet<(&str, &str)>,
    checksums: &BTreeMap<(&str, &str), &str>,
) -> Result<Value> {
    let packages: BTreeMap<&str, &Value> = list(&metadata["packages"])
        .filter_map(|package| {
            let known = (package["name"].as_str()?, package["version"].as_str()?);
            built_in
                .contains(&known)
                .then_some((package["id"].as_str()?, package))
        })
        .collect();
    let needs: BTreeMap<&str, BTreeSet<&str>> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| {
            let mut needed = needed(node);
            needed.retain(|id| packages.contains_key(id));
            Some((node["id"].as_str()?, needed))
        })
        .collect();
    let (program, _) = packages
        .iter()
        .find(|(_, package)| package["name"] == PROGRAM)
        .context("the workspace has no such package")?;

    let mut reached = BTreeSet::from([*program]);
    let mut open = vec![*program];
    while let Some(next) = open.pop() {
        for needed in needs.get(next).into_iter().flatten() {
            if reached.insert(needed) {
                open.push(needed);
            }
        }
    }
    let components: Vec<Value> = reached
        .iter()
        .filter(|id| *id != program)
        .map(|id| component("library", packages[id], checksums))
        .collect();
    let dependencies: Vec<Value> = reached
        .iter()
        .map(|id| {
            let on: Vec<String> = needs[id].iter().map(|id| url(packages[id])).collect();
            json!({"ref": url(packages[id]), "dependsOn": on})
        })
        .collect();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component("application", packages[program], checksums)},
        "components": components,
        "dependencies": dependencies,
    }))
}

/// The packages that a node needs to be built; those of its tests alone are none of them.
fn needed(node: &Value) -> BTreeSet<&str> {
    list(&node["deps"])
        .filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"] != "dev"))
        .filter_map(|dep| dep["pkg"].as_str())
        .collect()
}

fn component(kind: &str, package: &Value, checksums: &BTreeMap<(&str, &str), &str>) -> Value {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    let (name, version) = (text("name"), text("version"));
    let mut component = json!({
        "type": kind,
        "bom-ref": url(package),
        "name": name,
        "version": version,
        "purl": url(package),
    });
    if let Some(license) = package["license"].as_str() {
        // As it was written before there were expressions.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{"expression": expression}]);
    }
    if let Some(checksum) = checksums.get(&(name, version)) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if let Some(repository) = package["repository"].as_str() {
        component["externalReferences"] = json!([{"type": "vcs", "url": repository}]);
    }
    component
}

/// What a package is called everywhere: <https://github.com/package-url/purl-spec>
fn url(package: &Value) -> String {
    let text = |key: &str| package[key].as_str().unwrap_or_default();
    let version = text("version").replace('+', "%2B");
    format!("pkg:cargo/{}@{version}", text("name"))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[tokio::test]
    async fn it_is_valid_and_names_what_is_built_in_and_nothing_of_tests_or_this_machine() {
        let document = of_the_bridge().await.unwrap();
        let names: BTreeSet<&str> = list(&document["components"])
            .filter_map(|component| component["name"].as_str())
            .collect();
        for built_in in [
            "fhir",
            "matrix-appservice",
            "ruma",
            "rustls",
            "libsqlite3-sys",
        ] {
            assert!(names.contains(built_in), "{built_in} is missing");
        }
        for not_built_in in ["fhir-bridge", "testbed", "proptest", "rcgen", "tempfile"] {
            assert!(!names.contains(not_built_in), "{not_built_in} is in it");
        }
        for component in list(&document["components"]) {
            assert!(component["licenses"].is_array(), "{component}");
            let ours = ["fhir", "matrix-appservice"].contains(&component["name"].as_str().unwrap());
            assert_eq!(component["hashes"].is_array(), !ours, "{component}");
        }
        let text = document.to_string();
        assert!(!text.contains("file:") && !text.contains(env!("CARGO_MANIFEST_DIR")));

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sbom.json");
        std::fs::write(&file, text).unwrap();
        let check = "import sys\n\
            from cyclonedx.schema import SchemaVersion\n\
            from cyclonedx.validation.json import JsonStrictValidator\n\
            sys.exit(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()) and 'not valid')";
        let checked = Command::new(testbed::checkers().await.unwrap())
            .args(["-c", check])
            .arg(&file)
            .output()
            .await
            .unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }

    #[test]
    fn what_is_needed_for_tests_alone_is_left_out_with_all_that_it_needs() {
        let package = |name: &str| json!({"id": name, "name": name, "version": "1.0.0+x", "license": "MIT/Zlib"});
        let dep = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [package(PROGRAM), package("a"), package("b"), package("c"), package("d"), package("e")],
            "resolve": {"nodes": [
                {"id": PROGRAM, "deps": [dep("a", Value::Null), dep("b", json!("dev")), dep("e", Value::Null)]},
                {"id": "a", "deps": [dep("c", json!("build"))]},
                {"id": "b", "deps": [dep("d", Value::Null)]},
                {"id": "c", "deps": []},
                {"id": "d", "deps": []},
                // Behind a feature that only tests ask for.
                {"id": "e", "deps": []},
            ]},
        });
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0+x\"\nchecksum = \"12ab\"\n";
        let tree = "fhir-bridge v1.0.0+x (/here)\na v1.0.0+x\nc v1.0.0+x (*)\n";
        let document = document(&metadata, &built_in(tree), &checksums(lock)).unwrap();
        let expected = json!({
            "type": "library", "bom-ref": "pkg:cargo/a@1.0.0%2Bx", "purl": "pkg:cargo/a@1.0.0%2Bx",
            "name": "a", "version": "1.0.0+x",
            "licenses": [{"expression": "MIT OR Zlib"}],
            "hashes": [{"alg": "SHA-256", "content": "12ab"}],
        });
        assert_eq!(document["components"][0], expected);
        assert_eq!(document["components"][1]["name"], "c");
        assert_eq!(document["components"].as_array().unwrap().len(), 2);
        let needs_a = json!({"ref": "pkg:cargo/fhir-bridge@1.0.0%2Bx", "dependsOn": ["pkg:cargo/a@1.0.0%2Bx"]});
        assert!(list(&document["dependencies"]).any(|one| *one == needs_a));
    }
}
