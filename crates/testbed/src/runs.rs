//! The folders of runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

use crate::{files, paths, random};

/// How many folders of ended runs are kept to look into.
const KEPT: usize = 4;

/// A run's folder, for as long as the run has it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) folder: PathBuf,
    /// Tells others that the run is alive.
    _lock: File,
}

impl Run {
    /// A new folder; those of old runs are removed.
    pub(crate) fn fresh() -> Result<Self> {
        Self::fresh_in(&paths::root().join("runs"))
    }

    /// A new folder in this one; what old runs left there is removed.
    pub(crate) fn fresh_in(runs: &Path) -> Result<Self> {
        prune(runs);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Self::in_folder(&runs.join(format!("{now}-{}", random::tag()?)))
    }

    /// A folder of the caller's, which may hold an earlier run's data.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        files::private_folder(&folder)?;
        let Some(lock) = files::try_lock(&lock_path(&folder))? else {
            bail!("another process uses {}; stop it first", folder.display());
        };
        files::private_folder(&folder.join("logs"))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Where the registrations of the services are that tests take.
    pub(crate) fn appservices(&self) -> PathBuf {
        Self::appservices_in(&self.folder)
    }

    pub(crate) fn appservices_in(folder: &Path) -> PathBuf {
        folder.join("appservices")
    }
}

/// Whether a process has this run's folder.
pub(crate) fn is_alive(folder: &Path) -> bool {
    folder.is_dir() && matches!(files::try_lock(&lock_path(folder)), Ok(None))
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.join("run.lock")
}

fn prune(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else {
        return;
    };
    // The names begin with the time.
    let mut ended: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| !is_alive(folder))
        .collect();
    ended.sort();
    let surplus = ended.len().saturating_sub(KEPT);
    for folder in &ended[..surplus] {
        if let Err(error) = fs::remove_dir_all(folder) {
            tracing::warn!(%error, folder = %folder.display(), "cannot remove an old run");
        }
    }
}
