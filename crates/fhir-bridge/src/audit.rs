//! What the bridge did, written down for those who have to account for it.
//!
//! A record is put into the journal before the handler that made it ends, under a key of its own, and delivered from
//! there: at least once, whatever happens. On the FHIR server it has an id made from that key, so that a second
//! delivery finds the first.

pub(crate) mod file;

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use fhir::ResourceRef;
use matrix_appservice::{Delivery, HandlerError, HandlerResult, Journal, MATRIX, NewEntry};
use sha2::{Digest, Sha256};

use self::file::AuditFile;
use crate::{
    bridge::correlation,
    bridge::{Bridge, lock},
    config::AuditSink,
    failure,
    mapping::audit_event::{Agent, Record},
    ops::flows::Direction,
};

/// The journal's source of what is to be written down.
pub(crate) const AUDIT: &str = "audit";

/// Where records go.
pub(crate) struct Audit {
    sink: AuditSink,
    file: Mutex<AuditFile>,
    told: AtomicBool,
}

impl Audit {
    pub(crate) fn new(sink: AuditSink, file: AuditFile) -> Self {
        Self {
            sink,
            file: Mutex::new(file),
            told: AtomicBool::new(false),
        }
    }

    /// Takes a record; when this returns, it will be delivered. Records of the same `work` about the same things
    /// count once, so that it can be run again. Returns whether it is new, as far as that is known.
    async fn note(
        &self,
        (journal, source): (&Journal, &'static str),
        work: [&str; 2],
        record: &Record,
    ) -> Result<bool, HandlerError> {
        if self.sink == AuditSink::None {
            return Ok(true);
        }
        let about = [&record.resource, &record.room, &record.event]
            .map(|part| part.as_deref().unwrap_or_default());
        let deed = format!("{:?}", record.deed);
        let parts: Vec<&str> = work.into_iter().chain([&*deed]).chain(about).collect();
        let key = id(&parts);
        let payload = serde_json::to_vec(record)
            .map_err(|_| HandlerError::never("audit record that is no JSON"))?;
        // Each in a lane of its own: they hold each other up in nothing.
        let lane = format!("{source}/{key}");
        let new = journal
            .append(&[NewEntry::new(source, key, lane, payload)], None)
            .await
            .map_err(|error| HandlerError::unavailable(error.to_string()))?;
        Ok(new > 0)
    }

    /// Delivers a record.
    pub(crate) async fn deliver(
        &self,
        fhir: &fhir::FhirClient,
        delivery: &Delivery,
    ) -> HandlerResult {
        let entry = delivery.entry();
        let record: Record = serde_json::from_slice(&entry.payload)
            .map_err(|_| HandlerError::never("audit record that this version can't read"))?;
        let id = entry.key.clone().unwrap_or_default();
        let json = record.to_json(&id);
        if self.sink == AuditSink::Fhir {
            match fhir.update(&json, None).await {
                Ok(_) => return Ok(()),
                Err(error) if is_refusal(&error) => {
                    if !self.told.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "the FHIR server refuses AuditEvents; they go into audit.log");
                    }
                }
                Err(error) => return Err(failure::fhir(error)),
            }
        }
        let written = lock(&self.file).append(&json);
        written.map_err(|error| {
            tracing::error!(%error, "audit.log can't be written; audit events wait in the journal");
            HandlerError::unavailable("audit.log can't be written")
        })
    }
}

impl Bridge {
    /// An `AuditEvent` can only name what is on record: of a conversation without a resource, its care team.
    fn on_record(&self, record: &mut Record) {
        let about = record.resource.as_deref().and_then(ResourceRef::parse);
        if let Some(about) = about {
            record.resource = Some(self.server.threads.source(&about).to_string());
        }
    }

    /// Writes down, and counts, what the handler of this delivery did; run again, it counts once.
    pub(crate) async fn note(&self, delivery: &Delivery, mut record: Record) -> HandlerResult {
        let entry = delivery.entry();
        record.correlation = Some(correlation(delivery));
        self.on_record(&mut record);
        let own = entry.key.clone().unwrap_or_else(|| delivery.work_id());
        let work = [&*entry.source, own.as_str()];
        let new = self
            .audit
            .note((&self.journal, self.audits), work, &record)
            .await?;
        if new {
            let direction = if entry.source == MATRIX {
                Direction::ToFhir
            } else {
                Direction::ToMatrix
            };
            self.flows.count(direction, record.deed);
        }
        Ok(())
    }

    /// Writes down what somebody had the bridge do beside any delivery; each time counts.
    pub(crate) async fn note_each(&self, mut record: Record) -> HandlerResult {
        self.on_record(&mut record);
        let at = record.at.to_string();
        self.audit
            .note((&self.journal, self.audits), ["each", &at], &record)
            .await?;
        Ok(())
    }

    /// Writes down what was done beside any delivery. What is done to the same things again within the hour
    /// counts once: it is tried again and again while somebody is away.
    pub(crate) async fn note_this_hour(&self, mut record: Record) -> HandlerResult {
        self.on_record(&mut record);
        let hour = (record.at / 3_600_000).to_string();
        let who = match &record.agent {
            Some(Agent::Fhir(who) | Agent::Matrix(who)) => who.clone(),
            None => String::new(),
        };
        self.audit
            .note((&self.journal, self.audits), [&hour, &who], &record)
            .await?;
        Ok(())
    }
}

/// Whether a server doesn't take it, and won't when it is asked again.
fn is_refusal(error: &fhir::Error) -> bool {
    error.retry() == fhir::Retry::Never
}

/// A FHIR id: letters, digits, `-` and `.`, the same for the same parts.
fn id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    // FHIR's ids have no `_`. HAPI takes an id of the client's choice only with a letter in it.
    let text = URL_SAFE_NO_PAD.encode(&hash.finalize()[..24]);
    format!("a{}", text.replace('_', "."))
}
