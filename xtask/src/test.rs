//! `cargo xtask test`: everything set up, all tests run.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, up};

/// What is there with a feature only that is off by default: the bridge's traces, and what it says of its configuration.
const TRACED: [&str; 9] = [
    "test",
    "--workspace",
    "--locked",
    "--features",
    "fhir-bridge/opentelemetry",
    "--test",
    "opentelemetry",
    "--test",
    "commands",
];

pub(crate) async fn run(arguments: &[String]) -> Result<ExitCode> {
    let servers = up::builder();
    // What is missing on this machine is said before anything is built or installed.
    servers.check().await?;
    let tested = async {
        let (testbed, built) = tokio::join!(
            servers.start(),
            build::cargo(["test", "--workspace", "--locked", "--no-run", "--quiet"])
        );
        let testbed = testbed?;
        let logs = testbed.logs();
        let built = built?;
        let result = if built.success() {
            // First, so that the program that is left in the target folder is the one that all others build.
            let traces = if arguments.is_empty() {
                build::cargo(TRACED).await?
            } else {
                built
            };
            let fixed = ["test", "--workspace", "--locked", "--no-fail-fast"].map(str::to_owned);
            let all = build::cargo(fixed.iter().chain(arguments)).await?;
            if traces.success() { all } else { traces }
        } else {
            built
        };
        println!("stopping the servers …");
        testbed.stop().await;
        if !result.success() {
            println!("The servers' logs: {}", logs.display());
        }
        Ok(if result.success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    };
    tokio::select! {
        tested = tested => tested,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            // Dropping the testbed stops what it has started.
            Ok(ExitCode::from(130))
        }
    }
}
