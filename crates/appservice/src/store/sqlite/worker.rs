//! A thread that owns what only one may use at a time.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use crate::journal::JournalError;

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Does jobs one after the other, in the order in which they were given. Dropping it waits until those are
/// done, and drops what the thread owns.
#[derive(Debug)]
pub(super) struct Worker<T> {
    /// `None` while it is being dropped.
    jobs: Option<mpsc::Sender<Job<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    pub(super) fn start(name: &str, mut owned: T) -> io::Result<Self> {
        let (jobs, given) = mpsc::channel::<Job<T>>();
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                for job in given {
                    job(&mut owned);
                }
            })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Gives a job, and waits for its result. It is done also when nobody waits any more.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut T) -> Result<R, JournalError> + Send + 'static,
    ) -> Result<R, JournalError> {
        let (done, result) = oneshot::channel();
        let job = Box::new(move |owned: &mut T| {
            // A panic ends the job; the thread has others.
            let result = catch_unwind(AssertUnwindSafe(|| job(owned)))
                .unwrap_or_else(|_| Err(JournalError::Store("a panic".into())));
            let _ = done.send(result);
        });
        let jobs = self.jobs.as_ref().ok_or(JournalError::Closed)?;
        jobs.send(job).map_err(|_| JournalError::Closed)?;
        result.await.map_err(|_| JournalError::Closed)?
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
