//! Works the journal off: in order within a lane, lanes in parallel.
//!
//! One task, [`Dispatcher::run`], owns the lanes. It takes the oldest entry of each free lane, runs the
//! handler in a task of its own, and tells the journal the outcome: done (written down in batches), held
//! for a retry, or a dead letter. A handler that panics or runs too long has failed; nothing it does
//! stops the dispatcher.
//!
//! Each reader has two of them: one for what is handled each, and one, with workers of its own, for
//! what only counts until something newer comes, so that a room's messages never wait for who types.

mod delivery;
mod handler;
mod lanes;
mod retry;
#[cfg(test)]
mod tests;
mod work;
mod work_off;

use std::{
    collections::{HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use self::{
    delivery::Delivery,
    handler::{HandlerError, HandlerResult},
    retry::{Retry, RetryPolicy},
};
pub(crate) use self::{
    handler::Handler,
    work::{Ordinals, Work, next_ordinal},
    work_off::work_off,
};
use self::{
    lanes::{Lanes, PER_LANE_READ},
    retry::Verdict,
};
use crate::{
    client::Client,
    intent::Before,
    journal::{Due, Entry, Feed, Journal, JournalError, MATRIX, cause, now_ms},
    measures,
    store::Queue,
};

/// The pause after the database failed.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);
/// Why a lane is held whose entry failed in an earlier process.
const BEFORE: &str = "it failed before the restart";
/// Lanes and entries that are read before the handlers get a turn again.
const REFILLS_AT_ONCE: usize = 64;
const ENTRIES_AT_ONCE: usize = 256;

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
    entry: Arc<Entry>,
    result: HandlerResult,
    /// What is known of earlier runs.
    before: Arc<Before>,
}

/// The handlers of one reader, by the source of the entries that they work on.
pub(crate) type Sources = HashMap<String, Arc<dyn Handler>>;

pub(crate) struct Dispatcher {
    journal: Journal,
    client: Client,
    handlers: Arc<Sources>,
    limits: Limits,
    /// What is to be worked off.
    feed: Feed,
    lanes: Lanes,
    /// All entries up to this id have been offered to the lanes.
    scanned_to: i64,
    /// A handler may have begun with entries up to this id, whatever the journal says of them: they
    /// were there when we started. Of each lane it has begun with the first ones, in their order: behind one that was
    /// not brought to its end, none was begun with.
    inherited: i64,
    /// Entries that have failed, and the journal doesn't know it.
    unwritten: HashSet<i64>,
    /// Handlers at work, at most `limits.parallel`. Dropping it ends them.
    workers: JoinSet<Outcome>,
}

impl Dispatcher {
    /// Works off what `reader` has to handle in one of its queues.
    pub(crate) fn new(
        journal: Journal,
        client: Client,
        (reader, queue): (&str, Queue),
        handlers: Arc<Sources>,
        limits: Limits,
    ) -> Self {
        let feed = journal.feed(reader, queue);
        Self {
            journal,
            client,
            handlers,
            lanes: Lanes::for_workers(limits.parallel),
            limits,
            scanned_to: 0,
            inherited: feed.newest,
            unwritten: HashSet::new(),
            feed,
            workers: JoinSet::new(),
        }
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
            self.journal.make_way().await;
            self.start_ready();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Before the outcomes: handlers that are always ready must not hide what is new.
                () = self.feed.changed(), if filled.is_ok() => {}
                Some(outcome) = self.workers.join_next() => self.joined(outcome).await,
                () = sleep_until(again_at) => {}
            }
            while let Some(outcome) = self.workers.try_join_next() {
                self.joined(outcome).await;
            }
        }
        self.drain().await;
    }

    /// Works one entry off, here and now; false when there is none to be had. For tests that step.
    #[cfg(test)]
    pub(crate) async fn step(&mut self) -> Result<bool, JournalError> {
        while self.fill().await? {}
        let Some(entry) = self.lanes.take() else {
            return Ok(false);
        };
        let outcome = self.attempt(entry).await;
        self.settle(outcome).await;
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
    }

    /// Brings what is to be worked off into the lanes: a bounded piece, as far as there is room.
    /// Returns whether there is more to be brought right away.
    async fn fill(&mut self) -> Result<bool, JournalError> {
        let now = now_ms();
        self.lanes.release(now);
        for _ in 0..REFILLS_AT_ONCE {
            if !self.lanes.has_room() {
                break;
            }
            let Some((lane, after)) = self.lanes.wants_refill() else {
                break;
            };
            let range = (after, self.scanned_to);
            let read = self.feed.waiting(Some(&lane), range, PER_LANE_READ).await;
            match read {
                Ok(page) => self.lanes.refill(&lane, page, now),
                Err(error) => {
                    self.lanes.put_refill_back(lane, after);
                    return Err(error);
                }
            }
        }
        let mut left = self.lanes.has_refills();
        match self.feed.next(self.lanes.room().min(ENTRIES_AT_ONCE)) {
            Due::Entries(entries) => {
                left = true;
                for entry in entries {
                    self.scanned_to = entry.id;
                    self.lanes.offer(entry, now);
                }
            }
            Due::Stored(up_to) if self.lanes.has_room() => {
                left = true;
                self.read_stored(up_to, now).await?;
            }
            Due::Stored(_) | Due::Nothing => {}
        }
        Ok(left && self.lanes.has_room())
    }

    /// A page of what is stored, up to an id.
    async fn read_stored(&mut self, up_to: i64, now: i64) -> Result<(), JournalError> {
        const PAGE: u32 = 256;
        let range = (self.scanned_to, up_to);
        let page = self.feed.waiting(None, range, PAGE).await?;
        for entry in page.entries {
            if entry.due_at > now {
                self.journal
                    .hold(&entry, entry.attempts, entry.due_at, BEFORE);
            }
            self.lanes.offer(entry, now);
        }
        self.scanned_to = self.scanned_to.max(page.up_to);
        if !page.more {
            self.feed.read(up_to);
        }
        Ok(())
    }

    fn start_ready(&mut self) {
        while self.workers.len() < self.limits.parallel && !self.journal.is_stuck() {
            let Some(entry) = self.lanes.take() else {
                return;
            };
            let attempt = self.attempt(entry);
            self.workers.spawn(attempt);
        }
    }

    /// Runs the handler of an entry; whatever it does becomes an outcome.
    fn attempt(&self, entry: Arc<Entry>) -> impl Future<Output = Outcome> + Send + use<> {
        if entry.source == MATRIX {
            self.client.observe(&entry.payload);
        }
        let inherited = entry.id <= self.inherited && !self.lanes.is_new(&entry.lane);
        let failed = entry.attempts > 0 || self.unwritten.contains(&entry.id);
        let before = Arc::new(Before::new(entry.begun || failed || inherited));
        let delivery = Delivery::new(entry.clone(), self.client.clone(), before.clone());
        let handler = self.handlers.get(&*entry.source).cloned();
        let timeout = self.limits.handler_timeout;
        async move {
            let began = Instant::now();
            let result = match handler {
                None => Err(HandlerError::never(format!(
                    "no handler for entries of the source {:?}",
                    entry.source
                ))),
                Some(handler) => {
                    // A panic ends here. When it runs too long, it ends at its next `await`; until then
                    // the lane is still its own.
                    let work = AssertUnwindSafe(async move { handler.handle(delivery).await });
                    match tokio::time::timeout(timeout, work.catch_unwind()).await {
                        Ok(Ok(result)) => result,
                        Ok(Err(_)) => {
                            Err(HandlerError::new("the handler panicked", Retry::Backoff))
                        }
                        Err(_) => Err(HandlerError::new(
                            "the handler ran too long",
                            Retry::Backoff,
                        )),
                    }
                }
            };
            measures::handled(entry.source.clone(), began.elapsed(), result.as_ref().err());
            Outcome {
                entry,
                result,
                before,
            }
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
        let Outcome {
            entry,
            result,
            before,
        } = outcome;
        let Err(error) = result else {
            if before.may_be() && before.had_no_end() {
                self.lanes.is_new_from_here(&entry.lane);
            }
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
                if let Err(error) = self
                    .journal
                    .postpone(entry.id, attempts, due_at, error.class())
                    .await
                {
                    tracing::error!(entry = entry.id, error = %error, "the failed attempt is not in the journal");
                    self.unwritten.insert(entry.id);
                }
                self.hold(&entry, attempts, due_at, error.class());
            }
            Verdict::Dead if entry.passes() => {
                tracing::warn!(
                    entry = entry.id,
                    source = &*entry.source,
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
        self.journal.done(entry.id);
        self.go_on(entry);
    }

    /// The lane waits for this entry.
    fn hold(&mut self, entry: &Entry, attempts: u32, due_at: i64, class: &str) {
        self.lanes.failed(&entry.lane, entry.id, due_at);
        self.journal.hold(entry, attempts, due_at, class);
    }

    /// The lane goes on behind this entry.
    fn go_on(&mut self, entry: &Entry) {
        self.unwritten.remove(&entry.id);
        self.lanes.finished(&entry.lane);
        self.journal.let_go(entry);
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
        match self.journal.bury(entry.id, attempts, class).await {
            Ok(()) => {
                measures::buried(&entry.source);
                self.go_on(entry);
            }
            Err(error) => {
                tracing::error!(entry = entry.id, error = %error, "the dead letter is not in the journal, its lane waits");
                self.unwritten.insert(entry.id);
                let pause = i64::try_from(DATABASE_PAUSE.as_millis()).unwrap_or(1000);
                self.hold(entry, attempts, now_ms() + pause, class);
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
