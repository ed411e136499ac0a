//! Reads what changed on the FHIR server into the journal, from a cursor that moves in the same commit.
//!
//! It reads at the start, when a notification came, and on a timer: a notification only makes it
//! sooner, so one that is lost loses nothing.

mod cursor;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use fhir::{Change, ChangeKind, Changes, HistoryQuery, Instant, ResourceRef, ResourceType, Retry};
use matrix_appservice::{Journal, JournalError, NewEntry};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use self::cursor::{Cursor, Import};
use crate::{
    bridge::Bridge,
    config::{self, Threads},
    links::now_ms,
    mapping::lane,
};

/// The types that may be read, in the order in which a first start needs them.
pub(crate) const TYPES: [ResourceType; 4] = [
    ResourceType::CareTeam,
    ResourceType::CommunicationRequest,
    ResourceType::Communication,
    ResourceType::Task,
];

/// The types that are read where conversations are of this form, in the same order.
pub(crate) fn types(threads: Threads) -> impl Iterator<Item = ResourceType> {
    let requests = threads == Threads::CommunicationRequest;
    TYPES
        .into_iter()
        .filter(move |one| requests || *one != ResourceType::CommunicationRequest)
}

/// Where a type stands among all.
fn place(resource_type: &ResourceType) -> Option<usize> {
    TYPES.iter().position(|one| one == resource_type)
}

/// How far apart the clocks of a server's machines may be. A cursor that is further ahead than this was made by a clock
/// that was set back since.
const CLOCKS: Duration = Duration::from_mins(1);

/// How far before the first start reading begins when nothing is imported.
const BEFORE: Duration = Duration::from_mins(1);

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// When each type was read to its end last.
#[derive(Default)]
pub(crate) struct Reads([AtomicI64; TYPES.len()]);

impl Reads {
    fn note(&self, resource_type: &ResourceType) {
        if let Some(place) = place(resource_type) {
            self.0[place].store(now_ms(), Ordering::Relaxed);
        }
    }

    /// Unix time in ms; `None` for a type that wasn't read since the start.
    pub(crate) fn of(&self, resource_type: &ResourceType) -> Option<i64> {
        let at = self.0[place(resource_type)?].load(Ordering::Relaxed);
        Some(at).filter(|at| *at > 0)
    }
}

/// How far the reading of a type is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It hasn't begun.
    New,
    /// What was there at first is being read; so many are.
    Importing(u64),
    /// It follows what changes, and is at this time of the server's.
    Following(Instant),
}

/// How far the reading of a type is, by its cursor.
pub(crate) async fn progress(
    bridge: &Bridge,
    resource_type: &ResourceType,
) -> Result<Progress, JournalError> {
    let name = cursor_name(bridge, resource_type);
    Ok(match bridge.journal.cursor(&name).await? {
        None => Progress::New,
        Some(text) => match Cursor::parse(Some(&text)) {
            Cursor::Since(since) => Progress::Following(since),
            Cursor::Import(import) => Progress::Importing(import.done),
        },
    })
}

fn cursor_name(bridge: &Bridge, resource_type: &ResourceType) -> String {
    format!("{}/{resource_type}", bridge.source)
}

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
        let notified = std::pin::pin!(self.0[place(resource_type).unwrap()].notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        notified.poll(&mut context).is_ready()
    }

    /// Something of this type has changed, or may have.
    pub(crate) fn wake(&self, resource_type: &ResourceType) {
        if let Some(place) = place(resource_type) {
            self.0[place].notify_one();
        }
    }

    /// Returns when something of this type has changed.
    async fn woken(&self, resource_type: &ResourceType) {
        match place(resource_type) {
            Some(place) => self.0[place].notified().await,
            None => std::future::pending().await,
        }
    }
}

/// Starts a reader for each type.
pub(crate) fn start(
    bridge: &Arc<Bridge>,
    journal: &Journal,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Pullers {
    let pullers = Pullers::new();
    for resource_type in types(bridge.server.threads) {
        let (bridge, journal, pullers) = (bridge.clone(), journal.clone(), pullers.clone());
        let span = bridge.span();
        let (stop, interval) = (stop.clone(), bridge.server.poll_interval());
        tasks.spawn(async move {
            let reading = async {
                let mut failures = 0_u32;
                loop {
                    let pause = match pull(&bridge, &journal, &resource_type).await {
                        Ok(true) => continue,
                        Ok(false) => {
                            failures = 0;
                            bridge.reads.note(&resource_type);
                            interval
                        }
                        Err(error) => {
                            failures += 1;
                            let pause = Duration::from_secs(1 << failures.min(5)).min(LONGEST_PAUSE);
                            let pause = pause.max(error.asked_for());
                            tracing::warn!(%resource_type, failures, pause_s = pause.as_secs(), %error, "changes can't be read, trying again");
                            pause
                        }
                    };
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        // While the server is away, notifications can only be late ones.
                        () = pullers.woken(&resource_type), if failures == 0 => {}
                    }
                }
            };
            stop.run_until_cancelled(reading).await;
        }.instrument(span));
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

impl PullError {
    /// How long the server asks us to wait.
    fn asked_for(&self) -> Duration {
        match self {
            Self::Fhir(error) => match error.retry() {
                Retry::Later(Some(pause)) => pause,
                _ => Duration::ZERO,
            },
            Self::Journal(_) => Duration::ZERO,
        }
    }
}

/// Reads once. Returns whether there is more to be read at once.
async fn pull(
    bridge: &Bridge,
    journal: &Journal,
    resource_type: &ResourceType,
) -> Result<bool, PullError> {
    let name = cursor_name(bridge, resource_type);
    let mut cursor = journal.cursor(&name).await?;
    if cursor.is_none() && bridge.server.import == config::Import::None {
        let from = begin(bridge, resource_type).await?.to_string();
        journal.append(&[], Some((&name, &from))).await?;
        cursor = Some(from);
    }
    let query = |since| HistoryQuery {
        overlap: bridge.server.overlap(),
        ..HistoryQuery::since(since)
    };
    let (read, next) = match Cursor::parse(cursor.as_deref()) {
        Cursor::Since(since) => {
            let query = query(Some(since.clone()));
            let read = bridge.fhir.history_since(resource_type, &query).await?;
            let now = read.server_time.clone();
            if now.is_some_and(|now| now < since.earlier_by(CLOCKS)) {
                tracing::warn!(
                    %resource_type,
                    "the FHIR server's clock was set back, or it was restored from a backup: everything is read once more"
                );
                journal.append(&[], Some((&name, Cursor::RESTART))).await?;
                return Ok(true);
            }
            let next = read.cursor.clone().map(Cursor::Since);
            (read, next)
        }
        // What there is now is enough, and can be read oldest first. Until all of it is read, that goes on, however
        // often the bridge is restarted; then the history follows from when it began, which has the deletions.
        Cursor::Import(import) => {
            let query = query(import.position.clone());
            let read = bridge.fhir.current_since(resource_type, &query).await?;
            let next = import.after(&read);
            tell_progress(bridge, resource_type, &import, &read).await;
            (read, next)
        }
    };
    for change in &read.changes {
        if *change.reference.resource_type() != ResourceType::Task {
            bridge.forget_talks(&change.reference);
        }
    }
    let odd = read.odd.iter().map(|odd| NewEntry {
        dead: Some(odd.what),
        ..NewEntry::new(
            bridge.source,
            format!(
                "odd/{resource_type}/{}/{}",
                odd.id.as_deref().unwrap_or("?"),
                odd.what
            ),
            bridge.lane(resource_type.as_str()),
            Vec::new(),
        )
    });
    let changes = read.changes.iter().map(|change| entry(change, bridge));
    let entries: Vec<NewEntry> = changes.chain(odd).collect();
    let next = next.map(|next| next.to_string());
    if entries.is_empty() && next == cursor {
        return Ok(read.more);
    }
    let next = next.as_deref().map(|next| (name.as_str(), next));
    let new = journal.append(&entries, next).await?;
    if new > 0 {
        tracing::info!(%resource_type, changes = new, "changes are in the journal");
    }
    Ok(read.more)
}

/// Where reading begins when nothing is imported: some time ago by the server's clock.
async fn begin(bridge: &Bridge, resource_type: &ResourceType) -> Result<Instant, PullError> {
    let query = HistoryQuery::since(Some(Instant::now()));
    let read = bridge.fhir.history_since(resource_type, &query).await?;
    let now = read.server_time.unwrap_or_else(Instant::now);
    Ok(now.earlier_by(BEFORE))
}

/// How far an import is. The number on the server is only asked for when there is more than one part.
async fn tell_progress(
    bridge: &Bridge,
    resource_type: &ResourceType,
    import: &Import,
    read: &Changes,
) {
    if !read.more && import.position.is_none() {
        return;
    }
    let done = import.done + read.changes.len() as u64;
    if let Some(total) = bridge.fhir.count(resource_type).await.ok().flatten() {
        let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
        tracing::info!(%resource_type, read = done, total, percent, "import");
    } else {
        tracing::info!(%resource_type, read = done, "import");
    }
}

fn entry(change: &Change, bridge: &Bridge) -> NewEntry {
    let resource = match &change.kind {
        ChangeKind::Put(json) => Some(json),
        ChangeKind::Deleted => None,
    };
    let lane = lane::of(
        &change.reference,
        resource,
        bridge.server.threads,
        bridge.fhir.base(),
    );
    let payload = Payload {
        reference: change.reference.to_string(),
        resource,
    };
    NewEntry::new(
        bridge.source,
        key(change),
        bridge.lane(&lane),
        // A JSON value is always JSON.
        serde_json::to_vec(&payload).unwrap_or_default(),
    )
}

/// By what a change is known to be in the journal already: its version, and the time that the version itself bears,
/// since a server that was restored from a backup gives the number of a version away a second time.
fn key(change: &Change) -> String {
    let (reference, version) = (&change.reference, &change.version_id);
    let time = match &change.kind {
        ChangeKind::Put(json) => json["meta"]["lastUpdated"].as_str(),
        ChangeKind::Deleted => None,
    };
    match time.and_then(Instant::parse) {
        Some(time) => format!("{reference}/{version}@{}", time.unix_millis()),
        None => format!("{reference}/{version}"),
    }
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
mod tests;
