//! One Synapse: its folder, its configuration, its process.

mod config;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::net::{HOMESERVERS, Net};
use crate::process::{Pipes, Spec};
use crate::server::Server;
use crate::{files, paths};

/// What is needed to start one.
pub(crate) struct Setup<'a> {
    pub(crate) name: &'a str,
    pub(crate) net: Net,
    pub(crate) address: Ipv4Addr,
    pub(crate) base_url: &'a str,
    pub(crate) folder: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) python: &'a Path,
    pub(crate) ca: &'a Path,
    pub(crate) registrations: &'a [PathBuf],
}

/// Writes the configuration; what an earlier run left in the folder is kept.
pub(crate) fn prepare(setup: &Setup<'_>) -> Result<Server> {
    for registration in setup.registrations {
        if !registration.is_file() {
            bail!(
                "the registration {} for {} is not there",
                registration.display(),
                setup.name
            );
        }
    }
    files::private_folder(&setup.folder)?;
    config::write(setup)?;
    let script = paths::source().join("synapse/hs_run.py");
    let command: [OsString; 4] = [
        setup.python.into(),
        script.into(),
        "-c".into(),
        "homeserver.yaml".into(),
    ];
    let spec = Spec {
        name: format!("the homeserver {}", setup.name),
        python: setup.python.to_owned(),
        command: command.to_vec(),
        env: vec![("TRIO_HOSTS".to_owned(), hosts(setup.net))],
        folder: setup.folder.clone(),
        log: setup.log.clone(),
        pipes: Pipes::Closed,
        account: None,
    };
    Server::new(spec, format!("{}health", setup.base_url))
}

/// The names of a net, as `hs_run.py` wants them.
fn hosts(net: Net) -> String {
    HOMESERVERS
        .map(|(name, host)| format!("{} {name}", net.address(host)))
        .join(",")
}
