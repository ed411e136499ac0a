//! A server that is started, answers, and is stopped.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::sync::Mutex;

use crate::process::{Process, Spec};
use crate::{http, log_file, poll};

/// How long a server may take until it answers; a loaded machine needs tens of seconds.
const START: Duration = Duration::from_mins(5);
/// How long one look at whether it answers may take.
const LOOK: Duration = Duration::from_secs(5);
/// How long it may take to end when asked: usually two seconds.
const STOP: Duration = Duration::from_secs(15);

/// A server that this process runs.
#[derive(Debug)]
pub(crate) struct Server {
    spec: Spec,
    /// A GET of this answers 200 when the server is ready.
    ready: String,
    /// Empty while it is stopped.
    process: Mutex<Option<Process>>,
}

impl Server {
    /// A start begins a new log; a later restart goes on with it.
    pub(crate) fn new(spec: Spec, ready: String) -> Result<Self> {
        log_file::begin(&spec.log)?;
        Ok(Self {
            spec,
            ready,
            process: Mutex::new(None),
        })
    }

    /// Starts it and waits until it answers; does nothing when it runs.
    pub(crate) async fn start(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        if let Some(running) = &*process
            && running.check().is_ok()
        {
            return Ok(());
        }
        let started = process.insert(Process::start(&self.spec)?);
        let client = http::client(LOOK)?;
        let up = poll::until(START, async || {
            started.check()?;
            let ready = http::answers(&client, &self.ready).await;
            Ok(ready.then_some(()))
        });
        up.await?.ok_or_else(|| {
            anyhow!(
                "{} does not answer after {START:?}; {}",
                self.spec.name,
                log_file::end_of(&self.spec.log)
            )
        })
    }

    /// Lets it end in order.
    pub(crate) async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(STOP).await;
        }
    }

    /// Kills it, as a power cut would.
    pub(crate) async fn kill(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::process::Pipes;

    #[tokio::test]
    async fn a_server_that_dies_while_it_starts_is_an_error_that_shows_why() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("server.log");
        let spec = Spec {
            name: "the homeserver huisarts".into(),
            python: "python3".into(),
            command: ["sh", "-c", "echo the database is gone; exit 1"]
                .map(OsString::from)
                .to_vec(),
            env: Vec::new(),
            folder: folder.path().to_owned(),
            log: log.clone(),
            pipes: Pipes::Closed,
            account: None,
        };
        let server = Server::new(spec, "http://127.0.0.1:9/health".into()).unwrap();

        let error = server.start().await.unwrap_err().to_string();

        assert!(error.contains("the homeserver huisarts"), "{error}");
        assert!(error.contains("the database is gone"), "{error}");
        assert!(error.contains(&log.display().to_string()), "{error}");
    }
}
