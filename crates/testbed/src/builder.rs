//! What a testbed consists of, and how it is started.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::sync::OnceCell;

use crate::appservice::{self, Idle};
use crate::ca::Ca;
use crate::fhir::{self, FhirServer};
use crate::homeserver::Homeserver;
use crate::net::{CLIENT_PORT, HOMESERVERS, Net};
use crate::postgres::{self, Fsync, Postgres};
use crate::progress::{Progress, Reporter};
use crate::proxy::{Proxy, Route};
use crate::python::{self, Python};
use crate::runs::Run;
use crate::shared::Claim;
use crate::synapse::{self, Setup};
use crate::testbed::{Own, Testbed};

/// How often a random net is tried that turns out to be taken.
const NET_TRIES: usize = 20;

/// Says what a testbed consists of; [`TestbedBuilder::start`] starts it.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TestbedBuilder {
    net: Option<String>,
    data: Option<PathBuf>,
    registrations: BTreeMap<String, Vec<PathBuf>>,
    fhir: FhirServer,
    appservices: bool,
    postgres: bool,
    announced: bool,
    reporter: Reporter,
}

impl TestbedBuilder {
    /// The loopback net, such as `127.0.0`. Default: a random one that nobody uses.
    pub fn net(mut self, net: &str) -> Self {
        self.net = Some(net.to_owned());
        self
    }

    /// Where the servers keep their data. Default: a new folder, which a later run removes.
    ///
    /// A folder with an earlier run's data is used on: the second start takes seconds.
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Registrations for a homeserver to list in its `app_service_config_files`. Default: none.
    pub fn registrations<P: AsRef<Path>>(
        mut self,
        homeserver: &str,
        paths: impl IntoIterator<Item = P>,
    ) -> Self {
        let paths = paths.into_iter().map(|path| path.as_ref().to_owned());
        self.registrations
            .entry(homeserver.to_owned())
            .or_default()
            .extend(paths);
        self
    }

    /// The FHIR server. Default: none.
    pub fn fhir(mut self, fhir: FhirServer) -> Self {
        self.fhir = fhir;
        self
    }

    /// Registers the application services on `vvt` that tests take by [`Testbed::appservice`]. Default: there are none.
    pub fn appservices(mut self) -> Self {
        self.appservices = true;
        self
    }

    /// Starts a PostgreSQL without fsync, for [`Postgres::shared`] of other processes. Default: they start their own.
    pub fn postgres(mut self) -> Self {
        self.postgres = true;
        self
    }

    /// Lets [`Testbed::shared`] of other processes find this testbed, with application services to take.
    ///
    /// Default: it is this process's own.
    pub fn announced(mut self) -> Self {
        self.announced = true;
        self.appservices()
    }

    /// Is told what goes on and how long it took, from any thread. Default: only the log is.
    pub fn progress(mut self, tell: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.reporter = Reporter::new(tell);
        self
    }

    /// Looks whether this machine has what the testbed cannot install: Python, and where it is asked for Java with
    /// Maven (for HAPI), and PostgreSQL or Maven.
    ///
    /// # Errors
    ///
    /// Says what is missing and how to get it.
    pub async fn check(&self) -> Result<()> {
        python::find().await?;
        fhir::check(&self.fhir).await?;
        if self.postgres {
            postgres::check().await?;
        }
        Ok(())
    }

    /// Installs what is missing and starts everything; returns when all servers answer.
    ///
    /// # Errors
    ///
    /// When the machine lacks something (what, and how to get it; nothing has been installed by then), when an
    /// address is taken, or when a server does not start (the end of its log is shown).
    pub async fn start(self) -> Result<Testbed> {
        let python = python::find().await?;
        self.check().await?;
        let claim = self.announced.then(Claim::new).transpose()?;
        let run = match &self.data {
            Some(folder) => Run::in_folder(folder)?,
            None => Run::fresh()?,
        };
        let (net, listeners) = self.claim_net()?;
        let ca = Ca::create(&run.folder, net)?;
        let proxy = Proxy::start(&ca.server_config()?, routes(net, listeners))?;
        let idle = if self.appservices {
            Some(Idle::start(&run.appservices(), net)?)
        } else {
            None
        };

        let fhir = fhir::start(&self.fhir, net, &run.folder, &python, &self.reporter);
        let homeservers = self.start_homeservers(&run, net, &python, &ca);
        let postgres = Box::pin(async {
            if !self.postgres {
                return Ok(None);
            }
            let started = Postgres::start_with(Fsync::Off, &self.reporter).await;
            started.map(Some)
        });
        let ((venv, homeservers), fhir, postgres) = tokio::try_join!(homeservers, fhir, postgres)?;

        let mut testbed = Testbed {
            folder: run.folder.clone(),
            net,
            venv,
            homeservers,
            fhir: OnceCell::new_with(fhir),
            own: Some(Own {
                announcement: None,
                proxy,
                idle,
                postgres,
                python,
                reporter: self.reporter,
                _run: run,
            }),
        };
        if let Some(claim) = claim {
            testbed.announce(claim)?;
        }
        Ok(testbed)
    }

    fn claim_net(&self) -> Result<(Net, Vec<(&'static str, TcpListener)>)> {
        if let Some(net) = &self.net {
            let net: Net = net.parse()?;
            let listeners = net.claim().with_context(|| {
                format!("the net {net} is taken; another testbed or demo may be running")
            })?;
            return Ok((net, listeners));
        }
        let mut reason = anyhow!("no net was tried");
        for _ in 0..NET_TRIES {
            let net = Net::random()?;
            match net.claim() {
                Ok(listeners) => return Ok((net, listeners)),
                Err(error) => reason = error,
            }
        }
        Err(reason.context("no loopback net is free"))
    }

    async fn start_homeservers(
        &self,
        run: &Run,
        net: Net,
        python: &Python,
        ca: &Ca,
    ) -> Result<(PathBuf, [Homeserver; 3])> {
        let registrations = self.all_registrations(run, net)?;
        let venv = python::install(python, &self.reporter).await?;
        let mut homeservers = Homeserver::all(&run.folder, net)?;
        for homeserver in &mut homeservers {
            let name = homeserver.server_name();
            let server = synapse::prepare(&Setup {
                name,
                net,
                address: homeserver.address(),
                base_url: homeserver.client_url().as_str(),
                folder: homeserver.folder().to_owned(),
                log: homeserver.log().to_owned(),
                python: &venv,
                ca: &ca.certificate,
                registrations: registrations.get(name).map_or(&[], Vec::as_slice),
            })?;
            homeserver.run_by(server);
        }
        let [a, b, c] = &homeservers;
        self.reporter
            .during("start three homeservers", async {
                tokio::try_join!(a.start(), b.start(), c.start())
            })
            .await?;
        Ok((venv, homeservers))
    }

    /// The caller's registrations and those of the services that tests take, with absolute paths.
    fn all_registrations(&self, run: &Run, net: Net) -> Result<BTreeMap<String, Vec<PathBuf>>> {
        let mut all = BTreeMap::new();
        for (name, paths) in &self.registrations {
            if !HOMESERVERS.iter().any(|(known, _)| known == name) {
                bail!("there is no homeserver {name} to register an application service on");
            }
            let paths: std::io::Result<Vec<PathBuf>> =
                paths.iter().map(std::path::absolute).collect();
            all.insert(name.clone(), paths?);
        }
        if self.appservices {
            let mut paths = appservice::write_registrations(&run.appservices(), net)?;
            all.entry(appservice::HOMESERVER.to_owned())
                .or_default()
                .append(&mut paths);
        }
        Ok(all)
    }
}

fn routes(net: Net, listeners: Vec<(&'static str, TcpListener)>) -> Vec<Route> {
    listeners
        .into_iter()
        .zip(HOMESERVERS)
        .map(|((name, listener), (_, host))| Route {
            name: name.to_owned(),
            listener,
            backend: (net.address(host), CLIENT_PORT).into(),
        })
        .collect()
}
