//! What is on this machine: files, folders, ports.

use std::{path::Path, sync::Arc};

use matrix_appservice::{JournalError, Registration, registration::Severity};

use super::PATIENCE;
use crate::{
    audit,
    config::Config,
    database::{Address, Place, journal_file},
    policy::{Policy, source::Source},
    report::{Outcome, Report},
    startup,
};

/// Reads the registration and what is odd in it. `None` when nothing can be done with it.
pub(super) fn registration(config: &Config, report: &mut Report) -> Option<Registration> {
    let registration = match config.registration() {
        Ok(registration) => registration,
        Err(error) => {
            report.fail(
                "registration",
                crate::cli::chain(&error),
                "Make one with `fhir-bridge registration generate`, or check `registration` in the configuration.",
            );
            return None;
        }
    };
    let mut usable = true;
    for server in config.servers() {
        let prefix = server.prefix(&config.prefix);
        if let Err(error) = startup::check_namespaces(&prefix, config, &registration) {
            usable = false;
            report.fail(
                "registration",
                error,
                "Change it there and where the homeserver reads it, then restart the homeserver.",
            );
        }
    }
    tell_lint(&registration, report);
    if usable {
        report.ok(
            "registration",
            format!("{} can be used", config.registration.display()),
        );
    }
    usable.then_some(registration)
}

/// What is allowed in a registration, but hardly meant.
pub(crate) fn tell_lint(registration: &Registration, report: &mut Report) {
    for finding in registration.lint().findings() {
        let outcome = match finding.severity {
            Severity::Error => Outcome::Failed,
            Severity::Warning => Outcome::Warning,
            _ => Outcome::Ok,
        };
        report.add("registration", outcome, finding, None);
    }
}

/// The token of the provisioning API, where there is to be one.
pub(super) fn provisioning(config: &Config, report: &mut Report) {
    match config.provisioning.token() {
        Ok(None) => {}
        Ok(Some(_)) => report.ok("provisioning", "there is a token"),
        Err(error) => report.fail(
            "provisioning",
            format!("{error:#}"),
            "Make the token, or take `provisioning` out of the configuration.",
        ),
    }
}

/// The folder and the databases. Returns whether a bridge is at work with them.
pub(super) async fn data(config: &Config, report: &mut Report) -> bool {
    let folder = config.data.display();
    let place = match Place::of(config) {
        Ok(place) => place,
        Err(error) => {
            report.fail(
                "database",
                format!("{error:#}"),
                "Mend it, or take `database` out of the configuration for SQLite.",
            );
            return false;
        }
    };
    if !config.data.is_dir() {
        report.skip("data", format!("{folder} is made at the first start"));
        return databases(config, &place, report).await;
    }
    if let Err(error) = tempfile_in(&config.data) {
        report.fail(
            "data",
            format!("nothing can be written into {folder}: {error}"),
            "Give it to the user that runs the bridge (chown), and look whether the disk is full or read-only.",
        );
        return false;
    }
    report.ok("data", format!("{folder} can be written to"));
    let audit_log = config.data.join("audit.log");
    if audit_log.is_file() {
        match audit::file::check(&audit_log) {
            Ok(Ok(checked)) => report.ok("audit", format!("{} events, unbroken", checked.events)),
            Ok(Err(line)) => report.fail(
                "audit",
                format!("line {line} of {} does not follow from the one before", audit_log.display()),
                "Something was changed, taken out or put in: keep the file, and find out who could write there.",
            ),
            Err(error) => report.fail("audit", format!("{} can't be read: {error}", audit_log.display()), "Check its owner."),
        }
    }
    databases(config, &place, report).await
}

/// The databases, wherever they are. Returns whether a bridge is at work with them.
async fn databases(config: &Config, place: &Place, report: &mut Report) -> bool {
    let (made, restore) = match place {
        Place::Files(data) => (
            journal_file(data).is_file(),
            "Restore the folder `data` from a backup, or use the version of the bridge that wrote it.",
        ),
        Place::Postgres(address) => {
            let Some(made) = postgres(address, place, report).await else {
                return false;
            };
            (
                made,
                "Restore the database from a backup, or use the version of the bridge that wrote it.",
            )
        }
    };
    if let Err(error) = place.check(config).await {
        report.fail(
            "database",
            format!("{error:#}"),
            "The bridge doesn't start like this.",
        );
        return false;
    }
    if !made {
        report.skip("journal", "made at the first start");
        return false;
    }
    match place.journal().await {
        Ok(journal) => {
            match journal.stats().await {
                Ok(stats) if stats.dead > 0 => report.warn(
                    "journal",
                    format!("{} waiting, {} dead letters", stats.waiting, stats.dead),
                    "Start the bridge, then see `fhir-bridge dead-letters list`.",
                ),
                Ok(stats) => report.ok(
                    "journal",
                    format!("{} waiting, no dead letters", stats.waiting),
                ),
                Err(error) => report.fail("journal", crate::cli::chain(&error), restore),
            }
            false
        }
        Err(JournalError::InUse(_)) => {
            report.ok("journal", "a bridge is at work with it");
            true
        }
        Err(error) => {
            report.fail("journal", crate::cli::chain(&error), restore);
            false
        }
    }
}

/// Whether PostgreSQL lets the bridge in. Returns whether there is a journal; `None` when there can't be any.
async fn postgres(address: &Address, place: &Place, report: &mut Report) -> Option<bool> {
    let asked = match tokio::time::timeout(PATIENCE, address.ask()).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(error)) => {
            report.fail(
                "database",
                format!("{place} can't be opened: {}", crate::cli::chain(&error)),
                "Is PostgreSQL running, is the address in `database` right, and does it let this machine in (pg_hba.conf)?",
            );
            return None;
        }
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            report.fail(
                "database",
                format!("no answer from {place} within {seconds} s"),
                "Is there a firewall between the two, and is the address in `database` right?",
            );
            return None;
        }
    };
    if !asked.has_journal && !asked.may_make_schemas {
        report.fail(
            "database",
            format!("the user of {place} may make no schemas there"),
            "As the owner of the database: GRANT CREATE ON DATABASE … TO …",
        );
        return None;
    }
    report.ok(
        "database",
        format!("{place} answers, PostgreSQL {}", asked.version),
    );
    Some(asked.has_journal)
}

/// A file that is gone again at once.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!(".doctor-{}", std::process::id()));
    std::fs::write(&file, b"x").and_then(|()| std::fs::remove_file(&file))
}

/// Whether the federation list can be read, where one is asked for.
pub(super) async fn federation_list(config: &Config, report: &mut Report) {
    let Some(list) = &config.policy.list else {
        return;
    };
    let policy = Arc::new(Policy::new(config.homeserver.name.clone(), &config.policy));
    let source = match Source::open(policy.clone(), list, &config.data) {
        Ok(source) => source,
        Err(error) => {
            report.fail(
                "federation list",
                format!("{error:#}"),
                "Check `policy.list`.",
            );
            return;
        }
    };
    match source.read().await {
        Ok(odd) => {
            let homeservers = policy.list().map_or(0, |list| list.len());
            let seen = format!("{homeservers} homeservers");
            if odd == 0 {
                report.ok("federation list", seen);
            } else {
                report.warn("federation list", format!("{seen}; {odd} entries can't be understood"), "Tell whoever publishes it.");
            }
        }
        Err(error) => report.fail(
            "federation list",
            crate::cli::chain(&error),
            "Check `policy.list`. The bridge goes on with the last good one; without any, nobody is let in.",
        ),
    }
}

/// Whether operators can ask, when a bridge is at work.
pub(super) async fn operators(config: &Config, at_work: bool, report: &mut Report) {
    let Some(address) = &config.ops.listen else {
        report.warn(
            "operators",
            "`ops.listen` is null: nobody can ask the bridge how it is",
            "Set it, at least to 127.0.0.1:1233.",
        );
        return;
    };
    if !at_work {
        report.skip("operators", "asked only while the bridge runs");
        return;
    }
    let url = format!(
        "http://{}/actuator/health/readiness",
        crate::cli::reachable(address)
    );
    let asked = async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().ok()?;
        let answer = client.get(&url).send().await.ok()?;
        answer.json::<serde_json::Value>().await.ok()
    };
    let Some(health) = asked.await else {
        report.fail(
            "operators",
            format!("no answer from {url}"),
            "Is `ops.listen` the one that the bridge was started with?",
        );
        return;
    };
    let down: Vec<&str> = health["components"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, component)| component["status"] != "UP")
        .map(|(name, _)| name.as_str())
        .collect();
    if down.is_empty() {
        report.ok(
            "operators",
            "the bridge that is at work says that it is ready",
        );
    } else {
        report.fail(
            "operators",
            format!(
                "the bridge that is at work says that these are down: {}",
                down.join(", ")
            ),
            "See its log.",
        );
    }
}
