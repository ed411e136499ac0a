//! Fetching HAPI's jars from Maven Central, and compiling the few lines that start it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use super::jars;
use crate::install::{self, Installation};
use crate::progress::Reporter;
use crate::{paths, random};

/// The oldest Java that runs it.
const JAVA: u32 = 17;
const HOW_TO_GET_IT: &str = "Debian, Ubuntu: apt-get install openjdk-17-jdk-headless maven. \
     macOS: brew install openjdk@17 maven. Or use a FHIR server that runs already: `cargo xtask demo --fhir-url URL`";
/// Pinned here because a goal on the command line takes the newest plugin.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// What the installation follows from, in `hapi/`.
const SOURCES: [&str; 5] = [
    "pom.xml",
    "SHA256SUMS",
    "src/FhirServer.java",
    "src/FhirServerConfig.java",
    "src/logback.xml",
];

/// Looks for a Java development kit and Maven; an error says what to install.
pub(crate) async fn check() -> Result<()> {
    for program in ["java", "javac"] {
        match java_version(program).await {
            Some(version) if version >= JAVA => {}
            Some(version) => bail!(
                "the FHIR server needs Java {JAVA} or newer, and `{program}` is {version}. {HOW_TO_GET_IT}"
            ),
            None => bail!(
                "the FHIR server needs a Java {JAVA} development kit, and there is no `{program}`. {HOW_TO_GET_IT}"
            ),
        }
    }
    let maven = Command::new("mvn").arg("--version").output().await;
    if !maven.is_ok_and(|output| output.status.success()) {
        bail!(
            "the FHIR server is fetched with Maven, and there is no working `mvn`. {HOW_TO_GET_IT}"
        );
    }
    Ok(())
}

/// Installs what is missing; the command that starts the server, without its own arguments.
pub(super) async fn install(reporter: &Reporter) -> Result<Vec<OsString>> {
    let source = paths::source().join("hapi");
    let installation = Installation::new("hapi", &stamp(&source)?);
    let lib = installation.folder().join("lib");
    let classes = installation.folder().join("classes");
    let log = installation.log();
    install::once(
        &installation,
        reporter,
        "install the FHIR server",
        async || {
            let mut maven = Command::new("mvn");
            maven
                .args([
                    "--batch-mode",
                    "--no-transfer-progress",
                    "--strict-checksums",
                ])
                .arg("--file")
                .arg(source.join("pom.xml"))
                .arg(COPY)
                .arg("-DincludeScope=runtime")
                .arg(joined("-DoutputDirectory=", &lib));
            install::run("Maven", maven, &log).await?;

            let sums = read(&source.join("SHA256SUMS"))?;
            let fetched = lib.clone();
            spawn_blocking(move || jars::verify(&fetched, &sums)).await??;

            let mut compiler = Command::new(tool("javac"));
            compiler
                .args(["-proc:none", "-nowarn", "--release", "17", "-d"])
                .arg(&classes)
                .arg("-classpath")
                .arg(lib.join("*"))
                .arg(source.join("src/FhirServer.java"))
                .arg(source.join("src/FhirServerConfig.java"));
            install::run("javac", compiler, &log).await?;
            fs::copy(source.join("src/logback.xml"), classes.join("logback.xml"))
                .context("cannot copy logback.xml")?;
            Ok(())
        },
    )
    .await?;
    command(&lib, &classes)
}

fn command(lib: &Path, classes: &Path) -> Result<Vec<OsString>> {
    let mut class_path = classes.as_os_str().to_owned();
    for jar in jars::listed(lib)? {
        class_path.push(":");
        class_path.push(jar);
    }
    let flags = [
        "-Xmx768m",
        "-Xss512k",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Djava.net.preferIPv4Stack=true",
        "-classpath",
    ];
    let mut command = vec![tool("java").into_os_string()];
    command.extend(flags.map(OsString::from));
    command.push(class_path);
    command.push("FhirServer".into());
    Ok(command)
}

/// A program of `JAVA_HOME` where that is set, else of the search path.
fn tool(name: &str) -> PathBuf {
    env::var_os("JAVA_HOME")
        .filter(|home| !home.is_empty())
        .map_or_else(
            || name.into(),
            |home| Path::new(&home).join("bin").join(name),
        )
}

/// The major version that `-version` tells, on whichever output.
async fn java_version(program: &str) -> Option<u32> {
    let output = Command::new(tool(program))
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .await
        .ok()?;
    let text = [output.stderr, output.stdout].concat();
    major(&String::from_utf8_lossy(&text))
}

/// Reads `openjdk version "17.0.15" 2025-04-15`, `javac 21`, `java version "1.8.0_402"`.
fn major(text: &str) -> Option<u32> {
    let first_line = text
        .lines()
        .find(|line| line.starts_with("java") || line.contains(" version "))?;
    let version = first_line
        .split([' ', '"'])
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

fn stamp(source: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for file in SOURCES {
        hash.update(read(&source.join(file))?);
    }
    Ok(random::hex(&hash.finalize()[..6]))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn joined(prefix: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(prefix);
    argument.push(path);
    argument
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_version_is_read_from_whatever_it_says() {
        for (text, expected) in [
            (
                "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK …",
                Some(17),
            ),
            ("Picked up JAVA_TOOL_OPTIONS: -Xmx1g\njavac 21", Some(21)),
            ("java version \"1.8.0_402\"", Some(8)),
            ("openjdk version \"25-ea\" 2025-09-16", Some(25)),
            ("no such thing", None),
        ] {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
