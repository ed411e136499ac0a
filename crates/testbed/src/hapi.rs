//! HAPI FHIR's JPA server: R4, an embedded H2 database, rest-hook subscriptions (`hapi/README.md`).

mod install;
pub(crate) mod jars;

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use url::Url;

pub(crate) use install::check;

use crate::net::{FHIR_HOST, FHIR_PORT, Net};
use crate::process::{Pipes, Spec};
use crate::progress::Reporter;
use crate::python::Python;
use crate::server::Server;

/// Installs what is missing; the base URL, without a slash at the end, and the server, which is not started yet.
///
/// What an earlier run left in the folder is kept.
pub(crate) async fn prepare(
    net: Net,
    folder: &Path,
    python: &Python,
    reporter: &Reporter,
) -> Result<(Url, Server)> {
    let mut command = install::install(reporter).await?;
    let address = net.address(FHIR_HOST);
    let url = format!("http://{address}:{FHIR_PORT}/fhir");
    let arguments: [OsString; 6] = [
        "--address".into(),
        address.to_string().into(),
        "--port".into(),
        FHIR_PORT.to_string().into(),
        "--data".into(),
        folder.join("fhir").into(),
    ];
    command.extend(arguments);
    let spec = Spec {
        name: "the FHIR server".to_owned(),
        python: python.program.clone(),
        command,
        env: Vec::new(),
        folder: folder.to_owned(),
        log: folder.join("logs/fhir.log"),
        pipes: Pipes::Closed,
        account: None,
    };
    // Asks the database, and is not the 1.5 MB of `metadata`.
    let server = Server::new(spec, format!("{url}/Patient?_summary=count"))?;
    Ok((Url::parse(&url)?, server))
}
