//! A stand-in for an OpenTelemetry collector, which can be away.
//!
//! Spec: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::status::StatusCode as SpanStatus,
};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::poll;

/// A span, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedSpan {
    /// The trace that it belongs to.
    pub trace: Vec<u8>,
    /// Its own id.
    pub id: Vec<u8>,
    /// The span that it is within; empty for the first one of a trace.
    pub parent: Vec<u8>,
    /// What it is called.
    pub name: String,
    /// Whether it was marked as failed.
    pub failed: bool,
    /// Its fields, as text.
    pub fields: BTreeMap<String, String>,
    /// What its program says of itself, as text.
    pub source: BTreeMap<String, String>,
    /// How many events it holds.
    pub events: usize,
}

/// Takes traces over HTTP (protobuf) and keeps them. It ends when this is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Shared {
    bodies: Mutex<Vec<Bytes>>,
    /// What is answered in place of 200.
    refusal: Mutex<Option<Refusal>>,
    /// How many requests were refused.
    refused: Mutex<usize>,
}

/// What a collector does that takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It answers this status.
    Status(u16),
    /// It says nothing for this long.
    Silence(Duration),
}

impl Collector {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start() -> Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts one on this address.
    ///
    /// # Errors
    ///
    /// When somebody else has it.
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("the collector can't listen on {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(shared.clone());
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
            if let Err(error) = server.await {
                tracing::error!(%error, "the stand-in for a collector ended");
            }
        });
        Ok(Self {
            address,
            shared,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it is, as a program is told: `http://127.0.0.1:…`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Refuses from now on, or (`None`) takes again.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        *lock(&self.shared.refusal) = refusal;
    }

    /// How many requests were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        *lock(&self.shared.refused)
    }

    /// The requests that came, as bytes: what must not be in there is looked for in them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        lock(&self.shared.bodies).concat()
    }

    /// The spans that came, in the order in which they did.
    ///
    /// # Errors
    ///
    /// When a request was not of the form that the specification describes.
    pub fn spans(&self) -> Result<Vec<TracedSpan>> {
        let mut spans = Vec::new();
        for body in lock(&self.shared.bodies).iter() {
            let request = ExportTraceServiceRequest::decode(body.clone())
                .context("a request is no ExportTraceServiceRequest")?;
            for of_resource in request.resource_spans {
                let source = of_resource.resource.unwrap_or_default().attributes;
                let source = texts(source);
                let all = of_resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|one| one.spans);
                spans.extend(all.map(|span| {
                    TracedSpan {
                        trace: span.trace_id,
                        id: span.span_id,
                        parent: span.parent_span_id,
                        name: span.name,
                        failed: span
                            .status
                            .is_some_and(|status| status.code == SpanStatus::Error as i32),
                        fields: texts(span.attributes),
                        source: source.clone(),
                        events: span.events.len(),
                    }
                }));
            }
        }
        Ok(spans)
    }

    /// Waits until spans came that `look` is content with.
    ///
    /// # Errors
    ///
    /// When they don't come within `patience`.
    pub async fn wait_for(
        &self,
        patience: Duration,
        look: impl Fn(&[TracedSpan]) -> bool,
    ) -> Result<Vec<TracedSpan>> {
        let found = poll::until(patience, async || {
            let spans = self.spans()?;
            Ok(look(&spans).then_some(spans))
        });
        found
            .await?
            .context("the traces that are waited for don't come")
    }
}

async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let refusal = *lock(&shared.refusal);
    let Some(refusal) = refusal else {
        lock(&shared.bodies).push(body);
        return StatusCode::OK;
    };
    *lock(&shared.refused) += 1;
    match refusal {
        Refusal::Status(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Refusal::Silence(pause) => {
            tokio::time::sleep(pause).await;
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn texts(fields: Vec<KeyValue>) -> BTreeMap<String, String> {
    fields
        .into_iter()
        .map(|field| {
            let text = match field.value.and_then(|value| value.value) {
                Some(Value::StringValue(text)) => text,
                Some(Value::IntValue(number)) => number.to_string(),
                Some(Value::BoolValue(truth)) => truth.to_string(),
                other => format!("{other:?}"),
            };
            (field.key, text)
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
