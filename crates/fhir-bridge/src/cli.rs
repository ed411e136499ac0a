//! The command line.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{bridge, config::Config, import, logging};

/// Keeps a FHIR R4 server and Matrix homeservers the same.
///
/// A CareTeam becomes a space, a CommunicationRequest a room in it, a Communication a message; what
/// people write in those rooms becomes Communications.
#[derive(Debug, Parser)]
#[command(name = "fhir-bridge", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge until Ctrl-C or SIGTERM.
    ///
    /// Exits with 0 after a stop that was asked for, 1 when it had to give up, 2 when the
    /// configuration or the command line is wrong.
    Run {
        /// The configuration file; `bridge.yaml` in the repository is one to begin with.
        #[arg(long, value_name = "FILE", env = "FHIR_BRIDGE_CONFIG")]
        config: PathBuf,
        /// How much the bridge says of itself: error, warn, info, debug or trace. Messages, names and
        /// tokens are at no level.
        #[arg(
            long,
            value_name = "LEVEL",
            default_value = "info",
            env = "FHIR_BRIDGE_LOG"
        )]
        log: tracing::Level,
    },
    /// Show what the bridge would do with everything that is on the FHIR servers now.
    ///
    /// `run` does it: at its first start it imports everything, and goes on where it was when it is stopped meanwhile.
    Import {
        /// The configuration file.
        #[arg(long, value_name = "FILE", env = "FHIR_BRIDGE_CONFIG")]
        config: PathBuf,
        /// List it, one line for each resource, and write nothing anywhere.
        #[arg(long, required = true)]
        dry_run: bool,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let (config, log, dry_run) = match Cli::parse().command {
        Command::Run { config, log } => (config, log, false),
        Command::Import { config, .. } => (config, tracing::Level::WARN, true),
    };
    logging::init(log);
    let config = match Config::load(&config) {
        Ok(config) => config,
        Err(error) => return give_up(&error.into(), 2),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return give_up(&error.into(), 1),
    };
    let done = if dry_run {
        runtime.block_on(import::dry_run(&config, &mut std::io::stdout()))
    } else {
        runtime.block_on(bridge::run(config))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => give_up(&error, 1),
    }
}

/// One line that says what is wrong and what to do.
fn give_up(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(code)
}
