//! The one thread that starts processes.
//!
//! The kernel kills a child when the *thread* that started it ends, so children must not be started by threads that
//! come and go, as those of a test or of a runtime do.

use std::io;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use anyhow::{Context as _, Result};

struct Job {
    command: Command,
    answer: Sender<io::Result<Child>>,
}

static JOBS: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel();
    // Without the thread the channel is closed, and `spawn` says so.
    if let Err(error) = thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || work(&jobs))
    {
        tracing::error!(%error, "cannot start the thread that starts processes");
    }
    sender
});

/// Starts a process that lives no longer than this one.
pub(super) fn spawn(command: Command) -> Result<Child> {
    let (answer, started) = mpsc::channel();
    JOBS.send(Job { command, answer })
        .ok()
        .context("the thread that starts processes is gone")?;
    Ok(started.recv()??)
}

fn work(jobs: &Receiver<Job>) {
    while let Ok(mut job) = jobs.recv() {
        // A caller that is gone drops the child unseen; it ends with this process.
        let _ = job.answer.send(job.command.spawn());
    }
}
