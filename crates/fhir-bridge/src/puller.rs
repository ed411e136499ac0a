//! Reads what changed on the FHIR server into the journal, from a cursor that moves in the same commit.
//!
//! It reads at the start, when a notification came, and on a timer: a notification only makes it
//! sooner, so one that is lost loses nothing.

use std::{sync::Arc, time::Duration};

use fhir::{Change, ChangeKind, HistoryQuery, Instant, ResourceRef, ResourceType};
use matrix_appservice::{Journal, NewEntry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bridge::{Bridge, FHIR},
    config::Config,
    mapping::lane,
};

/// The types that are read, in the order in which a first start needs them.
pub(crate) const TYPES: [ResourceType; 4] = [
    ResourceType::CareTeam,
    ResourceType::CommunicationRequest,
    ResourceType::Communication,
    ResourceType::Task,
];

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Wakes the reader of a type.
#[derive(Clone)]
pub(crate) struct Pullers(Arc<[Notify; TYPES.len()]>);

impl Pullers {
    pub(crate) fn new() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Notify::new())))
    }

    /// Whether somebody has woken the reader of this type since the last look.
    #[cfg(test)]
    pub(crate) fn was_woken(&self, resource_type: &ResourceType) -> bool {
        let index = TYPES.iter().position(|one| one == resource_type).unwrap();
        let notified = std::pin::pin!(self.0[index].notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        notified.poll(&mut context).is_ready()
    }

    /// Something of this type has changed, or may have.
    pub(crate) fn wake(&self, resource_type: &ResourceType) {
        if let Some(index) = TYPES.iter().position(|one| one == resource_type) {
            self.0[index].notify_one();
        }
    }
}

/// Starts a reader for each type.
pub(crate) fn start(
    bridge: &Arc<Bridge>,
    journal: &Journal,
    config: &Config,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Pullers {
    let pullers = Pullers::new();
    for (index, resource_type) in TYPES.into_iter().enumerate() {
        let (bridge, journal, pullers) = (bridge.clone(), journal.clone(), pullers.clone());
        let (stop, interval) = (stop.clone(), config.poll_interval());
        tasks.spawn(async move {
            let reading = async {
                let mut failures = 0_u32;
                loop {
                    let pause = match pull(&bridge, &journal, &resource_type).await {
                        Ok(true) => continue,
                        Ok(false) => {
                            failures = 0;
                            interval
                        }
                        Err(error) => {
                            failures += 1;
                            let pause = Duration::from_secs(1 << failures.min(5)).min(LONGEST_PAUSE);
                            tracing::warn!(%resource_type, failures, pause_s = pause.as_secs(), %error, "changes can't be read, trying again");
                            pause
                        }
                    };
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        // While the server is away, notifications can only be late ones.
                        () = pullers.0[index].notified(), if failures == 0 => {}
                    }
                }
            };
            stop.run_until_cancelled(reading).await;
        });
    }
    pullers
}

/// Why reading failed.
#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error(transparent)]
    Fhir(#[from] fhir::Error),
    #[error(transparent)]
    Journal(#[from] matrix_appservice::JournalError),
}

/// Reads once. Returns whether there is more to be read at once.
async fn pull(
    bridge: &Bridge,
    journal: &Journal,
    resource_type: &ResourceType,
) -> Result<bool, PullError> {
    let name = format!("{FHIR}/{resource_type}");
    let since = journal
        .cursor(&name)
        .await?
        .as_deref()
        .and_then(Instant::parse);
    let query = HistoryQuery::since(since.clone());
    let read = match since {
        Some(_) => bridge.fhir.history_since(resource_type, &query).await?,
        // The first time, what there is now is enough, and can be read oldest first.
        None => bridge.fhir.current_since(resource_type, &query).await?,
    };
    let changes = read.changes.iter().map(|change| entry(change, bridge));
    let odd = read.odd.iter().map(|odd| NewEntry {
        dead: Some(odd.what),
        ..NewEntry::new(
            FHIR,
            format!(
                "odd/{resource_type}/{}/{}",
                odd.id.as_deref().unwrap_or("?"),
                odd.what
            ),
            resource_type.to_string(),
            Vec::new(),
        )
    });
    let entries: Vec<NewEntry> = changes.chain(odd).collect();
    let cursor = read
        .cursor
        .as_ref()
        .map(|cursor| (name.as_str(), cursor.as_str()));
    if entries.is_empty() && read.cursor == query.since {
        return Ok(read.more);
    }
    let new = journal.append(&entries, cursor).await?;
    if new > 0 {
        tracing::info!(%resource_type, changes = new, "changes are in the journal");
    }
    Ok(read.more)
}

fn entry(change: &Change, bridge: &Bridge) -> NewEntry {
    let resource = match &change.kind {
        ChangeKind::Put(json) => Some(json),
        ChangeKind::Deleted => None,
    };
    let lane = lane::of(&change.reference, resource, bridge.fhir.base());
    let payload = Payload {
        reference: change.reference.to_string(),
        resource,
    };
    NewEntry::new(
        FHIR,
        format!("{}/{}", change.reference, change.version_id),
        lane,
        // A JSON value is always JSON.
        serde_json::to_vec(&payload).unwrap_or_default(),
    )
}

#[derive(Serialize)]
struct Payload<'a> {
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a Value>,
}

/// A change as it stands in the journal.
pub(crate) struct Stored {
    pub(crate) reference: ResourceRef,
    /// The resource; `None` when it was deleted.
    pub(crate) resource: Option<Value>,
}

impl Stored {
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Payload {
            reference: String,
            resource: Option<Value>,
        }
        let payload: Payload = serde_json::from_slice(payload).ok()?;
        Some(Self {
            reference: ResourceRef::parse(&payload.reference)?,
            resource: payload.resource,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_the_journal_comes_out_of_it() {
        let resource = serde_json::json!({"resourceType": "Communication", "id": "7", "x": 1.10});
        for resource in [Some(&resource), None] {
            let payload = Payload {
                reference: "Communication/7".to_owned(),
                resource,
            };
            let stored = Stored::parse(&serde_json::to_vec(&payload).unwrap()).unwrap();
            assert_eq!(stored.reference.to_string(), "Communication/7");
            assert_eq!(stored.resource.as_ref(), resource);
        }
        for other in ["", "{}", "[]", r#"{"reference":"no reference"}"#] {
            assert!(Stored::parse(other.as_bytes()).is_none(), "{other}");
        }
    }
}
