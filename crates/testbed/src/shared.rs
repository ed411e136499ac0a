//! How processes find the testbed that one of them runs for all.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use url::Url;

use crate::fhir::Fhir;
use crate::homeserver::Homeserver;
use crate::net::Net;
use crate::postgres::Postgres;
use crate::testbed::Testbed;
use crate::{files, http, paths, poll, runs};

/// Why something cannot be done to a testbed.
pub(crate) const NOT_OURS: &str = "the testbed is shared and belongs to another process; \
     a test that stops servers or cuts links starts a testbed of its own";

/// How long the homeservers of a found testbed may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the file says. No secrets: those are in the run's folder.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    folder: PathBuf,
    net: String,
    venv: PathBuf,
    fhir_url: Option<String>,
    /// The folder of PostgreSQL, which says how to reach it.
    postgres: Option<PathBuf>,
}

/// The right to announce a testbed; only one is announced at a time.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: File,
}

/// The file that others find a testbed by; removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Announcement {
    _claim: Claim,
}

impl Claim {
    pub(crate) fn new() -> Result<Self> {
        let lock = paths::root().join("shared.lock");
        match files::try_lock(&lock)? {
            Some(lock) => Ok(Self { _lock: lock }),
            None => bail!("another testbed is shared already; one `cargo xtask test` at a time"),
        }
    }

    /// Writes the file.
    pub(crate) fn announce(self, testbed: &Testbed) -> Result<Announcement> {
        let state = State {
            folder: testbed.folder.clone(),
            net: testbed.net.to_string(),
            venv: testbed.venv.clone(),
            fhir_url: testbed.fhir_url().map(String::from),
            postgres: testbed.own_postgres().map(Postgres::folder).transpose()?,
        };
        files::write_private(&path(), &serde_json::to_string_pretty(&state)?)?;
        Ok(Announcement { _claim: self })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(path())
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove {}", path().display());
        }
    }
}

/// The folder of the announced testbed's PostgreSQL, when there is one and its process lives.
pub(crate) fn postgres() -> Result<Option<PathBuf>> {
    Ok(announced()?.and_then(|state| state.postgres))
}

/// The announced testbed, when there is one and its process lives.
pub(crate) async fn attach() -> Result<Option<Testbed>> {
    let Some(state) = announced()? else {
        return Ok(None);
    };
    let net: Net = state.net.parse()?;
    let homeservers = Homeserver::all(&state.folder, net)?;
    let client = http::client(Duration::from_secs(5))?;
    for homeserver in &homeservers {
        let health = homeserver.client_url().join("health")?;
        let up = poll::until(PATIENCE, async || {
            let answers = http::answers(&client, health.as_str()).await;
            Ok(answers.then_some(()))
        });
        up.await?.with_context(|| {
            format!(
                "the shared testbed's homeserver {} does not answer; its log: {}",
                homeserver.server_name(),
                homeserver.log().display()
            )
        })?;
    }
    let fhir_url = state.fhir_url.as_deref().map(Url::parse).transpose()?;
    Ok(Some(Testbed {
        folder: state.folder,
        net,
        venv: state.venv,
        homeservers,
        fhir: OnceCell::new_with(fhir_url.map(Fhir::elsewhere)),
        own: None,
    }))
}

/// What an announced testbed whose process lives says of itself.
fn announced() -> Result<Option<State>> {
    let Some(state) = read(&path())? else {
        return Ok(None);
    };
    if !runs::is_alive(&state.folder) {
        tracing::info!("the process of the announced testbed is gone");
        return Ok(None);
    }
    Ok(Some(state))
}

fn read(path: &Path) -> Result<Option<State>> {
    match fs::read(path) {
        Ok(bytes) => {
            let state = serde_json::from_slice(&bytes);
            state
                .map(Some)
                .with_context(|| format!("{} is damaged; remove it", path.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn path() -> PathBuf {
    paths::root().join("shared.json")
}
