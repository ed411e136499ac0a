//! The dispatcher, stepped by hand, and running.

mod dead_letters;
mod held;
mod memory;
mod order;
mod repeats;
mod stopping;
mod writing;

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use ruma::{room_id, server_name};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::lanes::PER_LANE;
use super::*;
use crate::{
    Registration,
    journal::{MATRIX, NewEntry, intake::Intake},
};

const HOUR: Duration = Duration::from_hours(1);

struct World {
    /// Holds the journal's file.
    folder: tempfile::TempDir,
    journal: Journal,
    client: Client,
    limits: Limits,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().join("journal.db"))
            .await
            .unwrap();
        let registration = Registration::parse(
            "{id: test, url: null, as_token: as-token-as-token, hs_token: hs-token-hs-token, \
             sender_localpart: bot, namespaces: {}}",
        )
        .unwrap();
        let client = Client::try_new(
            &registration,
            server_name!("test").to_owned(),
            &"http://127.0.0.1:9/".parse().unwrap(),
            HOUR,
            crate::client::ClientConfig::default(),
        )
        .unwrap();
        let retry = RetryPolicy {
            give_up_after: Duration::ZERO,
            max_attempts: 3,
            first_pause: Duration::ZERO,
            ..RetryPolicy::default()
        };
        Self {
            folder,
            journal,
            client,
            limits: Limits {
                retry,
                ..Limits::default()
            },
        }
    }

    /// Appends entries `a1`, `b7`, …: the letters are the lane.
    async fn append(&self, keys: &[&str]) {
        let entries: Vec<_> = keys
            .iter()
            .map(|key| {
                let lane = key.trim_end_matches(|letter: char| letter.is_ascii_digit());
                NewEntry::new("test", *key, lane, Vec::new())
            })
            .collect();
        self.journal.append(&entries, None).await.unwrap();
    }

    /// A dispatcher, as after a start, with a handler for the source `test`.
    async fn start<F, Fut>(&self, handler: F) -> Dispatcher
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let handler: Arc<dyn Handler> = Arc::new(handler);
        // As at the end of the process before.
        self.journal.settle_all().await.unwrap();
        Dispatcher::new(
            self.journal.clone(),
            self.client.clone(),
            ("", Queue::Each),
            HashMap::from([("test".to_owned(), handler)]).into(),
            self.limits,
        )
    }

    /// A transaction with one event.
    async fn push(&self, event_id: &str) {
        let body = format!(r#"{{"events":[{{"event_id":"{event_id}","room_id":"!a"}}]}}"#);
        let pushed = self
            .journal
            .push("1".to_owned(), body.into(), Arc::default());
        pushed.await.unwrap();
    }

    async fn done(&self) -> u64 {
        self.journal.stats().await.unwrap().done
    }
}

async fn step_on(dispatcher: &mut Dispatcher) {
    while dispatcher.step().await.unwrap() {}
}

/// What handlers were called with: the key, and whether it may be a repeat.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(String, bool)>>>);

impl Calls {
    fn record(&self, delivery: &Delivery) -> String {
        let key = delivery.entry().key.clone().unwrap();
        self.0
            .lock()
            .unwrap()
            .push((key.clone(), delivery.may_be_repeat()));
        key
    }

    fn keys(&self) -> Vec<String> {
        self.all().into_iter().map(|(key, _)| key).collect()
    }

    fn all(&self) -> Vec<(String, bool)> {
        self.0.lock().unwrap().clone()
    }
}
