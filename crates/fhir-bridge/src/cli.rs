//! The command line.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command for people at a terminal"
)]

mod audit;
mod config;
mod database;
mod export;
mod links;
mod operator;
mod registration;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::{
    config::{Config, ConfigError},
    doctor::Doctor,
    import, lifecycle, logging, startup,
};

/// Keeps a FHIR R4 server and Matrix homeservers the same.
///
/// A CareTeam becomes a space, a CommunicationRequest a room in it, a Communication a message; what
/// people write in those rooms becomes Communications.
///
/// To begin: `config example` for a configuration, `registration generate` for what the homeserver
/// reads, `doctor` for whether all of it works, then `run`.
#[derive(Debug, Parser)]
#[command(
    name = "fhir-bridge",
    version,
    arg_required_else_help = true,
    after_long_help = "Exit codes: 0 it is done; 1 it could not be done, or a check failed; 2 the configuration or the \
                       command line is wrong."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; `fhir-bridge config example` prints one to begin with.
    #[arg(long, value_name = "FILE", env = "FHIR_BRIDGE_CONFIG")]
    config: PathBuf,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
struct Output {
    /// Print one JSON object in each line, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge until Ctrl-C or SIGTERM.
    ///
    /// A second signal ends it at once. SIGHUP has the configuration, the registration and the federation
    /// list read again.
    ///
    /// Exits with 0 after a stop that was asked for, 1 when it had to give up, 2 when the
    /// configuration or the command line is wrong.
    Run {
        #[command(flatten)]
        config: ConfigFile,
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
    /// Look whether everything works that the bridge needs, and say what to do where it doesn't.
    ///
    /// From the files over DNS, connections and clocks to what the homeserver and the FHIR servers
    /// let the bridge do. It may be run beside a bridge that is at work. Where none is, it listens
    /// for a moment in its place, and lets the homeserver keep its events.
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// Write nothing on the FHIR servers. Otherwise a Communication that is marked as an error
        /// and belongs nowhere is created, changed and deleted.
        #[arg(long)]
        no_write: bool,
        #[command(flatten)]
        output: Output,
    },
    /// The configuration file: check it, or print one to begin with.
    #[command(subcommand)]
    Config(config::Command),
    /// The registration, which the homeserver reads: make or check one.
    #[command(subcommand)]
    Registration(registration::Command),
    /// Say how a bridge at work is, what waits, and what is held up.
    ///
    /// Exits with 0 when it is ready, 1 when it isn't or can't be asked.
    Status {
        #[command(flatten)]
        target: operator::Target,
    },
    /// What a bridge at work could not handle: list it, try it again or give it up.
    #[command(subcommand)]
    DeadLetters(operator::DeadLetters),
    /// Have a bridge at work look at a resource again, as if it had just been changed.
    ///
    /// For what was mended by hand, such as a room that somebody left by mistake. What is as it should be
    /// stays as it is: nothing is sent twice.
    Replay {
        /// A CareTeam, CommunicationRequest or Communication, such as `CareTeam/7`.
        #[arg(value_name = "RESOURCE")]
        resource: String,
        /// The FHIR server, where it has a name.
        #[arg(long, value_name = "NAME")]
        server: Option<String>,
        #[command(flatten)]
        target: operator::Target,
    },
    /// List which resource is which room, event and account: ids only.
    ///
    /// Reads the bridge's tables; it may run or not.
    Links {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        filter: links::Filter,
        #[command(flatten)]
        output: Output,
    },
    /// Where the journal and the links are: move them from SQLite to PostgreSQL.
    #[command(subcommand)]
    Database(database::Command),
    /// Write down what the bridge itself holds about a care team, a conversation, a message or a person.
    ///
    /// One JSON object in each line: links and what is noted beside them (`kind` is the table), entries of audit.log
    /// (`audit`), dead letters (`dead-letter`); at last how many there are (`end`). Ids, times and states only: what
    /// messages say is not in there, because the bridge doesn't keep it. It is in the record and on the homeservers.
    ///
    /// With a care team come its conversations, with a conversation its room and all messages in it, with a message its
    /// events, with an account its person. The bridge doesn't keep whose care team it is: for a client, name the client and
    /// their care teams. With `audit.sink: fhir`, the `AuditEvent`s on the FHIR server are to be asked for there.
    ///
    /// It may be run beside the bridge, as its user; the dead letters are asked of the bridge at work.
    #[command(
        after_help = "Example: fhir-bridge export Patient/1 CareTeam/7 --config bridge.yaml --output client.jsonl"
    )]
    Export {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        wanted: export::Wanted,
    },
    /// Show what the bridge would do with everything that is on the FHIR servers now.
    ///
    /// `run` does it: at its first start it imports everything, and goes on where it was when it is stopped meanwhile.
    Import {
        #[command(flatten)]
        config: ConfigFile,
        /// List it, one line for each resource, and write nothing anywhere.
        #[arg(long, required = true)]
        dry_run: bool,
    },
    /// What the bridge has written down of what it did.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print a script that completes this command line in a shell.
    ///
    /// For bash: `fhir-bridge completions bash > /etc/bash_completion.d/fhir-bridge`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    startup::set_up_tls();
    match Cli::parse().command {
        Command::Run { config, log } => run(config.config, log),
        Command::Doctor {
            config,
            no_write,
            output,
        } => {
            logging::init(tracing::Level::ERROR);
            with_config(&config, async |config| {
                let doctor = Doctor {
                    config,
                    write: !no_write,
                    json: output.json,
                };
                Ok(doctor.run().await)
            })
        }
        Command::Status { target } => {
            logging::init(tracing::Level::WARN);
            with_config(&target.config, async |config| {
                operator::status(&config, &target).await
            })
        }
        Command::DeadLetters(command) => {
            logging::init(tracing::Level::WARN);
            with_config(&command.target().config, async |config| {
                operator::dead_letters(&config, &command).await
            })
        }
        Command::Replay {
            resource,
            server,
            target,
        } => {
            logging::init(tracing::Level::WARN);
            with_config(&target.config, async |config| {
                operator::replay(&config, &target, &resource, server.as_deref()).await
            })
        }
        Command::Config(command) => config::run(&command),
        Command::Registration(command) => registration::run(&command),
        Command::Links {
            config,
            filter,
            output,
        } => {
            logging::init(tracing::Level::WARN);
            with_config(&config, async |config| {
                links::list(&config, &filter, output.json, &mut std::io::stdout())
                    .await
                    .map(|()| ExitCode::SUCCESS)
            })
        }
        Command::Export { config, wanted } => {
            logging::init(tracing::Level::WARN);
            with_config(&config, async |config| {
                export::run(&config, &wanted)
                    .await
                    .map(|()| ExitCode::SUCCESS)
            })
        }
        Command::Import { config, .. } => {
            logging::init(tracing::Level::WARN);
            with_config(&config, async |config| {
                import::dry_run(&config, &mut std::io::stdout())
                    .await
                    .map(|()| ExitCode::SUCCESS)
            })
        }
        Command::Database(command) => {
            logging::init(tracing::Level::WARN);
            with_config(command.config(), async |config| {
                database::run(&config, &command)
                    .await
                    .map(|()| ExitCode::SUCCESS)
            })
        }
        Command::Audit(command) => audit::run(&command),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "fhir-bridge", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

/// Runs the bridge. The configuration says where traces go, so it is read before there is a log.
fn run(file: PathBuf, log: tracing::Level) -> ExitCode {
    let config = Config::load(&file);
    let telling = match logging::Telling::start(log, config.as_ref().ok()) {
        Ok(telling) => telling,
        Err(error) => return give_up(&error, 1),
    };
    let code = with(config, async |config| {
        Box::pin(lifecycle::run(file, config))
            .await
            .map(|()| ExitCode::SUCCESS)
    });
    telling.end();
    code
}

/// Does something with a configuration that is as it should be.
fn with_config(
    file: &ConfigFile,
    work: impl AsyncFnOnce(Config) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    with(Config::load(&file.config), work)
}

fn with(
    config: Result<Config, ConfigError>,
    work: impl AsyncFnOnce(Config) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    let config = match config {
        Ok(config) => config,
        Err(error) => return give_up(&error.into(), 2),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return give_up(&error.into(), 1),
    };
    let done = runtime.block_on(work(config));
    // Nothing that is left has anything to lose.
    runtime.shutdown_background();
    match done {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => give_up(&error, 1),
    }
}

/// Whether whoever reads what is printed has seen enough (`| head`).
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// One line that says what is wrong and what to do.
fn give_up(error: &anyhow::Error, code: u8) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(code)
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        // Some libraries repeat their cause.
        if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

/// The address under which this machine reaches what listens on `listen`.
pub(crate) fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_is_told_with_its_causes_once() {
        let cause = std::io::Error::other("no such port");
        let error = anyhow::Error::new(cause).context("nothing listens");
        assert_eq!(chain(error.as_ref()), "nothing listens: no such port");
        let one = std::io::Error::other("alone");
        assert_eq!(chain(&one), "alone");
    }

    #[test]
    fn what_listens_everywhere_is_asked_here() {
        for (listen, reached) in [
            ("0.0.0.0:1233", "127.0.0.1:1233"),
            ("[::]:1233", "[::1]:1233"),
            ("10.0.0.5:1233", "10.0.0.5:1233"),
            ("bridge:1233", "bridge:1233"),
        ] {
            assert_eq!(reachable(listen), reached);
        }
    }
}
