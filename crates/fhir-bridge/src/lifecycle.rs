//! From the start of the process to its end: signals, reloading, and what systemd is told.
//!
//! Ctrl-C or SIGTERM ends the bridge: no new work, what is at work may finish within `drain_seconds`. A second one ends
//! it at once; what was at work then is repeated at the next start. SIGHUP has the configuration, the registration and
//! the federation list read again: the bridge stops as above and goes on with the new ones in the same process, on the
//! same socket, so that nobody is refused meanwhile. A configuration that can't be used changes nothing.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use matrix_appservice::{Journal, JournalError, listen, shutdown_signal};
use sd_notify::NotifyState;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{bridge, config::Config, database::Place, startup};

/// How long this process may take to close a journal.
const LETTING_GO: Duration = Duration::from_secs(20);

/// Runs the bridge until it is asked to end, or can't go on.
pub(crate) async fn run(file: PathBuf, mut config: Config) -> anyhow::Result<()> {
    let mut carried = Carried::default();
    let mut hangup = Hangup::new()?;
    let _watchdog = Watchdog::start();
    loop {
        let stop = CancellationToken::new();
        let mut running = Box::pin(bridge::run_on(&config, &mut carried, stop.clone()));
        let new = tokio::select! {
            ended = &mut running => return ended,
            () = shutdown_signal() => None,
            new = hangup.new_config(&file) => Some(new),
        };
        if new.is_some() {
            tracing::info!("going on with the configuration as it is now");
            let now = NotifyState::monotonic_usec_now().ok();
            let states: Vec<_> = [NotifyState::Reloading].into_iter().chain(now).collect();
            tell(&states);
        } else {
            tracing::info!(
                "stopping: no new work, what is at work may finish; a second signal ends it at once"
            );
            tell(&[NotifyState::Stopping]);
        }
        stop.cancel();
        tokio::select! {
            ended = &mut running => ended?,
            () = shutdown_signal() => bail!("ended at once: what was at work is repeated at the next start"),
        }
        drop(running);
        match new {
            None => return Ok(()),
            Some(new) => config = *new,
        }
    }
}

/// The bridge takes transactions.
pub(crate) fn is_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells systemd, where it started the bridge and wants to know.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd can't be told how the bridge is");
    }
}

/// What goes on from one configuration to the next in the same process.
#[derive(Default)]
pub(crate) struct Carried {
    /// The socket that the homeserver reaches; it stays open while the configuration is read again, so that whoever
    /// connects meanwhile only waits.
    socket: Option<(String, std::net::TcpListener)>,
    /// Whether this process has had a journal open.
    had_journal: bool,
}

impl Carried {
    /// Listens on an address, on the same socket as before when it is the same one.
    pub(crate) async fn listen(&mut self, address: &str) -> anyhow::Result<TcpListener> {
        if let Some((of, socket)) = &self.socket
            && of == address
        {
            return Ok(TcpListener::from_std(socket.try_clone()?)?);
        }
        self.socket = None;
        let socket = listen(address)
            .await
            .context("check `listen`: is another bridge running?")?
            .into_std()?;
        let listener = TcpListener::from_std(socket.try_clone()?)?;
        self.socket = Some((address.to_owned(), socket));
        Ok(listener)
    }

    /// Opens the journal. What this process had open may be closed a moment after it has stopped.
    pub(crate) async fn journal(&mut self, place: &Place) -> Result<Journal, JournalError> {
        let until = Instant::now() + LETTING_GO;
        loop {
            match place.journal().await {
                Err(JournalError::InUse(_)) if self.had_journal && Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                opened => {
                    self.had_journal = opened.is_ok();
                    return opened;
                }
            }
        }
    }
}

/// Waits for SIGHUP.
struct Hangup {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangup {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            signal: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
                .context("SIGHUP can't be listened for")?,
        })
    }

    /// Returns the configuration once it was read again and can be used.
    async fn new_config(&mut self, file: &Path) -> Box<Config> {
        loop {
            #[cfg(unix)]
            if self.signal.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            #[cfg(not(unix))]
            std::future::pending::<()>().await;
            match usable(file).await {
                Ok(config) => return Box::new(config),
                Err(error) => {
                    tracing::error!(
                        "the configuration can't be read again, nothing is changed: {error:#}"
                    );
                }
            }
        }
    }
}

/// Reads the configuration and what it names, as far as that is possible beside a bridge at work.
async fn usable(file: &Path) -> anyhow::Result<Config> {
    let config = Config::load(file)?;
    let registration = config.registration()?;
    config.provisioning.token()?;
    let place = Place::of(&config)?;
    place.check(&config).await?;
    for server in config.servers() {
        startup::check_namespaces(&server.prefix(&config.prefix), &config, &registration)?;
        server.client().context("`fhir` in the configuration")?;
        if let Some(links) = place.look(server).await? {
            startup::check_threads(server, &links).await?;
        }
    }
    Ok(config)
}

/// Tells systemd now and then that the process is alive, where its unit has `WatchdogSec=`.
struct Watchdog(Option<JoinHandle<()>>);

impl Watchdog {
    fn start() -> Self {
        Self(sd_notify::watchdog_enabled().map(|within| {
            let mut ticks = tokio::time::interval((within / 2).max(Duration::from_millis(1)));
            tokio::spawn(async move {
                loop {
                    ticks.tick().await;
                    tell(&[NotifyState::Watchdog]);
                }
            })
        }))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_stays_while_the_address_does() {
        let mut carried = Carried::default();
        let first = carried.listen("127.0.0.1:0").await.unwrap();
        let address = first.local_addr().unwrap();
        drop(first);
        // Nobody listens now, and yet nobody is sent away.
        let waiting = tokio::net::TcpStream::connect(address).await.unwrap();
        let again = carried.listen("127.0.0.1:0").await.unwrap();
        let (taken, _) = again.accept().await.unwrap();
        assert_eq!(taken.peer_addr().unwrap(), waiting.local_addr().unwrap());
        let other = carried.listen("127.0.0.2:0").await.unwrap();
        assert_ne!(other.local_addr().unwrap().ip(), address.ip());
        drop(again);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}
