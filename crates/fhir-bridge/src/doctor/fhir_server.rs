//! A FHIR server: whether it is there, lets the bridge in, and does what the bridge needs.

use fhir::{Condition, Edit, Error, FhirClient, Identifier, ResourceType, ServerInfo, Unavailable};
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{PATIENCE, network};
use crate::{
    cli::chain,
    config::{self, AuditSink, Config, SubscriptionKind},
    puller,
    report::Report,
    startup,
};

/// The system of the identifier of what is written and deleted again.
const SYSTEM: &str = "urn:fhir-bridge:doctor";

const OVERLOADED: &str = "Look whether the server is overloaded.";

pub(super) struct Server<'a> {
    pub(super) config: &'a Config,
    pub(super) settings: &'a config::Fhir,
    pub(super) write: bool,
    pub(super) at_work: bool,
}

impl Server<'_> {
    /// What it is called in the report.
    fn name(&self) -> String {
        match &self.settings.name {
            None => "FHIR server".to_owned(),
            Some(name) => format!("FHIR server {name}"),
        }
    }

    pub(super) async fn look(&self, report: &mut Report) {
        let name = self.name();
        let client = match self.settings.client() {
            Ok(client) => client,
            Err(error) => {
                report.fail(
                    &name,
                    chain(&error),
                    "Check `auth` and `tls` of this server.",
                );
                return;
            }
        };
        if !network::reach(&name, "fhir.url", &self.settings.url, report).await {
            report.skip(&name, "the rest is not looked at");
            return;
        }
        let Some(info) = self.capability(&client, report).await else {
            return;
        };
        network::clock(&name, &self.settings.url, report).await;
        self.offers(&info, report);
        if self.read(&client, report).await && self.write {
            self.write(&client, report).await;
        }
        self.notifications(&info, report).await;
    }

    async fn capability(&self, client: &FhirClient, report: &mut Report) -> Option<ServerInfo> {
        let check = format!("{}: CapabilityStatement", self.name());
        let began = Instant::now();
        match client.capability().await {
            Ok(info) if info.is_r4() => {
                let software = info
                    .software
                    .as_deref()
                    .unwrap_or("software that doesn't say its name");
                let seen = format!("FHIR {}, {software}", info.fhir_version);
                told(&check, &seen, began.elapsed(), report);
                Some(info)
            }
            Ok(info) => {
                report.fail(&check, format!("it speaks FHIR {}", info.fhir_version), "The bridge needs R4 (4.0) or R4B: another base URL of this server may have it.");
                None
            }
            Err(error) => {
                let advice = if is_late(&error) {
                    OVERLOADED
                } else {
                    "`fhir.url` must be the base URL: what answers `/metadata` behind it."
                };
                report.fail(&check, chain(&error), advice);
                None
            }
        }
    }

    /// What it says that it can do.
    fn offers(&self, info: &ServerInfo, report: &mut Report) {
        let check = format!("{}: interactions", self.name());
        let mut wanted: Vec<(ResourceType, &[&str])> = puller::types(self.settings.threads)
            .map(|one| (one, &["read", "search-type"] as &[&str]))
            .collect();
        wanted.push((ResourceType::Communication, &["create", "update"]));
        if self.config.messages.tasks {
            wanted.push((ResourceType::Task, &["create", "update"]));
        }
        if self.config.audit.sink == AuditSink::Fhir
            && let Some(audit_event) = ResourceType::parse("AuditEvent")
        {
            wanted.push((audit_event, &["create"]));
        }
        let missing: Vec<String> = wanted
            .iter()
            .flat_map(|(of, all)| all.iter().map(move |one| (of, *one)))
            .filter(|(of, one)| !info.offers(of, one))
            .map(|(of, one)| format!("{of} {one}"))
            .collect();
        if missing.is_empty() {
            report.ok(&check, "it offers all that the bridge needs");
        } else {
            report.warn(
                &check,
                format!("it does not say that it offers: {}", missing.join(", ")),
                "It may do so nevertheless. Where it doesn't: `messages.tasks: false`, another `audit.sink`, or ask who runs it.",
            );
        }
    }

    async fn read(&self, client: &FhirClient, report: &mut Report) -> bool {
        let check = format!("{}: read", self.name());
        let began = Instant::now();
        let seen = match client.count(&ResourceType::CareTeam).await {
            Ok(Some(teams)) => format!("{teams} care teams"),
            Ok(None) => "it lets the bridge search".to_owned(),
            Err(error) => {
                let advice = if is_late(&error) {
                    OVERLOADED
                } else {
                    "Check `auth` of this server, and what the bridge's client may do there (scopes)."
                };
                report.fail(&check, chain(&error), advice);
                return false;
            }
        };
        told(&check, &seen, began.elapsed(), report);
        true
    }

    /// Writes a message that is marked as an error and belongs nowhere, changes it and deletes it.
    async fn write(&self, client: &FhirClient, report: &mut Report) {
        let check = format!("{}: write", self.name());
        let advice = "Check what the bridge's client may do there (scopes for writing), and whether the server wants a profile or more fields.";
        let Ok(value) = startup::random_hex() else {
            report.skip(&check, "this machine gives no random numbers");
            return;
        };
        let identifier = Identifier {
            system: Some(SYSTEM.to_owned()),
            value: value.clone(),
        };
        let json = json!({
            "resourceType": "Communication",
            "status": "entered-in-error",
            "identifier": [{"system": SYSTEM, "value": value}],
        });
        let created = client
            .create_if_none_exist(&json, &Condition::identifier(identifier))
            .await;
        let created = match created {
            Ok(created) => created,
            Err(error) => {
                report.fail(
                    &check,
                    format!("creating a Communication: {}", chain(&error)),
                    advice,
                );
                return;
            }
        };
        let reference = created.reference;
        let changed = client
            .modify(&reference, &mut |json| {
                json["note"] = json!([{"text": "fhir-bridge doctor"}]);
                Edit::Changed
            })
            .await;
        let deleted = client.delete(&reference).await;
        match (changed, deleted) {
            (Err(error), _) => report.fail(&check, format!("changing {reference}: {}", chain(&error)), advice),
            (Ok(_), Err(error)) => report.warn(
                &check,
                format!("{reference} was created and changed, but not deleted: {}", chain(&error)),
                "The bridge never deletes; delete this one by hand (it is marked as an error, and belongs to nobody).",
            ),
            (Ok(_), Ok(())) => report.ok(&check, "a Communication was created, changed and deleted"),
        }
    }

    /// Whether it can tell the bridge of changes.
    async fn notifications(&self, info: &ServerInfo, report: &mut Report) {
        let check = format!("{}: notifications", self.name());
        let Some(url) = &self.settings.notify_url else {
            report.skip(
                &check,
                format!(
                    "`notify_url` is not set: it is asked every {} s",
                    self.settings.poll_interval_seconds
                ),
            );
            return;
        };
        if self.settings.subscription.kind == SubscriptionKind::None {
            report.skip(&check, "`subscription.kind` is none");
            return;
        }
        if !info.offers_subscriptions() {
            report.warn(
                &check,
                "it does not say that it offers Subscription",
                "Without, the bridge asks on its timer: nothing is lost, it takes longer.",
            );
            return;
        }
        if !self.at_work {
            report.skip(
                &check,
                "whether it reaches `notify_url` is seen only while the bridge runs",
            );
            return;
        }
        if network::reach(&check, "fhir.notify_url", url, report).await {
            report.ok(&check, "`notify_url` leads somewhere from here; see the bridge's log for whether the server reaches it, too");
        }
    }
}

/// It answered, and perhaps only just: the bridge waits longer than people like to.
fn told(check: &str, seen: &str, took: Duration, report: &mut Report) {
    if took < PATIENCE {
        report.ok(check, seen);
    } else {
        report.warn(
            check,
            format!("{seen}; it took {} s to answer", took.as_secs()),
            OVERLOADED,
        );
    }
}

/// Whether the server took longer than the bridge waits for any answer.
fn is_late(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable {
            reason: Unavailable::Timeout,
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    #[test]
    fn an_answer_that_took_long_is_a_warning_and_no_failure() {
        let mut report = Report::new(true);
        told(
            "a",
            "b",
            PATIENCE.saturating_sub(Duration::from_millis(1)),
            &mut report,
        );
        assert_eq!(report.count(Outcome::Ok), 1);
        told("a", "b", PATIENCE, &mut report);
        assert_eq!(report.count(Outcome::Warning), 1);
    }
}
