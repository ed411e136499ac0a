//! The jars and their pinned hashes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::random;

/// The files of a folder in the order of their names.
pub(super) fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<PathBuf>>>()
    };
    let mut jars = list().with_context(|| format!("cannot read {}", folder.display()))?;
    jars.sort();
    Ok(jars)
}

/// Checks that a folder has exactly the jars of the list, which has `sha256sum`'s lines.
pub(crate) fn verify(folder: &Path, sums: &str) -> Result<()> {
    let mut expected = parse(sums)?;
    for path in listed(folder)? {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let Some(pinned) = expected.remove(name) else {
            bail!("{name} was fetched, but SHA256SUMS does not list it");
        };
        let fetched = sha256(&path)?;
        if fetched != pinned {
            bail!("{name} is not the file that SHA256SUMS pins: {fetched} instead of {pinned}");
        }
    }
    if let Some((missing, _)) = expected.first_key_value() {
        bail!("{missing} is listed in SHA256SUMS and was not fetched");
    }
    Ok(())
}

fn parse(sums: &str) -> Result<BTreeMap<&str, &str>> {
    sums.lines()
        .map(|line| {
            let (hash, name) = line
                .split_once("  ")
                .with_context(|| format!("not a line of SHA256SUMS: {line}"))?;
            // Listed with or without the folder.
            let name = name.rsplit('/').next().unwrap_or(name);
            Ok((name, hash))
        })
        .collect()
}

fn sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hash))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(random::hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of `a`, and of `b`.
    const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    const B: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";

    fn fetched(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn jars_are_taken_only_when_they_are_those_that_are_pinned() {
        let sums = format!("{A}  a.jar\n{B}  lib/b.jar\n");

        let all = fetched(&[("b.jar", "b"), ("a.jar", "a")]);
        verify(all.path(), &sums).unwrap();

        for (files, complaint) in [
            (&[("a.jar", "a"), ("b.jar", "changed")][..], "b.jar is not"),
            (&[("a.jar", "a")][..], "b.jar is listed"),
            (
                &[("a.jar", "a"), ("b.jar", "b"), ("c.jar", "c")][..],
                "c.jar was fetched",
            ),
        ] {
            let error = verify(fetched(files).path(), &sums).unwrap_err();
            assert!(error.to_string().starts_with(complaint), "{error}");
        }
    }
}
