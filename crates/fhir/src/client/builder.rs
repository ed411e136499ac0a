use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{header::HeaderValue, redirect::Policy};
use secrecy::{ExposeSecret, SecretString};
use url::Host;

use super::{FhirClient, Inner, http::root_cause};
use crate::{BaseUrl, BaseUrlError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a [`FhirClient`]. Made by [`FhirClient::builder`].
///
/// ```
/// # fn main() -> Result<(), fhir::SetupError> {
/// use std::time::Duration;
///
/// let client = fhir::FhirClient::builder("https://fhir.example.org/fhir")
///     .bearer("a token".to_owned().into())
///     .timeout(Duration::from_secs(10))
///     .build()?;
/// assert_eq!(client.base().as_str(), "https://fhir.example.org/fhir");
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct FhirClientBuilder {
    base_url: String,
    bearer: Option<SecretString>,
    timeout: Duration,
    max_body_bytes: usize,
}

/// Why a [`FhirClient`] can't be built. It repeats neither the URL nor the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The base URL is not one.
    #[error(transparent)]
    BaseUrl(#[from] BaseUrlError),
    /// The bearer token holds characters that no HTTP header can carry, often a line break at its
    /// end.
    #[error(
        "the FHIR bearer token is empty, or holds a line break, white space or other characters that a header can't carry"
    )]
    Token,
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up: {0}")]
    Http(String),
}

impl FhirClient {
    /// Begins a client for the server with this service base URL, such as
    /// `https://fhir.example.org/fhir`. A slash at its end makes no difference.
    pub fn builder(base_url: &str) -> FhirClientBuilder {
        FhirClientBuilder {
            base_url: base_url.to_owned(),
            bearer: None,
            timeout: Duration::from_secs(30),
            max_body_bytes: 16 * 1024 * 1024,
        }
    }
}

impl FhirClientBuilder {
    /// Sends `Authorization: Bearer …` with every request. Default: none.
    pub fn bearer(mut self, token: SecretString) -> Self {
        self.bearer = Some(token);
        self
    }

    /// How long a request may take, answer included. Default: 30 seconds. Connecting never takes
    /// longer than 10.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many bytes an answer may have; a larger one is an error. Default: 16 MiB.
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Builds the client, without speaking to the server. Proxies come from the environment
    /// (`HTTPS_PROXY`, `NO_PROXY`), except for servers on a loopback address.
    ///
    /// # Errors
    ///
    /// When the base URL or the token can't be used.
    pub fn build(self) -> Result<FhirClient, SetupError> {
        let base = BaseUrl::parse(&self.base_url)?;
        let authorization = self.bearer.as_ref().map(authorization).transpose()?;
        // Fails when the program has chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .referer(false)
            .user_agent(concat!("fhir-bridge/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|e| SetupError::Http(root_cause(&e)))?;
        Ok(FhirClient {
            inner: Arc::new(Inner {
                http,
                base,
                authorization,
                max_body_bytes: self.max_body_bytes,
                without_history: Mutex::new(BTreeSet::new()),
            }),
        })
    }
}

fn authorization(token: &SecretString) -> Result<HeaderValue, SetupError> {
    let token = token.expose_secret();
    if token.is_empty()
        || !token.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        || token.trim() != token
    {
        return Err(SetupError::Token);
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| SetupError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(base: &BaseUrl) -> bool {
    match base.url().host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

impl fmt::Debug for FhirClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FhirClientBuilder")
            .field("timeout", &self.timeout)
            .field("max_body_bytes", &self.max_body_bytes)
            .finish_non_exhaustive()
    }
}
