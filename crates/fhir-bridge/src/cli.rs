//! The command line.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people at a terminal"
)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{audit, bridge, config::Config, import, logging};

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
enum AuditCommand {
    /// Check that no line of audit.log was changed, taken out or put in.
    ///
    /// Exits with 0 when each line follows from the one before, 1 when one doesn't.
    Check {
        /// The file; `audit.log` in the folder `data` of the configuration.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What the bridge has written down of what it did.
    #[command(subcommand)]
    Audit(AuditCommand),
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
        Command::Audit(AuditCommand::Check { file }) => return check_audit(&file),
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

fn check_audit(file: &Path) -> ExitCode {
    let name = file.display();
    match audit::file::check(file) {
        Ok(Ok(checked)) => {
            println!(
                "{name}: {} events, each follows from the one before.",
                checked.events
            );
            if checked.torn > 0 {
                println!(
                    "{} lines are torn, as a crash or a full disk leaves them; what was in them stands further down.",
                    checked.torn
                );
            }
            ExitCode::SUCCESS
        }
        Ok(Err(line)) => {
            eprintln!(
                "{name}: line {line} does not follow from the one before: something was changed, taken out or put in."
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{name} can't be read: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One line that says what is wrong and what to do.
fn give_up(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(code)
}
