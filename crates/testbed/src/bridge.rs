//! The bridge, run as a process of its own, as an operator runs it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use crate::process::{Pipes, Process, Spec};
use crate::testbed::Testbed;
use crate::{Appservice, http, log_file, poll};

/// How long the bridge may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(20);

/// How a bridge is run.
#[derive(Clone, Debug)]
pub struct BridgeSetup {
    /// The program.
    pub program: PathBuf,
    /// Where its configuration, databases and log go.
    pub folder: PathBuf,
    /// The registration that `vvt` lists.
    pub registration: PathBuf,
    /// Where it listens: the registration's `url`.
    pub listen: SocketAddr,
    /// What its ghosts' and aliases' localparts begin with.
    pub prefix: String,
    /// Where it reaches `vvt`.
    pub homeserver: Url,
    /// The FHIR server.
    pub fhir: Url,
    /// Further keys of the configuration, which stand in place of ours; `null` takes one away.
    pub config: Option<Value>,
}

impl BridgeSetup {
    /// A bridge in the place of an application service that a test has taken.
    #[must_use]
    pub fn of(appservice: &Appservice, program: &Path, folder: &Path, fhir: Url) -> Self {
        Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            registration: appservice.registration_path.clone(),
            listen: appservice.listen_addr,
            prefix: appservice.user_prefix.clone(),
            homeserver: appservice.homeserver_url.clone(),
            fhir,
            config: None,
        }
    }

    /// The same, with these keys in its configuration.
    #[must_use]
    pub fn with(mut self, config: Value) -> Self {
        self.config = Some(config);
        self
    }
}

/// A bridge that can be stopped, killed and started again. Dropping it kills the process.
#[derive(Debug)]
pub struct Bridge {
    setup: BridgeSetup,
    python: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Bridge {
    /// Writes the configuration and starts the bridge; returns when it listens.
    ///
    /// # Errors
    ///
    /// When it does not start (the end of its log is shown).
    pub async fn start(testbed: &Testbed, setup: BridgeSetup) -> Result<Self> {
        fs::create_dir_all(&setup.folder)
            .with_context(|| format!("cannot make {}", setup.folder.display()))?;
        let mut config = json!({
            "registration": std::path::absolute(&setup.registration)?,
            "listen": setup.listen.to_string(),
            "data": "data",
            "prefix": setup.prefix,
            "homeserver": {"name": "vvt", "url": setup.homeserver},
            "fhir": {
                "url": setup.fhir,
                "notify_url": format!("http://{}", setup.listen),
                "poll_interval_seconds": 5,
                // What other tests have left there is none of its business.
                "import": "none",
            },
            // Several bridges may run at once.
            "ops": {"listen": null},
        });
        let further = setup.config.as_ref().and_then(Value::as_object);
        for (key, value) in further.into_iter().flatten() {
            config[key] = value.clone();
        }
        if let Some(config) = config.as_object_mut() {
            config.retain(|_, value| !value.is_null());
        }
        // JSON is YAML.
        fs::write(setup.folder.join("bridge.yaml"), format!("{config:#}\n"))?;
        let bridge = Self {
            python: testbed.venv.clone(),
            process: Mutex::new(None),
            setup,
        };
        bridge.restart().await?;
        Ok(bridge)
    }

    /// Where it says what it does.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.setup.folder.join("bridge.log")
    }

    /// Everything it has said since the first start.
    ///
    /// # Errors
    ///
    /// When the log can't be read.
    pub fn log_text(&self) -> Result<String> {
        fs::read_to_string(self.log()).context("cannot read the bridge's log")
    }

    /// Starts it again after [`Bridge::kill`] or [`Bridge::stop`]; returns when it listens.
    ///
    /// # Errors
    ///
    /// When it does not start (the end of its log is shown).
    pub async fn restart(&self) -> Result<()> {
        let mut slot = self.process.lock().await;
        let process = Process::start(&Spec {
            name: "the bridge".to_owned(),
            python: self.python.clone(),
            command: [
                self.setup.program.as_os_str(),
                "run".as_ref(),
                "--config".as_ref(),
                "bridge.yaml".as_ref(),
                "--log".as_ref(),
                "trace".as_ref(),
            ]
            .map(ToOwned::to_owned)
            .to_vec(),
            env: Vec::new(),
            folder: self.setup.folder.clone(),
            log: self.log(),
            pipes: Pipes::Closed,
            account: None,
        })?;
        // Any answer will do: that it listens is all that is asked.
        let url = format!("http://{}/", self.setup.listen);
        let client = http::client(Duration::from_secs(1))?;
        let up = poll::until(PATIENCE, async || {
            process.check()?;
            Ok(client.get(&url).send().await.is_ok().then_some(()))
        });
        if up.await?.is_none() {
            bail!(
                "the bridge does not listen on {}; {}",
                self.setup.listen,
                log_file::end_of(&self.log())
            );
        }
        *slot = Some(process);
        Ok(())
    }

    /// Starts it again unless it runs: it may have been killed just now.
    ///
    /// # Errors
    ///
    /// As [`Bridge::restart`].
    pub async fn restart_if_dead(&self) -> Result<()> {
        if self.process.lock().await.is_some() {
            return Ok(());
        }
        self.restart().await
    }

    /// Kills it (SIGKILL), as a crash would.
    pub async fn kill(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.kill().await;
        }
    }

    /// Asks it to end (SIGTERM).
    pub async fn stop(&self) {
        if let Some(process) = self.process.lock().await.take() {
            process.stop(FAREWELL).await;
        }
    }
}
