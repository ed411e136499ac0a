//! A homeserver, as tests and the demo see it.

mod accounts;

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use url::Url;

pub use accounts::User;

use crate::net::{CLIENT_PORT, HOMESERVERS, Net};
use crate::server::Server;
use crate::{files, random, shared};

/// One of the three homeservers.
pub struct Homeserver {
    name: &'static str,
    address: Ipv4Addr,
    client_url: Url,
    folder: PathBuf,
    log: PathBuf,
    /// What the passwords of its users are derived from.
    seed: String,
    /// Only where this process runs it.
    server: Option<Server>,
}

impl Homeserver {
    /// The three of a run's folder. Nothing runs them yet.
    pub(crate) fn all(folder: &Path, net: Net) -> Result<[Self; 3]> {
        let seed = files::keep(&folder.join("accounts.secret"), random::secret)?;
        let [a, b, c] = HOMESERVERS.map(|(name, host)| -> Result<Self> {
            let address = net.address(host);
            Ok(Self {
                name,
                address,
                client_url: Url::parse(&format!("http://{address}:{CLIENT_PORT}/"))?,
                folder: folder.join(name),
                log: folder.join("logs").join(format!("{name}.log")),
                seed: seed.clone(),
                server: None,
            })
        });
        Ok([a?, b?, c?])
    }

    pub(crate) fn run_by(&mut self, server: Server) {
        self.server = Some(server);
    }

    /// Stops it when this process runs it.
    pub(crate) async fn end(&self) {
        if let Some(server) = &self.server {
            server.stop().await;
        }
    }

    /// The name in its users' ids: `huisarts` in `@arts:huisarts`.
    #[must_use]
    pub fn server_name(&self) -> &'static str {
        self.name
    }

    /// Its loopback address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where clients and application services reach it: plain HTTP, with a slash at the end.
    #[must_use]
    pub fn client_url(&self) -> &Url {
        &self.client_url
    }

    /// Its log, where Synapse writes at level INFO.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its folder: configuration, signing key, the database `homeserver.db`, media.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts it again after [`Homeserver::stop`] or [`Homeserver::kill`], and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends instead (the end of its log is shown), does not answer in five minutes, or belongs to another
    /// process.
    pub async fn start(&self) -> Result<()> {
        self.own()?.start().await
    }

    /// Lets it end in order, which takes about two seconds.
    ///
    /// # Errors
    ///
    /// When it belongs to another process.
    pub async fn stop(&self) -> Result<()> {
        self.own()?.stop().await;
        Ok(())
    }

    /// Kills it (SIGKILL), as a power cut would.
    ///
    /// # Errors
    ///
    /// When it belongs to another process.
    pub async fn kill(&self) -> Result<()> {
        self.own()?.kill().await;
        Ok(())
    }

    /// Stops and starts it.
    ///
    /// # Errors
    ///
    /// As [`Homeserver::start`].
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    fn own(&self) -> Result<&Server> {
        self.server.as_ref().context(shared::NOT_OURS)
    }
}

impl fmt::Debug for Homeserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Homeserver({}, {})", self.name, self.address)
    }
}
