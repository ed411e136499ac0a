//! `fhir-bridge audit`: what the bridge has written down of what it did.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;

use crate::audit;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no line of audit.log was changed, taken out or put in.
    ///
    /// Exits with 0 when each line follows from the one before, 1 when one doesn't.
    Check {
        /// The file; `audit.log` in the folder `data` of the configuration.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) fn run(command: &Command) -> ExitCode {
    let Command::Check { file } = command;
    check(file)
}

fn check(file: &Path) -> ExitCode {
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
