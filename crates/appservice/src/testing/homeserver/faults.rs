//! What goes wrong with calls of the client-server API.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::FakeHomeserver;

/// What shall go wrong with a call.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: a call that is let through before the next fault.
    None,
    /// The call takes effect and the connection ends before the answer.
    LoseAnswer,
    /// The connection ends and nothing has happened.
    LoseCall,
    /// Nothing happens, and this is the answer: a status and a body.
    Refuse(u16, Value),
}

impl Fault {
    /// `429 M_LIMIT_EXCEEDED`, with or without the time to wait.
    #[must_use]
    pub fn limited(retry_after: Option<Duration>) -> Self {
        let mut body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "canary of the homeserver"});
        if let Some(pause) = retry_after {
            body["retry_after_ms"] = json!(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        }
        Self::Refuse(429, body)
    }
}

/// What happens to a call.
pub(super) enum Fate {
    Fault(Fault),
    Hold(Arc<Hold>),
}

/// An answer that is held back.
#[derive(Debug)]
pub(super) struct Hold {
    reached: Semaphore,
    released: Semaphore,
}

impl Hold {
    /// The call has taken effect; returns when it may be answered.
    pub(super) async fn wait(&self) {
        self.reached.add_permits(1);
        let _ = self.released.acquire().await;
    }
}

/// A call whose answer is held back; see [`FakeHomeserver::hold`]. Released when it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Hold>);

impl Held {
    /// Waits until the call has come and taken effect.
    pub async fn reached(&self) {
        if let Ok(permit) = self.0.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets the answer go.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.released.close();
    }
}

/// Which calls: of this kind, and of this user or of all.
type Which = (String, Option<String>);

/// The faults to come.
#[derive(Default)]
pub(super) struct Faults {
    planned: HashMap<Which, VecDeque<Fate>>,
    limits: HashMap<Which, Fault>,
    pub(super) down: bool,
    pub(super) turned_away: usize,
}

impl Faults {
    fn add(&mut self, which: Which, fates: impl IntoIterator<Item = Fate>) {
        self.planned.entry(which).or_default().extend(fates);
    }

    /// What becomes of the next call of this kind by this user.
    pub(super) fn take(&mut self, kind: &str, user: &str) -> Fate {
        let of_user = (kind.to_owned(), Some(user.to_owned()));
        let of_all = (kind.to_owned(), None);
        for which in [&of_user, &of_all] {
            if let Some(limit) = self.limits.get(which) {
                return Fate::Fault(limit.clone());
            }
        }
        for which in [&of_user, &of_all] {
            let planned = self.planned.get_mut(which);
            if let Some(fate) = planned.and_then(VecDeque::pop_front) {
                return fate;
            }
        }
        Fate::Fault(Fault::None)
    }
}

/// What goes wrong with calls. Calls are named by their kind: `send`, `createRoom`, `join`, …
/// ([`Call::kind`](super::Call::kind)).
impl FakeHomeserver {
    /// The next calls of this kind go wrong, one fault each.
    pub fn fail(&self, kind: &str, faults: impl IntoIterator<Item = Fault>) {
        let fates = faults.into_iter().map(Fate::Fault);
        self.lock().faults.add((kind.to_owned(), None), fates);
    }

    /// The next calls of this kind that are made as `user` go wrong, one fault each.
    pub fn fail_for(&self, user: &str, kind: &str, faults: impl IntoIterator<Item = Fault>) {
        let which = (kind.to_owned(), Some(user.to_owned()));
        let fates = faults.into_iter().map(Fate::Fault);
        self.lock().faults.add(which, fates);
    }

    /// Is slow with the next call of this kind: it takes effect, and its answer waits until it is
    /// released.
    pub fn hold(&self, kind: &str) -> Held {
        let hold = Arc::new(Hold {
            reached: Semaphore::new(0),
            released: Semaphore::new(0),
        });
        let fate = Fate::Hold(hold.clone());
        self.lock().faults.add((kind.to_owned(), None), [fate]);
        Held(hold)
    }

    /// Answers all calls of this kind, those made as `user` or those of everybody, with 429 until
    /// [`FakeHomeserver::lift_rate_limits`].
    pub fn limit_rate(&self, kind: &str, user: Option<&str>, retry_after: Option<Duration>) {
        let which = (kind.to_owned(), user.map(ToOwned::to_owned));
        let limit = Fault::limited(retry_after);
        self.lock().faults.limits.insert(which, limit);
    }

    /// Ends what [`FakeHomeserver::limit_rate`] began.
    pub fn lift_rate_limits(&self) {
        self.lock().faults.limits.clear();
    }

    /// Is down: ends each connection without an answer, and nothing happens.
    pub fn go_down(&self) {
        self.lock().faults.down = true;
    }

    /// Is there again.
    pub fn come_back(&self) {
        self.lock().faults.down = false;
    }

    /// How many calls were turned away while it was down.
    #[must_use]
    pub fn turned_away(&self) -> usize {
        self.lock().faults.turned_away
    }

    /// Restarts, as a Synapse on SQLite does: it forgets the transaction ids that clients sent with (a
    /// send that is repeated becomes a second event), what was ephemeral, and where its own
    /// transaction ids stood. Events that wait are pushed without `prev_content`, and only after the
    /// next event that the application service is interested in.
    pub fn restart(&self) {
        let mut world = self.lock();
        world.sent.clear();
        world.typing.clear();
        world.push.restart();
    }

    /// Forgets the transaction ids that clients sent with, as Synapse does after half an hour: a send
    /// that is repeated becomes a second event.
    pub fn forget_transaction_ids(&self) {
        self.lock().sent.clear();
    }

    /// Leaves its accounts to Matrix Authentication Service: registering without `inhibit_login` is
    /// refused with `M_APPSERVICE_LOGIN_UNSUPPORTED` and makes the user all the same; there is no login
    /// for application services.
    pub fn use_mas(&self) {
        self.lock().mas = true;
    }
}
