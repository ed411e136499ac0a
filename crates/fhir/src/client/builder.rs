use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{header::HeaderValue, redirect::Policy};
use secrecy::SecretString;
use url::Host;

use super::{
    Auth, FhirClient, Inner, KeyError, Secret, SecretError, Tls, TlsError, auth::Tokens,
    http::root_cause,
};
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
    name: String,
    auth: Auth,
    tls: Tls,
    media_type: String,
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
    /// A secret can't be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A private key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The token endpoint is no URL, or secrets would travel there for everybody to read.
    #[error(
        "the token endpoint must be a URL that begins with https:// (http:// only on this machine)"
    )]
    TokenUrl,
    /// A certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The media type can't be sent.
    #[error("the media type holds characters that a header can't carry")]
    MediaType,
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
            name: String::new(),
            auth: Auth::None,
            tls: Tls::default(),
            media_type: "application/fhir+json".to_owned(),
            timeout: Duration::from_secs(30),
            max_body_bytes: 16 * 1024 * 1024,
        }
    }
}

impl FhirClientBuilder {
    /// What the server is called where [requests are timed](crate::measures). Default: nothing.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sends `Authorization: Bearer …` with every request. Default: none.
    pub fn bearer(self, token: SecretString) -> Self {
        self.auth(Auth::Bearer(Secret::Given(token)))
    }

    /// How to show who we are. Default: not at all.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Which certificates to trust, and our own. Default: those of the operating system, and none.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// What `Accept` and `Content-Type` say, for servers that want it more exactly, such as
    /// `application/fhir+json; fhirVersion=4.0`. Default: `application/fhir+json`.
    pub fn media_type(mut self, media_type: &str) -> Self {
        media_type.clone_into(&mut self.media_type);
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
        let tokens = Tokens::try_new(self.auth)?;
        let media_type =
            HeaderValue::try_from(self.media_type).map_err(|_| SetupError::MediaType)?;
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
        http = self.tls.apply(http)?;
        let http = http.build().map_err(|e| SetupError::Http(root_cause(&e)))?;
        Ok(FhirClient {
            inner: Arc::new(Inner {
                http,
                name: self.name,
                base,
                tokens,
                media_type,
                max_body_bytes: self.max_body_bytes,
                without_history: Mutex::new(BTreeSet::new()),
            }),
        })
    }
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
