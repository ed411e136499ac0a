//! Writing down what has become of transactions and entries, behind everybody's back.

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{Journal, JournalError, ledger::Also, lock, now_ms, uncancelled};
use crate::store::{Queue, Tidy};

/// What is done is written down at the latest this long after it was.
const SETTLE_AFTER: Duration = Duration::from_millis(20);
/// The pause after the database failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the database's log is moved to its place while there is traffic, and how long it takes
/// without traffic until it is emptied.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How long it takes without traffic until what was put down in haste is brought to its place.
const CALM_AFTER: Duration = Duration::from_millis(50);
/// How often what is kept for long enough is removed.
const PURGE_EVERY: Duration = Duration::from_hours(1);

impl Journal {
    /// Writes down what is done, until `stop`; then what is left of it.
    pub(crate) async fn settle_on(&self, stop: CancellationToken) {
        let mut keeping = Housekeeping::new();
        loop {
            let store_at = lock(&self.0.ledger).store_at();
            let wake = keeping.wake(store_at);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.0.finished.notified() => {
                    // More will follow, and is written in the same commit.
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(SETTLE_AFTER) => {}
                    }
                    keeping.busy = true;
                    keeping.calm_at = Some(Instant::now() + CALM_AFTER);
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            if let Err(error) = self.settle_old(&mut keeping).await {
                tracing::error!(%error, cause = super::cause(&error), "what is done is not in the journal, trying again");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => {}
                }
                self.0.finished.notify_one();
                continue;
            }
            keeping.keep(self).await;
        }
        if let Err(error) = self.settle_everything().await {
            tracing::error!(%error, cause = super::cause(&error), "what was done last is not in the journal; it is repeated at the next start");
        }
    }

    /// Writes down what is done, and what has waited for long.
    async fn settle_old(&self, keeping: &mut Housekeeping) -> Result<(), JournalError> {
        self.make_way().await;
        while self.settle(Also::Old).await? {
            // Pushes get their turn in between.
            self.make_way().await;
            // Under a load that goes on there is always more, and the log would grow without end.
            keeping.busy = true;
            keeping.keep(self).await;
        }
        Ok(())
    }

    /// Writes down all that is done, and stores what waits: the next process may have other readers, and
    /// needs to know who these entries are for.
    async fn settle_everything(&self) -> Result<(), JournalError> {
        while self.settle(Also::Everything).await? {}
        Ok(())
    }

    /// Writes down all that is done.
    pub(crate) async fn settle_all(&self) -> Result<(), JournalError> {
        while self.settle(Also::Nothing).await? {}
        Ok(())
    }

    /// Sees to it that an entry that waits is a row of its own.
    pub(super) async fn settle_one(&self, id: i64) -> Result<(), JournalError> {
        if lock(&self.0.ledger).is_open(id) {
            self.settle(Also::Only(id)).await?;
        }
        Ok(())
    }

    /// Writes down a bounded piece. Returns whether there is more.
    pub(super) async fn settle(&self, also: Also) -> Result<bool, JournalError> {
        if also == Also::Nothing && !lock(&self.0.ledger).is_due() {
            return Ok(false);
        }
        let this = self.clone();
        uncancelled(async move { this.settle_now(also).await }).await
    }

    async fn settle_now(&self, also: Also) -> Result<bool, JournalError> {
        let _turn = self.0.settle_turn.lock().await;
        let (mut drawn, under_way) = {
            let mut feeds = lock(&self.0.feeds);
            let mut drawn = lock(&self.0.ledger).draw(also, Instant::now(), now_ms());
            for latest in &mut drawn.settlement.latest {
                Arc::make_mut(&mut latest.row.entry).id = feeds.ids(1);
            }
            let waits = !drawn.settlement.latest.is_empty();
            let newest = feeds.newest();
            let under_way = waits.then(|| feeds.storing(Queue::Latest, newest));
            (drawn, under_way)
        };
        if drawn.settlement.is_empty() {
            return Ok(false);
        }
        let settlement = Arc::new(std::mem::take(&mut drawn.settlement));
        let written = self.0.store.settle(&settlement).await;
        drawn.settlement = Arc::unwrap_or_clone(settlement);
        {
            let mut ledger = lock(&self.0.ledger);
            match &written {
                Ok(()) => ledger.written(&drawn),
                Err(_) => ledger.not_written(&drawn),
            }
        }
        let mut feeds = lock(&self.0.feeds);
        if let Some(under_way) = under_way {
            feeds.stored(under_way);
        }
        let was_stuck = self.0.stuck.swap(written.is_err(), Ordering::Relaxed);
        if was_stuck && written.is_ok() {
            feeds.wake_all();
        }
        written.map(|()| drawn.more)
    }
}

/// What is done now and then.
struct Housekeeping {
    /// Something was written since the log was moved last.
    busy: bool,
    /// The log has not been emptied since.
    full: bool,
    calm_at: Option<Instant>,
    tidy_at: Instant,
    purge_at: Instant,
}

impl Housekeeping {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            busy: true,
            full: true,
            calm_at: None,
            tidy_at: now + TIDY_EVERY,
            purge_at: now,
        }
    }

    fn wake(&self, store_at: Option<Instant>) -> Instant {
        let tidy_at = (self.busy || self.full).then_some(self.tidy_at);
        [store_at, tidy_at, self.calm_at]
            .into_iter()
            .flatten()
            .fold(self.purge_at, Instant::min)
    }

    async fn keep(&mut self, journal: &Journal) {
        let now = Instant::now();
        if (self.busy || self.full) && self.tidy_at <= now {
            let when = if self.busy { Tidy::Busy } else { Tidy::Idle };
            journal.tidy(when).await;
            self.full = self.busy;
            self.busy = false;
            self.tidy_at = Instant::now() + TIDY_EVERY;
        }
        if self.calm_at.is_some_and(|at| at <= now) {
            self.calm_at = None;
            journal.tidy(Tidy::Calm).await;
        }
        if self.purge_at <= now {
            match journal.purge().await {
                Ok(true) => self.purge_at = Instant::now() + SETTLE_AFTER,
                Ok(false) => self.purge_at = Instant::now() + PURGE_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "what is kept for long enough could not be removed");
                    self.purge_at = Instant::now() + PURGE_EVERY;
                }
            }
        }
    }
}

impl Journal {
    async fn tidy(&self, when: Tidy) {
        if let Err(error) = self.0.store.tidy(when).await {
            tracing::debug!(%error, "the store could not be tidied");
        }
    }

    /// Removes a bounded piece of what is kept for long enough. Returns whether there is more.
    pub(crate) async fn purge(&self) -> Result<bool, JournalError> {
        let retention = *lock(&self.0.retention);
        let before = |kept: Duration| {
            let at = SystemTime::now()
                .checked_sub(kept)
                .unwrap_or(SystemTime::UNIX_EPOCH);
            super::unix_ms(at)
        };
        let keys = retention.keys.map(before);
        self.0.store.purge(before(retention.payloads), keys).await
    }
}
