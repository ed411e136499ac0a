//! The project's own commands: `cargo xtask demo`, `test`, `bench`, `up` and `sbom`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these are commands for people at a terminal"
)]

mod bench;
mod build;
mod demo;
mod sbom;
mod test;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use url::Url;

/// The project's own commands. Each sets up what it needs: real homeservers and a real FHIR server.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up everything and play one scene: a nurse, a GP and a pharmacist around one client.
    ///
    /// Then it stays up until Ctrl-C, so that you can look around.
    Demo {
        /// End after the scene, with 0 only if each step was seen to work.
        #[arg(long)]
        exit: bool,
        /// Use this FHIR R4 server instead of installing HAPI; it has to reach 127.0.0.1:1234.
        #[arg(long, value_name = "URL")]
        fhir_url: Option<Url>,
    },
    /// Set up everything and run all tests.
    Test {
        /// Arguments for `cargo test`, such as the name of a test.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure the SDK beside bare axum and the SQLite floor; `--help` tells what can be chosen.
    ///
    /// Builds in release mode only what it needs.
    #[command(disable_help_flag = true)]
    Bench {
        /// Arguments for the bench, such as `--quick`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Start the servers that the tests use and keep them until Ctrl-C, so that `cargo test` finds them running.
    Up {
        /// Use this FHIR R4 server instead of installing HAPI; it has to reach loopback addresses.
        #[arg(long, value_name = "URL")]
        fhir_url: Option<Url>,
    },
    /// Write down what the bridge is built from, as a `CycloneDX` document.
    Sbom {
        /// The file; `fhir-bridge.cdx.json` in cargo's target folder.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match Cli::parse().command {
            Command::Demo { exit, fhir_url } => demo::run(exit, fhir_url).await,
            Command::Test { arguments } => test::run(&arguments).await,
            Command::Bench { arguments } => bench::run(&arguments).await,
            Command::Up { fhir_url } => up::run(fhir_url).await,
            Command::Sbom { out } => sbom::run(out).await,
        }
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
