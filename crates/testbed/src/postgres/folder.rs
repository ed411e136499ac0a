//! Where servers keep their data.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::Account;

/// The folder of all runs: below `target/testbed`, or, for a server that runs as somebody else, where that one gets to.
pub(super) fn of_runs(account: Option<Account>) -> Result<PathBuf> {
    if account.is_none() {
        return Ok(paths::root().join("postgres-runs"));
    }
    let folder = PathBuf::from("/tmp/testbed-postgres");
    match fs::DirBuilder::new().mode(0o711).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot make {}", folder.display()));
        }
        _ => {}
    }
    // Anybody may make folders there.
    let made = fs::symlink_metadata(&folder)?;
    if !made.is_dir() || made.uid() != 0 {
        bail!("{} belongs to somebody else; remove it", folder.display());
    }
    Ok(folder)
}

/// Lets `account` pass through a run's folder, to what it is given there.
pub(super) fn open_to(folder: &Path, account: Option<Account>) -> Result<()> {
    if account.is_some() {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711))
            .with_context(|| format!("cannot open {}", folder.display()))?;
    }
    Ok(())
}

/// A folder that belongs to `account`.
pub(super) fn owned(folder: &Path, account: Option<Account>) -> Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    if let Some(Account { uid, gid }) = account {
        chown(folder, Some(uid), Some(gid)).with_context(|| {
            format!(
                "PostgreSQL does not run as root, and {} can't be given to another user; run as another user",
                folder.display()
            )
        })?;
    }
    Ok(())
}
