//! `fhir-bridge registration`: what the homeserver reads.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use matrix_appservice::Registration;

use super::Output;
use crate::{doctor, logging, report::Report};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a registration with fresh tokens.
    ///
    /// The file can be read by its owner alone. One that is there already is not overwritten.
    Generate {
        /// Where the homeserver reaches `listen` of the bridge.
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:1234")]
        url: String,
        /// What ghosts and aliases begin with: `prefix` of the configuration.
        #[arg(long, default_value = "_fhir_bridge_")]
        prefix: String,
        /// The localpart of the bridge's own user.
        #[arg(long, value_name = "LOCALPART", default_value = "_fhir")]
        sender: String,
        /// What the homeserver calls the bridge; no two of its bridges may have the same.
        #[arg(long, default_value = "fhir-bridge")]
        id: String,
        /// The file that is made.
        #[arg(long, value_name = "FILE", default_value = "registration.yaml")]
        output: PathBuf,
    },
    /// Check a registration: what each namespace takes, and what is odd. Tokens are not shown.
    ///
    /// Exits with 1 when a homeserver would refuse it, or a stranger could get in.
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A user, alias or room id: say which namespace takes it. May be given several times.
        #[arg(long, value_name = "ID")]
        sample: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(command: &Command) -> ExitCode {
    logging::init(tracing::Level::WARN);
    match command {
        Command::Generate {
            url,
            prefix,
            sender,
            id,
            output,
        } => {
            let made = Registration::generate(id, sender)
                .url(url)
                .ghosts(prefix)
                .aliases(prefix)
                .receive_ephemeral()
                .rate_limited(false)
                .build()
                .and_then(|registration| registration.write_new(output));
            if let Err(error) = made {
                eprintln!("{}", super::chain(&error));
                return ExitCode::FAILURE;
            }
            println!(
                "{file} is made, for its owner's eyes only. Next:\n\
                 1. Name it in the homeserver's configuration and restart the homeserver. For Synapse, in homeserver.yaml:\n\
                 \n   app_service_config_files:\n     - {full}\n\n\
                 \x20  (the homeserver's user must be able to read it: chgrp and chmod 640, or a copy of its own)\n\
                 2. Name it as `registration` in the bridge's configuration.\n\
                 3. `fhir-bridge doctor --config bridge.yaml` says whether both know each other.",
                file = output.display(),
                full = std::path::absolute(output)
                    .unwrap_or_else(|_| output.clone())
                    .display(),
            );
            ExitCode::SUCCESS
        }
        Command::Check {
            file,
            sample,
            output,
        } => check(file, sample, *output),
    }
}

fn check(file: &PathBuf, samples: &[String], output: Output) -> ExitCode {
    let mut report = Report::new(output.json);
    let registration = match Registration::load(file) {
        Ok(registration) => registration,
        Err(error) => {
            report.fail(
                "registration",
                super::chain(&error),
                "Make a new one with `fhir-bridge registration generate`.",
            );
            return report.end();
        }
    };
    let lint = registration.lint();
    for namespace in lint.namespaces() {
        report.ok("namespace", namespace);
    }
    for sample in lint.explain(samples).samples {
        report.ok("sample", sample);
    }
    doctor::tell_lint(&registration, &mut report);
    report.end()
}
