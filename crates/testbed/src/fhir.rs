//! The FHIR server of a testbed.

use std::path::Path;

use anyhow::Result;
use url::Url;

use crate::hapi;
use crate::net::Net;
use crate::progress::Reporter;
use crate::python::Python;
use crate::server::Server;

/// Which FHIR server a testbed has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FhirServer {
    /// None.
    #[default]
    None,
    /// One that runs already: its base URL. Nothing is installed.
    Url(Url),
    /// HAPI FHIR's JPA server, installed and started by the testbed.
    Hapi,
}

/// A FHIR server of a testbed.
#[derive(Debug)]
pub(crate) struct Fhir {
    url: Url,
    server: Option<Server>,
}

impl Fhir {
    /// One that somebody else runs.
    pub(crate) fn elsewhere(url: Url) -> Self {
        Self { url, server: None }
    }

    /// One that this process runs.
    pub(crate) fn run_by(url: Url, server: Server) -> Self {
        Self {
            url,
            server: Some(server),
        }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// The process, when this one runs it.
    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }
}

/// Looks whether this machine has what the server needs.
pub(crate) async fn check(server: &FhirServer) -> Result<()> {
    match server {
        FhirServer::None | FhirServer::Url(_) => Ok(()),
        FhirServer::Hapi => hapi::check().await,
    }
}

/// Starts the server, when there is one to start, and waits until it answers.
pub(crate) async fn start(
    server: &FhirServer,
    net: Net,
    folder: &Path,
    python: &Python,
    reporter: &Reporter,
) -> Result<Option<Fhir>> {
    match server {
        FhirServer::None => Ok(None),
        FhirServer::Url(url) => Ok(Some(Fhir::elsewhere(url.clone()))),
        FhirServer::Hapi => {
            let (url, server) = hapi::prepare(net, folder, python, reporter).await?;
            reporter
                .during("start the FHIR server", server.start())
                .await?;
            Ok(Some(Fhir::run_by(url, server)))
        }
    }
}
