//! What the homeserver pushes to the application service, and what goes wrong on the way.

mod format;
mod queue;
mod target;

use std::time::Duration;

use axum::Router;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use url::Url;

pub(super) use self::queue::Push;
use self::queue::Transaction;
pub use self::target::Answer;
pub(in crate::testing) use self::target::{Job, Target, Work};
use super::FakeHomeserver;
use crate::{appservice::AppService, journal::NewEntry, testing::until::until};

/// Pushing. Nothing is pushed by itself: a test says when, and so decides what meets what.
impl FakeHomeserver {
    /// From now on, pushes go to this application service, in this process and without a socket. What
    /// has happened before is pushed, too, as to one that was away.
    ///
    /// Keeps a handle on its journal until [`FakeHomeserver::disconnect`].
    pub fn connect(&self, service: &AppService) {
        let journal = service.journal().clone();
        let target = Target::router(service.router()).with_journal(move |job| {
            tokio::spawn(job(journal.clone()));
        });
        self.push_to(target);
    }

    /// From now on, pushes go to this router, in this process and without a socket.
    /// [`FakeHomeserver::settle`] can't know then whether there is still something to do.
    pub fn connect_router(&self, router: Router) {
        self.push_to(Target::router(router));
    }

    /// From now on, pushes go to this address over HTTP, as the registration's `url` would say.
    /// [`FakeHomeserver::settle`] can't know then whether there is still something to do.
    pub fn connect_url(&self, url: &Url) {
        self.push_to(Target::url(url));
    }

    /// Nobody is there to be pushed to any more.
    pub fn disconnect(&self) {
        self.lock().push.target = None;
    }

    pub(in crate::testing) fn push_to(&self, target: Target) {
        self.lock().push.target = Some(target);
    }

    pub(in crate::testing) fn target(&self) -> Option<Target> {
        self.lock().push.target.clone()
    }

    /// Pushes what waits, one transaction after another, at most 100 events in each, and first asks
    /// for users that should be there. Ends when all is acknowledged, or with the first try that
    /// fails. Returns whether nothing is left.
    ///
    /// A try fails as for Synapse: any answer but a 2xx with JSON, or none. Then all that comes later
    /// waits behind that transaction, each event in one of its own, and nothing ephemeral is kept. The
    /// next call is the next try: what is ephemeral is gone from it, ages are others, and what was
    /// redacted in between is redacted. A real homeserver makes a pause before
    /// ([`FakeHomeserver::next_pause`]); here a test goes on when it likes.
    pub async fn deliver(&self) -> bool {
        let _one_in_flight = self.in_flight.lock().await;
        loop {
            let (target, transaction) = {
                let mut world = self.lock();
                let Some(target) = world.push.target.clone() else {
                    return world.push.is_empty();
                };
                let Some(transaction) = world.push.next() else {
                    return world.push.is_empty();
                };
                (target, transaction)
            };
            let strangers = self.lock().strangers(&transaction);
            for user in strangers {
                self.ask_for_user(&user).await;
            }
            let answer = self.put(&target, transaction.id, &transaction).await;
            let success = answer.is_success();
            let steps = self.lock().steps.clone();
            // What was stored takes effect; when the application service ends here, the
            // acknowledgement is lost.
            let ended = success && steps.took_effect("transaction");
            let mut world = self.lock();
            world.faults.down |= ended;
            let lost = success && world.push.acks_to_lose > 0;
            if lost {
                world.push.acks_to_lose -= 1;
            }
            if success && !lost && !ended {
                world.push.succeeded(transaction);
            } else {
                world.push.failed(&transaction);
                return false;
            }
        }
    }

    async fn put(&self, target: &Target, id: u64, transaction: &Transaction) -> Answer {
        let (body, token) = {
            let mut world = self.lock();
            let token = world.registration.hs_token.expose().to_owned();
            (world.body(transaction), token)
        };
        let path = format!("/_matrix/app/v1/transactions/{id}");
        let body = body.to_string().into_bytes();
        target.call("PUT", &path, &token, body).await
    }

    /// How long a Synapse would wait before its next try: nothing after a success, then 2, 4, 8 …
    /// at most 512 seconds.
    #[must_use]
    pub fn next_pause(&self) -> Duration {
        match self.lock().push.failures {
            0 => Duration::ZERO,
            failures => Duration::from_secs(1 << failures.min(9)),
        }
    }

    /// How many events wait for their acknowledgement.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.lock().push.unacknowledged()
    }

    /// The next acknowledgements get lost on their way: the application service has stored the
    /// transaction and answered, and the homeserver knows nothing of it.
    pub fn lose_acks(&self, times: usize) {
        self.lock().push.acks_to_lose += times;
    }

    /// Pushes the transaction that was acknowledged last once more, under the same id. Panics when
    /// there was none.
    pub async fn push_again(&self) -> Answer {
        let transaction = self.acknowledged();
        self.once_more(transaction.id, &transaction).await
    }

    /// Pushes the transaction that was acknowledged last once more, under a new id, as a homeserver
    /// whose database was put back to an older state.
    pub async fn push_again_with_another_id(&self) -> Answer {
        let transaction = self.acknowledged();
        let id = self.lock().push.next_id();
        self.once_more(id, &transaction).await
    }

    /// Something comes from elsewhere: appends an entry to the journal of the application service that is
    /// [connected](FakeHomeserver::connect), as its own receiver of the other network would.
    ///
    /// The other network repeats what it has no acknowledgement for: when the application service ends meanwhile, which a
    /// [`KillTest`](crate::testing::KillTest) sees to, the entry is appended once more after the next start. Its key tells
    /// that it is known. Panics when there is no journal to append to for two minutes.
    pub async fn append(&self, entry: NewEntry) {
        let appended = until(async || {
            let Some(target) = self.target().filter(Target::has_journal) else {
                return false;
            };
            let entry = entry.clone();
            let appended =
                target.with(|journal| async move { journal.append(&[entry], None).await });
            match appended.await {
                Some(appended) => appended.expect("the entry can't be stored"),
                None => return false,
            };
            let mut world = self.lock();
            let ended = world.steps.took_effect("append");
            world.faults.down |= ended;
            !ended
        });
        assert!(
            appended.await,
            "no application service with a journal is connected"
        );
    }

    fn acknowledged(&self) -> Transaction {
        let world = self.lock();
        let last = world.push.acknowledged.as_ref();
        last.expect("nothing was acknowledged yet").shrunk()
    }

    async fn once_more(&self, id: u64, transaction: &Transaction) -> Answer {
        let target = self.target().expect("not connected");
        self.put(&target, id, transaction).await
    }

    /// Transaction ids begin at 1 again, as after a restart of a Synapse on SQLite: the ids come again
    /// with other events.
    pub fn reset_transaction_ids(&self) {
        self.lock().push.reset_ids();
    }

    /// Puts something into the next transaction's list `events` that no homeserver should push.
    pub fn slip_in(&self, event: Value) {
        self.lock().push.slip_in(event);
    }

    /// A message to a device of one of the application service's users, sent by anybody. Never pushed
    /// again after a failure.
    pub fn send_to_device(&self, sender: &str, to: &str, device: &str, kind: &str, content: Value) {
        let mut message = json!({
            "type": kind, "sender": sender, "to_user_id": to, "to_device_id": device,
        });
        message["content"] = content;
        self.lock().queue_to_device(message);
    }

    /// Pushes this as a transaction's body, once, under the next id.
    pub async fn push_body(&self, body: impl Into<Vec<u8>>) -> Answer {
        let id = self.lock().push.next_id();
        let path = format!("/_matrix/app/v1/transactions/{id}");
        self.call("PUT", &path, None, body.into()).await
    }

    /// Pushes an empty transaction with this `hs_token`, which may be wrong.
    pub async fn push_with_token(&self, token: &str) -> Answer {
        let id = self.lock().push.next_id();
        let path = format!("/_matrix/app/v1/transactions/{id}");
        let body = br#"{"events":[]}"#.to_vec();
        self.call("PUT", &path, Some(token), body).await
    }

    /// Asks whether a user exists; the application service may make it first.
    pub async fn ask_for_user(&self, user: &str) -> Answer {
        self.ask("users", user).await
    }

    /// Asks whether a room alias exists; the application service may make it first.
    pub async fn ask_for_alias(&self, alias: &str) -> Answer {
        self.ask("rooms", alias).await
    }

    async fn ask(&self, what: &str, id: &str) -> Answer {
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        let path = format!("/_matrix/app/v1/{what}/{id}");
        self.call("GET", &path, None, Vec::new()).await
    }

    /// Calls any path of the application service's, with the right token or another one.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> Answer {
        let target = self.target().expect("not connected");
        let right = self.lock().registration.hs_token.expose().to_owned();
        target
            .call(method, path, token.unwrap_or(&right), body)
            .await
    }

    pub(super) fn has_in_namespace(&self, alias: &str) -> bool {
        self.lock().registration.namespaces.aliases.matches(alias)
    }

    /// The events that were acknowledged.
    pub(in crate::testing) fn pushed_events(&self) -> Vec<Value> {
        self.lock().pushed_events()
    }

    pub(super) fn nothing_to_push(&self) -> bool {
        self.lock().push.is_empty()
    }
}
