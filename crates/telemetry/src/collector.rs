//! Requests to the collector, and what the log is told of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::{Error, PATIENCE};

/// How much of an answer is read: it says how many spans were refused, and nobody asks.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// The collector.
#[derive(Debug)]
pub(crate) struct Collector {
    http: reqwest::Client,
    /// Of its own: spans are sent by a thread that belongs to no runtime, also when the program's own has ended.
    runtime: Runtime,
    /// For the log: scheme, host and port.
    origin: String,
    /// Whether the last request failed.
    is_away: AtomicBool,
}

impl Collector {
    pub(crate) fn new(endpoint: &Url) -> Result<Self, Error> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails when another thread was faster, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("fhir-bridge/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE);
        if endpoint.scheme() == "http" {
            // Without the system's certificates it starts sooner.
            http = http.tls_certs_only([]);
        }
        Ok(Self {
            http: http.build().map_err(|error| Error::SetUp(error.into()))?,
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Error::SetUp(error.into()))?,
            origin: endpoint.origin().ascii_serialization(),
            is_away: AtomicBool::new(false),
        })
    }

    async fn exchange(&self, request: Request<Bytes>) -> reqwest::Result<Response<Bytes>> {
        let request = reqwest::Request::try_from(request)?;
        let mut answer = self.http.execute(request).await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        *response.body_mut() = body.freeze();
        Ok(response)
    }

    /// Says in the log when it is away and when it is back, each once.
    fn tell(&self, problem: Option<&str>) {
        let was_away = self.is_away.swap(problem.is_some(), Ordering::Relaxed);
        let collector = &self.origin;
        match problem {
            Some(problem) if !was_away => tracing::warn!(
                collector,
                problem,
                "the OpenTelemetry collector takes no traces: is it running, and is `opentelemetry.endpoint` right? All else goes on; what is traced meanwhile is not kept"
            ),
            None if was_away => {
                tracing::info!(collector, "the OpenTelemetry collector takes traces again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match self.runtime.block_on(self.exchange(request)) {
            Ok(answer) => {
                let refused = !answer.status().is_success();
                let problem = refused.then(|| format!("it answers {}", answer.status().as_u16()));
                self.tell(problem.as_deref());
                Ok(answer)
            }
            Err(error) => {
                let problem = if error.is_connect() {
                    "there is no connection"
                } else if error.is_timeout() {
                    "it doesn't answer in time"
                } else {
                    "the connection broke"
                };
                self.tell(Some(problem));
                // Without the URL, which says nothing more.
                Err(error.without_url().into())
            }
        }
    }
}
