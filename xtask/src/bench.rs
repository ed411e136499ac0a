//! `cargo xtask bench`: the SDK beside what it is compared with, all in release builds.

use std::{process::ExitCode, time::Instant};

use anyhow::{Context, Result};

use crate::build;

pub(crate) async fn run(arguments: &[String]) -> Result<ExitCode> {
    let began = Instant::now();
    println!("build the SDK's example and the bench (the first time takes minutes) …");
    // Only these targets: a release build of the whole workspace would compile FHIR's model.
    let built = build::cargo([
        "build",
        "--release",
        "--quiet",
        "--locked",
        "--example=load_bench",
        "--bin=bench",
        "--bin=bench-subject",
    ])
    .await?;
    if !built.success() {
        return Ok(ExitCode::FAILURE);
    }
    println!("build: {:.1} s", began.elapsed().as_secs_f64());
    let target = testbed::root();
    let target = target.parent().context("no target folder")?;
    let status = tokio::process::Command::new(target.join("release/bench"))
        .args(arguments)
        .kill_on_drop(true)
        .status()
        .await
        .context("the bench can't be started")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
