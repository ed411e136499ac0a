//! One life of an application service.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::{
    net::TcpListener,
    runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::super::{
    FakeHomeserver, TempJournal,
    homeserver::{Job, Steps, Target},
};
use crate::{appservice::Builder, journal::Journal};

/// An application service in a thread and a runtime of its own.
pub(super) struct Life {
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Life {
    pub(super) async fn start<B>(
        homeserver: &FakeHomeserver,
        place: &TempJournal,
        bridge: B,
    ) -> Self
    where
        B: Fn(Builder) -> Builder + Send + 'static,
    {
        let (end, ends) = oneshot::channel();
        let (started, starts) = oneshot::channel();
        let (give, jobs) = mpsc::unbounded_channel::<Job>();
        let (path, of) = (place.path(), homeserver.clone());
        // Waits for a former life's journal.
        drop(place.open().await);
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let life = async {
                    let journal = Journal::open(&path).await.unwrap();
                    let service = bridge(of.builder(journal.clone())).build().unwrap();
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let url = format!("http://{}", listener.local_addr().unwrap());
                    let _ = started.send(url);
                    let router = service.router();
                    let run = service.run(listener, router, CancellationToken::new());
                    tokio::select! {
                        ended = run => ended.unwrap(),
                        () = work(journal, jobs) => {}
                    }
                };
                tokio::select! {
                    biased;
                    _ = ends => {}
                    () = life => {}
                }
            });
            // Drops all tasks where they wait.
            runtime.shutdown_background();
        });
        let url = starts.await.expect("the application service starts");
        let target = Target::url(&url.parse().unwrap()).with_journal(move |job| {
            // It may have ended.
            let _ = give.send(job);
        });
        homeserver.push_to(target);
        Self { end, thread }
    }

    /// Ends it, whatever it is about.
    pub(super) async fn end(self) {
        let _ = self.end.send(());
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join())
            .await
            .unwrap()
            .unwrap();
    }
}

/// Does what is to be done with the journal.
async fn work(journal: Journal, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        job(journal.clone()).await;
    }
    std::future::pending::<()>().await;
}

/// Effects of handlers that no homeserver sees.
///
/// The test's double of the other network calls [`Effects::took_place`] when it has done something;
/// the application service may end there, before it hears of it.
#[derive(Clone, Default)]
pub struct Effects(Arc<Mutex<Option<Arc<Steps>>>>);

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects").finish_non_exhaustive()
    }
}

impl Effects {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn belong_to(&self, homeserver: &FakeHomeserver) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *steps = Some(homeserver.steps());
    }

    /// An effect has taken place, under a name for the test's messages. Doesn't return when the
    /// application service ends here.
    pub async fn took_place(&self, name: &str) {
        let steps = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if steps.is_some_and(|steps| steps.took_effect(name)) {
            std::future::pending::<()>().await;
        }
    }
}
