//! `fhir-bridge config`: the configuration file.

use std::{net::ToSocketAddrs as _, process::ExitCode};

use clap::Subcommand;
use url::Url;

use super::{ConfigFile, Output};
use crate::{
    config::{self, Config, Import},
    database::Place,
    logging,
    report::Report,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check a configuration file without asking any server.
    ///
    /// Exits with 0 when the bridge can start with it, 2 when it can't.
    Check {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
    },
    /// Print an annotated file to begin with: every key, its meaning and its default.
    Example,
    /// Print the JSON Schema of the file, for editors.
    Schema,
    /// Print the reference of all keys in Markdown, as it stands in the book.
    Reference,
}

pub(super) fn run(command: &Command) -> ExitCode {
    match command {
        Command::Check { config, output } => return check(config, *output),
        Command::Example => print!("{}", config::example()),
        Command::Schema => println!("{:#}", config::schema()),
        Command::Reference => print!("{}", config::reference()),
    }
    ExitCode::SUCCESS
}

fn check(file: &ConfigFile, output: Output) -> ExitCode {
    logging::init(tracing::Level::WARN);
    let mut report = Report::new(output.json);
    let config = match Config::load(&file.config) {
        Ok(config) => config,
        Err(error) => {
            report.fail(
                "configuration",
                super::chain(&error),
                "`fhir-bridge config example` shows every key.",
            );
            return ExitCode::from(2);
        }
    };
    report.ok(
        "configuration",
        format!("{} can be used", file.config.display()),
    );
    tell_doubts(&config, &mut report);
    report.end()
}

/// What is allowed, but hardly meant.
fn tell_doubts(config: &Config, report: &mut Report) {
    if !config.registration.is_file() {
        report.warn(
            "registration",
            format!("{} is not there", config.registration.display()),
            "Make it with `fhir-bridge registration generate`.",
        );
    }
    match Place::of(config) {
        Ok(Place::Postgres(address)) if address.is_open() => report.warn(
            "database",
            "what goes to PostgreSQL on another machine can be read on the way",
            "Put ?sslmode=verify-full behind its address, unless something in between encrypts it.",
        ),
        Ok(_) => {}
        // It may be made, or set, later than this.
        Err(error) => report.warn(
            "database",
            format!("{error:#}"),
            "The bridge doesn't start without it.",
        ),
    }
    let mut urls = vec![("homeserver.url", &config.homeserver.url)];
    urls.extend(config.servers().map(|server| ("fhir.url", &server.url)));
    for (key, url) in urls {
        if url.scheme() == "http" && !is_near(url) {
            report.warn(
                key,
                "what goes to another machine over http:// can be read on the way",
                "Use https://, unless something in between encrypts it.",
            );
        }
    }
    if config.listen.starts_with("0.0.0.0:") || config.listen.starts_with("[::]:") {
        report.warn(
            "listen",
            "everybody who reaches this machine reaches the bridge, without TLS",
            "Name the address that the homeserver uses, or put a proxy with TLS in front.",
        );
    }
    if let Some(listen) = &config.ops.listen
        && !listen.starts_with("127.")
        && !listen.starts_with("localhost:")
        && !listen.starts_with("[::1]:")
    {
        report.warn(
            "ops.listen",
            "others than this machine can ask how the bridge is",
            "Let a firewall or network policy admit only those who watch it.",
        );
    }
    for server in config.servers() {
        if server.import == Import::All {
            report.ok(
                "fhir.import",
                "the first start carries over everything that is there; `fhir-bridge import --dry-run` lists it",
            );
        }
    }
}

/// Whether a URL stays on this machine.
fn is_near(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    (host, 0)
        .to_socket_addrs()
        .is_ok_and(|mut all| all.all(|address| address.ip().is_loopback()))
}
