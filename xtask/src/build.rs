//! Calls to cargo.

use std::{ffi::OsStr, path::PathBuf, process::ExitStatus, time::Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Runs cargo with what it prints shown.
pub(crate) async fn cargo<S: AsRef<OsStr>>(
    arguments: impl IntoIterator<Item = S>,
) -> Result<ExitStatus> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo says of this package to us. `ring` looks at it while it is built, and would be built anew, with all that
    // needs it, each time that `cargo xtask test` follows `cargo test`, or the other way round.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
        .args(arguments)
        .kill_on_drop(true)
        .status()
        .await
        .context("cargo can't be started")
}

/// Builds the bridge; where it is.
pub(crate) async fn bridge() -> Result<PathBuf> {
    let began = Instant::now();
    println!("build the bridge …");
    let status = cargo(["build", "--quiet", "--workspace", "--bins", "--locked"]).await?;
    ensure!(status.success(), "the bridge does not build");
    println!("build the bridge: {:.1} s", began.elapsed().as_secs_f64());
    let target = testbed::root();
    let target = target.parent().context("no target folder")?;
    Ok(target.join("debug/fhir-bridge"))
}
