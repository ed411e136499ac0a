//! Pauses that the homeserver asks for (429): for one user and one kind of call, while others go on.
//!
//! The first 429 puts a gate before its key. Who comes to a gate queues up: one goes at a time, in the
//! order in which they came, so that the end of a pause isn't the begin of the next one. The gate is
//! gone when nobody queues any more. As long as there is none, which is nearly always, a call costs
//! one look at a counter.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ruma::{OwnedUserId, UserId};
use tokio::{
    sync::{Mutex as Queue, OwnedMutexGuard},
    time::Instant,
};

use super::clock::Clock;

/// Which calls a homeserver counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Messages, state and redactions.
    Event,
    Join,
    Invite,
    CreateRoom,
    /// Accounts: registering, logging in.
    Account,
    Media,
    /// Everything else, by its route.
    Other(&'static str),
}

impl Class {
    /// The class of a route's pattern.
    pub(crate) fn of(route: &'static str) -> Self {
        let rest = route.strip_prefix("/_matrix/").unwrap_or(route);
        if rest.starts_with("media/") || rest.starts_with("client/v1/media/") {
            return Self::Media;
        }
        let last = |name: &str| rest.ends_with(name);
        if rest.contains("/send/") || rest.contains("/redact/") || rest.contains("/state/") {
            Self::Event
        } else if last("/join") || rest.contains("/join/") {
            Self::Join
        } else if last("/invite") {
            Self::Invite
        } else if last("/createRoom") || last("/upgrade") {
            Self::CreateRoom
        } else if last("/register") || last("/login") {
            Self::Account
        } else {
            Self::Other(route)
        }
    }
}

type Key = (OwnedUserId, Class);

#[derive(Debug)]
struct Gate {
    queue: Arc<Queue<()>>,
    until: Mutex<Instant>,
}

impl Gate {
    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, until: Instant) {
        let mut current = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *current = until.max(*current);
    }
}

/// The pause is longer than the caller wants to wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong(pub(crate) Duration);

#[derive(Debug, Default)]
pub(crate) struct Limiter {
    gates: Mutex<HashMap<Key, Arc<Gate>>>,
    /// How many gates there are, to be read without the lock.
    count: AtomicUsize,
}

/// The right to go through a gate. The next one goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    limiter: Arc<Limiter>,
    clock: Clock,
    key: Key,
    /// Taken when it is dropped.
    gate: Option<Arc<Gate>>,
    place: Option<OwnedMutexGuard<()>>,
}

impl Limiter {
    /// Waits for a turn where there is a gate, until `deadline` at the latest; `None` where there is
    /// none.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        clock: &Clock,
        user: &UserId,
        route: &'static str,
        deadline: Instant,
    ) -> Result<Option<Turn>, TooLong> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(None);
        }
        let key = (user.to_owned(), Class::of(route));
        let Some(gate) = self.lock().get(&key).cloned() else {
            return Ok(None);
        };
        self.queue_up(clock, key, gate, deadline).await.map(Some)
    }

    /// The homeserver asked for a pause: waits it out, behind those who wait already, or at the head
    /// when it has its `turn`.
    pub(crate) async fn limited(
        self: &Arc<Self>,
        clock: &Clock,
        turn: Option<Turn>,
        user: &UserId,
        route: &'static str,
        pause: Duration,
        deadline: Instant,
    ) -> Result<Turn, TooLong> {
        let now = clock.now();
        // A server may ask for any time.
        let until = now + pause.min(Duration::from_hours(24));
        if let Some(turn) = turn
            && let Some(gate) = &turn.gate
        {
            gate.close(until);
            turn.wait(deadline).await?;
            return Ok(turn);
        }
        let key = (user.to_owned(), Class::of(route));
        let gate = {
            let mut gates = self.lock();
            // Gates that nobody came to again since.
            gates.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.until() > now);
            let gate = gates.entry(key.clone()).or_insert_with(|| {
                Arc::new(Gate {
                    queue: Arc::default(),
                    until: Mutex::new(until),
                })
            });
            gate.close(until);
            let gate = gate.clone();
            self.count.store(gates.len(), Ordering::Release);
            gate
        };
        self.queue_up(clock, key, gate, deadline).await
    }

    async fn queue_up(
        self: &Arc<Self>,
        clock: &Clock,
        key: Key,
        gate: Arc<Gate>,
        deadline: Instant,
    ) -> Result<Turn, TooLong> {
        let queue = gate.queue.clone();
        let until = gate.until();
        // From here on dropping it leaves the queue, and takes a gate away that nobody needs.
        let mut turn = Turn {
            limiter: self.clone(),
            clock: clock.clone(),
            key,
            gate: Some(gate),
            place: None,
        };
        if until > deadline {
            return Err(TooLong(until - clock.now()));
        }
        turn.place = clock.until(deadline, queue.lock_owned()).await;
        if turn.place.is_none() {
            return Err(TooLong(until.saturating_duration_since(clock.now())));
        }
        turn.wait(deadline).await?;
        Ok(turn)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn gates(&self) -> usize {
        self.lock().len()
    }
}

impl Turn {
    /// Waits until the gate is open. Calls in flight may make the pause longer meanwhile.
    async fn wait(&self, deadline: Instant) -> Result<(), TooLong> {
        loop {
            let now = self.clock.now();
            let until = self.gate.as_ref().map_or(now, |gate| gate.until());
            if until <= now {
                return Ok(());
            }
            if until > deadline {
                return Err(TooLong(until - now));
            }
            self.clock.sleep_until(until).await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut gates = self.limiter.lock();
        drop(self.place.take());
        let Some(gate) = self.gate.take() else {
            return;
        };
        // This one and the map's: nobody queues. A pause that isn't over keeps its gate. (Nobody can
        // come in between: that takes the lock.)
        if Arc::strong_count(&gate) == 2 && gate.until() <= self.clock.now() {
            gates.remove(&self.key);
            self.limiter.count.store(gates.len(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
