//! Python environments, each with the versions of a lock file: Synapse and a Matrix client library, and programs that
//! check formats.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::install::{self, Installation};
use crate::progress::Reporter;
use crate::{paths, process, random};

/// What is tried, in this order, where the first is too old.
const CANDIDATES: [&str; 6] = [
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "python3.14",
    "python3.10",
];
/// Prints the interpreter's own path and version, when it can make environments and is new enough.
const PROBE: &str = "import sys, venv, ensurepip; assert sys.version_info >= (3, 10); print(sys.executable); print(sys.version)";

/// What an environment holds.
struct Packages {
    /// The name of its folder.
    name: &'static str,
    /// What is installed, for people.
    what: &'static str,
    /// The lock file, in the folder of this crate.
    lock: &'static str,
    /// What its programs load at their start.
    imports: &'static str,
}

const SYNAPSE: Packages = Packages {
    name: "venv",
    what: "Synapse",
    lock: "requirements.txt",
    imports: "synapse.app.homeserver, nio",
};
const CHECKS: Packages = Packages {
    name: "checks",
    what: "the checkers of formats",
    lock: "checks.txt",
    imports: "kubernetes_validate, check_jsonschema, cyclonedx.validation.json",
};

/// A Python that can make the environment.
#[derive(Clone, Debug)]
pub(crate) struct Python {
    pub(crate) program: PathBuf,
    version: String,
}

/// Looks for a Python; an error says what to install.
pub(crate) async fn find() -> Result<Python> {
    for candidate in CANDIDATES {
        let output = async_python(Path::new(candidate))
            .args(["-c", PROBE])
            .stderr(Stdio::null())
            .output()
            .await;
        if let Ok(output) = output
            && output.status.success()
            && let Some((program, version)) =
                String::from_utf8_lossy(&output.stdout).split_once('\n')
        {
            return Ok(Python {
                program: program.trim().into(),
                version: version.trim().to_owned(),
            });
        }
    }
    bail!(
        "the homeservers need Python 3.10 or newer with its venv module, and there is none. \
         Debian, Ubuntu: apt-get install python3 python3-venv. macOS: brew install python@3.11"
    )
}

/// Installs Synapse and the client library where they are missing; the path of their environment's Python.
///
/// `pip` was chosen over `uv` after measuring: a cold install takes 17 s with the one and 5 s with the other (which
/// has to be installed first), once, next to a FHIR server's minutes; and `pip` reads the machine's own settings
/// (mirror, proxy, certificates).
pub(crate) async fn install(python: &Python, reporter: &Reporter) -> Result<PathBuf> {
    install_packages(&SYNAPSE, python, reporter).await
}

/// Installs the programs of `checks.in` where they are missing; the path of their environment's Python, beside which
/// they are: the official schemas of Kubernetes, Compose and `CycloneDX`, and what reads them.
///
/// # Errors
///
/// When there is no Python, or the programs can't be installed: why, and the end of the log.
pub async fn checkers() -> Result<PathBuf> {
    install_packages(&CHECKS, &find().await?, &Reporter::default()).await
}

async fn install_packages(
    packages: &Packages,
    python: &Python,
    reporter: &Reporter,
) -> Result<PathBuf> {
    let lock_file = paths::source().join(packages.lock);
    let lock = tokio::fs::read(&lock_file)
        .await
        .with_context(|| format!("cannot read {}", lock_file.display()))?;
    let installation = Installation::new(packages.name, &stamp(python, &lock));
    let program = installation.folder().join("bin/python");
    let log = installation.log();
    let what = format!("install {}", packages.what);
    install::once(&installation, reporter, &what, async || {
        let mut venv = async_python(&python.program);
        venv.args(["-m", "venv"]).arg(installation.folder());
        install::run("python3 -m venv", venv, &log).await?;

        let mut pip = async_python(&program);
        pip.args([
            "-m",
            "pip",
            "install",
            "--no-input",
            "--no-user",
            "--no-compile",
        ])
        .args(["--disable-pip-version-check", "--progress-bar", "off"])
        .args(["--only-binary", ":all:", "--require-hashes", "-r"])
        .arg(&lock_file);
        install::run("pip install", pip, &log).await?;

        let mut warm_up = async_python(&program);
        warm_up.args(["-c", &format!("import {}", packages.imports)]);
        let what = format!("the first start of {}", packages.what);
        install::run(&what, warm_up, &log).await
    })
    .await?;
    Ok(program)
}

fn stamp(python: &Python, lock: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(lock);
    hash.update(python.program.as_os_str().as_encoded_bytes());
    hash.update(&python.version);
    random::hex(&hash.finalize()[..6])
}

fn async_python(program: &Path) -> Command {
    process::python(program).into()
}
