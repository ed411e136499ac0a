//! `cargo xtask test`: everything set up, all tests run.

use std::process::ExitCode;

use anyhow::Result;

use crate::{build, up};

pub(crate) async fn run(arguments: &[String]) -> Result<ExitCode> {
    let builder = up::builder();
    // What is missing on this machine is said before anything is built or installed.
    builder.check().await?;
    let tested = async {
        let (testbed, built) = tokio::join!(
            builder.start(),
            build::cargo(["test", "--workspace", "--locked", "--no-run", "--quiet"])
        );
        let testbed = testbed?;
        let logs = testbed.logs();
        let built = built?;
        let result = if built.success() {
            let fixed = ["test", "--workspace", "--locked", "--no-fail-fast"].map(str::to_owned);
            build::cargo(fixed.iter().chain(arguments)).await?
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
