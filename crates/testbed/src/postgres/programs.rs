//! Where PostgreSQL's server programs are: where distributions put them, which is rarely the search path.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Account;

/// The oldest major version that has all that the adapters use.
pub(super) const OLDEST: u32 = 13;

/// Folders whose subfolders have one for each major version, and what is below those.
const BY_VERSION: [(&str, &str); 5] = [
    // Debian, Ubuntu
    ("/usr/lib/postgresql", "bin"),
    // Red Hat, Fedora: pgsql-17
    ("/usr", "bin"),
    // Homebrew on ARM, on Intel, on Linux: postgresql@17
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/home/linuxbrew/.linuxbrew/opt", "bin"),
];

/// The folder with the newest `initdb` and `postgres` that run here as `account`, the machine's own choice first.
pub(super) fn find(account: Option<Account>) -> Option<PathBuf> {
    let by_path = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .filter_map(|folder| folder.join("postgres").canonicalize().ok())
        .filter_map(|program| Some(program.parent()?.to_owned()))
        .collect::<Vec<_>>();
    by_path
        .into_iter()
        .chain(by_pg_config())
        .chain(
            BY_VERSION
                .iter()
                .flat_map(|(folder, below)| by_version(Path::new(folder), below)),
        )
        .find(|folder| runs(folder, account))
}

/// Whether both programs are there, run, and are new enough.
pub(super) fn runs(folder: &Path, account: Option<Account>) -> bool {
    let version = |program| version(&folder.join(program), account);
    version("postgres").is_some_and(|version| version >= OLDEST) && version("initdb").is_some()
}

/// A command that runs as `account`.
pub(super) fn command(program: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    command
}

fn version(program: &Path, account: Option<Account>) -> Option<u32> {
    let output = command(program, account)
        .arg("--version")
        .current_dir("/")
        .output()
        .ok()?;
    major(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)`, `initdb (PostgreSQL) 18beta1`.
fn major(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn by_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (!folder.trim().is_empty()).then(|| folder.trim().into())
}

/// `15/bin` of a folder with `15`, `postgresql@15` or `pgsql-15` in it, newest first.
fn by_version(folder: &Path, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let number = ["postgresql@", "pgsql-"]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix))
                .unwrap_or(&name);
            Some((number.parse().ok()?, folder.join(&name).join(below)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_whatever_a_distribution_makes_of_it() {
        for (text, expected) in [
            (
                "postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)\n",
                Some(15),
            ),
            ("initdb (PostgreSQL) 18beta1", Some(18)),
            ("postgres: could not find", None),
        ] {
            assert_eq!(major(text), expected, "{text}");
        }
    }

    #[test]
    fn of_several_versions_the_newest_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "9",
            "17",
            "postgresql@16",
            "postgresql@latest",
            "lib",
            "pgsql-18",
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let found: Vec<_> = by_version(folder.path(), "bin")
            .iter()
            .map(|path| {
                path.strip_prefix(folder.path())
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        assert_eq!(
            found,
            ["pgsql-18/bin", "17/bin", "postgresql@16/bin", "9/bin"]
        );
    }
}
