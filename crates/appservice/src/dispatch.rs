//! Works the journal off: in order within a lane, lanes in parallel.
//!
//! One task, [`Dispatcher::run`], owns the lanes. It splits stored transactions into entries, takes
//! the oldest entry of each free lane, runs the handler in a task of its own, and writes the outcome
//! back: done (in batches), held for a retry, or a dead letter. A handler that panics or runs too
//! long has failed; nothing it does stops the dispatcher.
//!
//! There are two of them: one for what is handled each, and one, with workers of its own, for what
//! only counts until something newer comes, so that a room's messages never wait for who types.

mod delivery;
mod handler;
mod lanes;
mod retry;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};
use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::{
    delivery::Delivery,
    handler::{HandlerError, HandlerResult},
    retry::{Retry, RetryPolicy},
};
pub(crate) use self::{
    delivery::{Ordinals, next_ordinal},
    handler::Handler,
};
use self::{
    lanes::{Lanes, PER_LANE},
    retry::Verdict,
};
use crate::{
    client::Client,
    journal::{Entry, Journal, JournalError, Queue, intake::Intake, now_ms},
};

/// Completions are written at the latest when this many have gathered …
const FLUSH_AT: usize = 64;
/// … or this long after the first.
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// The pause after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);
/// Transactions, lanes and entries that are read before the handlers get a turn again.
const TRANSACTIONS_AT_ONCE: u32 = 4;
const REFILLS_AT_ONCE: usize = 64;
const ENTRIES_AT_ONCE: u32 = 256;

/// The limits of the dispatcher.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) retry: RetryPolicy,
    /// Handlers at work at the same time, each in a lane of its own.
    pub(crate) parallel: usize,
    pub(crate) handler_timeout: Duration,
    /// How long handlers that are at work may go on after a stop was asked for.
    pub(crate) drain: Duration,
}

impl Limits {
    /// Those of the second dispatcher.
    pub(crate) fn for_latest(self) -> Self {
        Self {
            parallel: self.parallel.div_ceil(4),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            parallel: 32,
            handler_timeout: Duration::from_mins(2),
            drain: Duration::from_secs(10),
        }
    }
}

struct Outcome {
    entry: Entry,
    result: HandlerResult,
}

pub(crate) struct Dispatcher {
    journal: Journal,
    client: Client,
    handlers: Arc<HashMap<String, Arc<dyn Handler>>>,
    limits: Limits,
    queue: Queue,
    /// What is taken in when transactions are split.
    intake: Arc<Intake>,
    lanes: Lanes,
    /// Something was appended since the journal was last looked at.
    appended: bool,
    /// The last scan left entries in the journal.
    left_on_disk: bool,
    /// The scan has met all entries up to this id.
    scanned_to: i64,
    /// A handler may have begun with entries up to this id, whatever the journal says of them: they
    /// were there when we started, or a failed attempt could not be written down.
    inherited: i64,
    /// Handlers at work, at most `limits.parallel`. Dropping it ends them.
    workers: JoinSet<Outcome>,
    done: Vec<i64>,
    flush_by: Option<Instant>,
    /// The last completions could not be written. Nothing new is begun until they are: it would all
    /// be repeated after a restart.
    stuck: bool,
}

impl Dispatcher {
    pub(crate) async fn new(
        journal: Journal,
        client: Client,
        handlers: HashMap<String, Arc<dyn Handler>>,
        limits: Limits,
    ) -> Result<Self, JournalError> {
        let inherited = journal.store().newest().await?;
        Ok(Self {
            journal,
            client,
            handlers: Arc::new(handlers),
            lanes: Lanes::for_workers(limits.parallel),
            limits,
            queue: Queue::Each,
            intake: Arc::default(),
            appended: true,
            left_on_disk: false,
            scanned_to: 0,
            inherited,
            workers: JoinSet::new(),
            done: Vec::new(),
            flush_by: None,
            stuck: false,
        })
    }

    /// Takes in of the transactions what `intake` says. By default, all that is no ephemeral event.
    pub(crate) fn with_intake(mut self, intake: Arc<Intake>) -> Self {
        self.intake = intake;
        self
    }

    /// Works off the entries of which the latest counts, and none of the others.
    pub(crate) fn of_latest(mut self) -> Self {
        self.queue = Queue::Latest;
        self
    }

    /// Works until `stop` is cancelled, then lets the handlers at work finish.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let filled = self.fill().await;
            let again_at = match filled {
                Ok(true) => Some(Instant::now()),
                Ok(false) => self.next_release(),
                Err(ref error) => {
                    tracing::error!(error = %error, cause = cause(error), "the journal can't be read, trying again");
                    // Lanes that are due wait as well: without the pause this would spin.
                    Some(Instant::now() + DATABASE_PAUSE)
                }
            };
            self.start_ready();
            if self.workers.is_empty() && !self.done.is_empty() && !self.stuck {
                self.flush_by = Some(Instant::now());
            }
            let wake = [self.flush_by, again_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Before the outcomes: handlers that are always ready must not hide what is new.
                () = self.journal.appended(self.queue), if filled.is_ok() => self.appended = true,
                Some(outcome) = self.workers.join_next() => self.joined(outcome).await,
                () = sleep_until(wake) => {}
            }
            while let Some(outcome) = self.workers.try_join_next() {
                self.joined(outcome).await;
            }
            let full = self.done.len() >= FLUSH_AT && !self.stuck;
            if full || self.flush_by.is_some_and(|by| by <= Instant::now()) {
                self.flush().await;
            }
        }
        self.drain().await;
    }

    /// Works one entry off, here and now; false when there is none to be had. For tests that step.
    #[cfg(test)]
    pub(crate) async fn step(&mut self) -> Result<bool, JournalError> {
        self.appended = true;
        while self.fill().await? {}
        let Some(entry) = self.lanes.take() else {
            return Ok(false);
        };
        let outcome = self.attempt(entry).await;
        self.settle(outcome).await;
        self.flush().await;
        Ok(true)
    }

    async fn drain(&mut self) {
        let deadline = Instant::now() + self.limits.drain;
        loop {
            match tokio::time::timeout_at(deadline, self.workers.join_next()).await {
                Ok(Some(outcome)) => self.joined(outcome).await,
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        handlers = self.workers.len(),
                        "stopped before these had finished; their entries are repeated at the next start"
                    );
                    self.workers.shutdown().await;
                    break;
                }
            }
        }
        self.flush().await;
    }

    /// Brings what is in the journal into the lanes: a bounded piece, as far as there is room.
    /// Returns whether there is more to be brought right away.
    async fn fill(&mut self) -> Result<bool, JournalError> {
        let mut unsplit = false;
        if self.appended && self.queue == Queue::Each {
            let split = self
                .journal
                .split(TRANSACTIONS_AT_ONCE, &self.intake)
                .await?;
            unsplit = split >= TRANSACTIONS_AT_ONCE as usize;
        }
        let now = now_ms();
        self.lanes.release(now);
        for _ in 0..REFILLS_AT_ONCE {
            if !self.lanes.has_room() {
                break;
            }
            let Some((lane, after)) = self.lanes.wants_refill() else {
                break;
            };
            let read = self
                .journal
                .store()
                .waiting_in_lane(self.queue, &lane, after..=self.scanned_to, PER_LANE)
                .await;
            match read {
                Ok(entries) => self.lanes.refill(&lane, entries, now),
                Err(error) => {
                    self.lanes.put_refill_back(lane, after);
                    return Err(error);
                }
            }
        }
        self.left_on_disk |= self.appended;
        if self.left_on_disk && self.lanes.has_room() {
            let entries = self
                .journal
                .store()
                .waiting(self.queue, self.scanned_to, ENTRIES_AT_ONCE)
                .await?;
            self.left_on_disk = entries.len() >= ENTRIES_AT_ONCE as usize;
            if let Some(last) = entries.last() {
                self.scanned_to = last.id;
            }
            for entry in entries {
                self.lanes.offer(entry, now);
            }
        }
        self.appended = unsplit;
        let left = unsplit || self.left_on_disk || self.lanes.has_refills();
        Ok(left && self.lanes.has_room())
    }

    fn start_ready(&mut self) {
        while self.workers.len() < self.limits.parallel && !self.stuck {
            let Some(entry) = self.lanes.take() else {
                return;
            };
            let attempt = self.attempt(entry);
            self.workers.spawn(attempt);
        }
    }

    /// Runs the handler of an entry; whatever it does becomes an outcome.
    fn attempt(&self, entry: Entry) -> impl Future<Output = Outcome> + Send + use<> {
        let may_be_repeat = entry.begun || entry.attempts > 0 || entry.id <= self.inherited;
        let delivery = Delivery::new(entry.clone(), self.client.clone(), may_be_repeat);
        let handler = self.handlers.get(&entry.source).cloned();
        let timeout = self.limits.handler_timeout;
        async move {
            let result = match handler {
                None => Err(HandlerError::never(format!(
                    "no handler for entries of the source {:?}",
                    entry.source
                ))),
                Some(handler) => {
                    // In a task of its own, so that a panic ends there.
                    let task = tokio::spawn(async move { handler.handle(delivery).await });
                    let mut task = AbortOnDropHandle::new(task);
                    match tokio::time::timeout(timeout, &mut task).await {
                        Ok(Ok(result)) => result,
                        Ok(Err(_)) => {
                            Err(HandlerError::new("the handler panicked", Retry::Backoff))
                        }
                        Err(_) => {
                            task.abort();
                            // It ends at its next `await`. Until then the lane is still its own.
                            task.await.unwrap_or_else(|_| {
                                Err(HandlerError::new(
                                    "the handler ran too long",
                                    Retry::Backoff,
                                ))
                            })
                        }
                    }
                }
            };
            Outcome { entry, result }
        }
    }

    async fn joined(&mut self, outcome: Result<Outcome, JoinError>) {
        if let Ok(outcome) = outcome {
            self.settle(outcome).await;
        } else {
            // A handler's panic is an outcome; a worker has nothing else that could panic.
            tracing::error!("a worker was lost, its lane stands until the next start");
        }
    }

    async fn settle(&mut self, outcome: Outcome) {
        let Outcome { entry, result } = outcome;
        let Err(error) = result else {
            self.finish(&entry);
            return;
        };
        let attempts = entry
            .attempts
            .saturating_add(u32::from(error.retry().counts()));
        let age = u64::try_from(now_ms() - entry.received_at).unwrap_or(0);
        let verdict = self.limits.retry.judge(
            error.retry(),
            attempts,
            Duration::from_millis(age),
            jitter(entry.id, now_ms()),
        );
        match verdict {
            Verdict::Again(pause) => {
                let due_at = now_ms() + i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 2);
                tracing::warn!(
                    entry = entry.id,
                    lane = %entry.lane,
                    attempts,
                    pause_ms = pause.as_millis(),
                    error = error.class(),
                    "entry failed, its lane waits"
                );
                let store = self.journal.store();
                if let Err(error) = store
                    .postpone(entry.id, attempts, due_at, error.class())
                    .await
                {
                    tracing::error!(entry = entry.id, error = %error, "the failed attempt is not in the journal");
                    self.inherited = self.inherited.max(entry.id);
                }
                self.lanes.failed(&entry.lane, entry.id, due_at);
            }
            Verdict::Dead if entry.passes() => {
                tracing::warn!(
                    entry = entry.id,
                    source = entry.source,
                    attempts,
                    error = error.class(),
                    "ephemeral event given up"
                );
                self.finish(&entry);
            }
            Verdict::Dead => self.bury(&entry, attempts, error.class()).await,
        }
    }

    fn finish(&mut self, entry: &Entry) {
        self.done.push(entry.id);
        self.flush_by
            .get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
        self.lanes.finished(&entry.lane);
    }

    async fn bury(&mut self, entry: &Entry, attempts: u32, class: &str) {
        tracing::error!(
            entry = entry.id,
            key = entry.key.as_deref(),
            lane = %entry.lane,
            attempts,
            error = class,
            "entry is a dead letter: kept, and its lane goes on"
        );
        match self.journal.store().bury(entry.id, attempts, class).await {
            Ok(()) => self.lanes.finished(&entry.lane),
            Err(error) => {
                tracing::error!(entry = entry.id, error = %error, "the dead letter is not in the journal, its lane waits");
                self.inherited = self.inherited.max(entry.id);
                let pause = i64::try_from(DATABASE_PAUSE.as_millis()).unwrap_or(1000);
                self.lanes.failed(&entry.lane, entry.id, now_ms() + pause);
            }
        }
    }

    /// Marks what is done as done, in one commit.
    async fn flush(&mut self) {
        if self.done.is_empty() {
            self.flush_by = None;
            return;
        }
        let written = match self.queue {
            Queue::Each => self.journal.store().complete(&self.done).await,
            Queue::Latest => self.journal.store().forget(&self.done).await,
        };
        match written {
            Ok(()) => {
                self.done.clear();
                self.flush_by = None;
                self.stuck = false;
            }
            Err(error) => {
                tracing::error!(entries = self.done.len(), error = %error, "completions are not in the journal, trying again");
                self.flush_by = Some(Instant::now() + DATABASE_PAUSE);
                self.stuck = true;
            }
        }
    }

    fn next_release(&self) -> Option<Instant> {
        let due_at = self.lanes.next_release()?;
        let pause = u64::try_from(due_at - now_ms()).unwrap_or(0);
        Some(Instant::now() + Duration::from_millis(pause))
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// A number between 0 and 1 that differs from entry to entry and from time to time.
fn jitter(id: i64, now: i64) -> f64 {
    let digest = Sha256::digest(format!("{id}/{now}"));
    f64::from(digest[0]) / 255.0
}

/// The text of an error's cause; a database's own words hold no content.
fn cause(error: &JournalError) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
