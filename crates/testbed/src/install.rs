//! Installing something once for all runs, also when two processes start at a time.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::process::Command;
use tokio::task::spawn_blocking;

use crate::progress::Reporter;
use crate::{files, log_file, paths};

/// A folder below `target/testbed` whose content follows from its stamp.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    name: String,
    folder: PathBuf,
}

impl Installation {
    /// `stamp` tells one content from another: the hash of a lock file.
    pub(crate) fn new(name: &str, stamp: &str) -> Self {
        Self {
            name: name.to_owned(),
            folder: paths::root().join(format!("{name}-{stamp}")),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the installing commands write.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.with_added_extension("log")
    }

    /// Exists when the installation is complete.
    fn marker(&self) -> PathBuf {
        self.folder.join("complete")
    }

    fn is_complete(&self) -> bool {
        self.marker().exists()
    }

    fn lock(&self) -> PathBuf {
        paths::root().join(format!("{}.lock", self.name))
    }
}

/// Runs `work` unless it has been done; what an interrupted run left is removed first.
pub(crate) async fn once(
    installation: &Installation,
    reporter: &Reporter,
    what: &str,
    work: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    if installation.is_complete() {
        return Ok(());
    }
    reporter
        .during(what, async {
            let lock = installation.lock();
            let _lock = spawn_blocking(move || files::lock(&lock)).await??;
            if installation.is_complete() {
                return Ok(());
            }
            remove(&installation.folder)?;
            log_file::begin(&installation.log())?;
            work().await?;
            let marker = installation.marker();
            fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))
        })
        .await
}

/// Runs a command of an installation; an error shows the end of its output.
pub(crate) async fn run(what: &str, mut command: Command, log: &Path) -> Result<()> {
    let output = log_file::open(log)?;
    let status = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("cannot run {what}"))?;
    if status.success() {
        return Ok(());
    }
    Err(anyhow!(
        "{what} failed ({status}); {}",
        log_file::end_of(log)
    ))
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            bail!("cannot remove {}: {error}", folder.display())
        }
        _ => Ok(()),
    }
}
