//! `cargo xtask up`: the servers that the tests share.

use std::process::ExitCode;

use anyhow::Result;
use testbed::{FhirServer, Testbed, TestbedBuilder};
use url::Url;

/// The testbed of the tests, with progress on the terminal.
pub(crate) fn builder() -> TestbedBuilder {
    Testbed::builder()
        .fhir(FhirServer::Hapi)
        .postgres()
        .announced()
        .progress(|progress| println!("{progress}"))
}

pub(crate) async fn run(fhir_url: Option<Url>) -> Result<ExitCode> {
    let mut builder = builder();
    if let Some(url) = fhir_url {
        builder = builder.fhir(FhirServer::Url(url));
    }
    let testbed = builder.start().await?;
    println!(
        "\nThe servers run; `cargo test` in another terminal uses them. Logs: {}",
        testbed.logs().display()
    );
    println!("Stop them with Ctrl-C.");
    tokio::signal::ctrl_c().await?;
    println!("stopping …");
    testbed.stop().await;
    Ok(ExitCode::SUCCESS)
}
