//! A running testbed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::sync::OnceCell;
use url::Url;

use crate::appservice::{self, Appservice, Idle};
use crate::builder::TestbedBuilder;
use crate::client::Client;
use crate::fhir::{self, Fhir, FhirServer};
use crate::homeserver::Homeserver;
use crate::net::Net;
use crate::postgres::Postgres;
use crate::progress::Reporter;
use crate::proxy::Proxy;
use crate::python::Python;
use crate::runs::Run;
use crate::server::Server;
use crate::shared::{self, Announcement, Claim};

/// Three homeservers that federate, and a FHIR server where it was asked for.
///
/// Dropping it kills its processes; [`Testbed::stop`] ends them in order. A testbed that another process runs
/// ([`Testbed::shared`]) is only looked at, and goes on.
#[derive(Debug)]
pub struct Testbed {
    pub(crate) folder: PathBuf,
    pub(crate) net: Net,
    pub(crate) venv: PathBuf,
    pub(crate) homeservers: [Homeserver; 3],
    pub(crate) fhir: OnceCell<Fhir>,
    /// What only the process that runs the testbed has.
    pub(crate) own: Option<Own>,
}

/// What the process that runs a testbed holds besides the servers. The folder is given up last.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) announcement: Option<Announcement>,
    pub(crate) proxy: Proxy,
    pub(crate) idle: Option<Idle>,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) python: Python,
    pub(crate) reporter: Reporter,
    pub(crate) _run: Run,
}

impl Testbed {
    /// Begins to say what a testbed consists of.
    pub fn builder() -> TestbedBuilder {
        TestbedBuilder::default()
    }

    /// The testbed that all tests share.
    ///
    /// That is the one that another process has announced (`cargo xtask test` does), else one that this process starts
    /// at the first call and that ends with it. Each test uses users and rooms of its own, and an application service
    /// taken by [`Testbed::appservice`]. Homeservers are not stopped here: a test that does so starts its own testbed.
    ///
    /// # Errors
    ///
    /// As [`TestbedBuilder::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Testbed> = OnceCell::const_new();
        SHARED
            .get_or_try_init(async || match shared::attach().await? {
                Some(testbed) => Ok(testbed),
                None => Self::builder().appservices().start().await,
            })
            .await
    }

    /// The homeserver of this name: `apotheek`, `huisarts` or `vvt`.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn homeserver(&self, name: &str) -> Result<&Homeserver> {
        self.homeservers
            .iter()
            .find(|homeserver| homeserver.server_name() == name)
            .with_context(|| format!("there is no homeserver {name}"))
    }

    /// All three, in the order of their names.
    #[must_use]
    pub fn homeservers(&self) -> &[Homeserver] {
        &self.homeservers
    }

    /// A person with an ordinary Matrix client, with an account that is made when there is none.
    ///
    /// # Errors
    ///
    /// When the homeserver refuses the name, or the client does not start.
    pub async fn client(&self, homeserver: &str, localpart: &str) -> Result<Client> {
        let homeserver = self.homeserver(homeserver)?;
        let user = homeserver.register_user(localpart).await?;
        Client::log_in(homeserver, user, &self.venv, &self.logs()).await
    }

    /// Takes an application service on `vvt` that is registered and that nobody else has: `sdk1` to `sdk6` with
    /// namespaces of their own, `bridge1` and `bridge2` registered like the bridge (their `!*` matches every room).
    ///
    /// Waits up to five minutes while another test, also of another process, has it.
    ///
    /// # Errors
    ///
    /// When there is none of this name, it was not given back in time, or the testbed was started without.
    pub async fn appservice(&self, name: &str) -> Result<Appservice> {
        let homeserver = self.homeserver(appservice::HOMESERVER)?;
        let folder = Run::appservices_in(&self.folder);
        appservice::take(name, &folder, self.net, homeserver.client_url()).await
    }

    /// The FHIR server's base URL, without a slash at the end, when there is one.
    #[must_use]
    pub fn fhir_url(&self) -> Option<Url> {
        self.fhir.get().map(Fhir::url)
    }

    /// The FHIR server's base URL; where there is no FHIR server yet, HAPI is installed and started first.
    ///
    /// # Errors
    ///
    /// When HAPI cannot be installed or started, or the testbed belongs to a process that runs none.
    pub async fn start_fhir(&self) -> Result<Url> {
        let fhir = self
            .fhir
            .get_or_try_init(async || {
                let Some(own) = &self.own else {
                    bail!("the shared testbed was started without a FHIR server");
                };
                let hapi = FhirServer::Hapi;
                fhir::check(&hapi).await?;
                fhir::start(&hapi, self.net, &self.folder, &own.python, &own.reporter)
                    .await?
                    .context("HAPI was not started")
            })
            .await?;
        Ok(fhir.url())
    }

    /// Stops and starts the FHIR server; its data stays.
    ///
    /// # Errors
    ///
    /// When it does not start, or this process does not run it.
    pub async fn restart_fhir(&self) -> Result<()> {
        let server = self.own_fhir()?;
        server.stop().await;
        server.start().await
    }

    /// Kills the FHIR server (SIGKILL), as a power cut would; [`Testbed::restart_fhir`] brings it back.
    ///
    /// # Errors
    ///
    /// When this process does not run it.
    pub async fn kill_fhir(&self) -> Result<()> {
        self.own_fhir()?.kill().await;
        Ok(())
    }

    /// The proxy between the homeservers, to cut and restore their links.
    ///
    /// # Errors
    ///
    /// When another process runs the testbed.
    pub fn proxy(&self) -> Result<&Proxy> {
        let own = self.own.as_ref();
        Ok(&own.context(shared::NOT_OURS)?.proxy)
    }

    /// The loopback net.
    #[must_use]
    pub fn net(&self) -> Net {
        self.net
    }

    /// The run's folder: the servers' data, `logs/`, `ca.crt`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder with a log for each server and client.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The certificate of the CA that the homeservers' certificates are issued by, as PEM.
    #[must_use]
    pub fn ca_certificate(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Ends all servers in order, which takes about two seconds. One that another process runs goes on.
    pub async fn stop(mut self) {
        let Some(own) = &mut self.own else {
            return;
        };
        // First, so that nobody comes any more.
        own.announcement = None;
        let [a, b, c] = &self.homeservers;
        tokio::join!(a.end(), b.end(), c.end(), async {
            if let Some(server) = self.fhir.get().and_then(Fhir::server) {
                server.stop().await;
            }
        });
        own.proxy.stop().await;
        if let Some(idle) = &own.idle {
            idle.stop().await;
        }
        if let Some(postgres) = &own.postgres {
            // It is our own, so that nothing can go wrong.
            let _ = postgres.stop().await;
        }
    }

    pub(crate) fn own_postgres(&self) -> Option<&Postgres> {
        self.own.as_ref()?.postgres.as_ref()
    }

    pub(crate) fn announce(&mut self, claim: Claim) -> Result<()> {
        let announcement = claim.announce(self)?;
        if let Some(own) = &mut self.own {
            own.announcement = Some(announcement);
        }
        Ok(())
    }

    fn own_fhir(&self) -> Result<&Server> {
        self.fhir
            .get()
            .and_then(Fhir::server)
            .context("the FHIR server is not run by this process")
    }
}
