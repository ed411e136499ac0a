//! Plain HTTP to the testbed's own servers.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::crypto::ring;

/// A client for one errand: tests run on many runtimes, so no connection is kept for a later one.
pub(crate) fn client(timeout: Duration) -> Result<reqwest::Client> {
    // Fails when a provider is installed already, which is as good.
    let _ = ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(timeout)
        .build()
        .context("cannot make an HTTP client")
}

/// Whether a GET of the address answers 200.
pub(crate) async fn answers(client: &reqwest::Client, url: &str) -> bool {
    let response = client.get(url).send().await;
    response.is_ok_and(|response| response.status() == 200)
}
