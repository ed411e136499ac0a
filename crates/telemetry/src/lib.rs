//! Traces to an OpenTelemetry collector: spans of `tracing`, as OTLP over HTTP (protobuf).
//!
//! What a program does never waits for the collector. Spans that are over are kept in memory, a fixed number of them at the
//! most, and a thread of its own sends them every few seconds. While the collector is away they are dropped, which is said
//! once in the log, and once more when it is back. What is still there at the end is sent by [`Traces::close`].
//!
//! Only spans go there, with their fields: what is logged within them does not.
//!
//! Spec: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

mod collector;
mod roots;

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanLimits,
    },
};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use self::{collector::Collector, roots::Roots};

/// Spans that wait for the collector. One of ours takes less than a kilobyte.
const WAITING: usize = 2048;
/// Spans in one request.
const AT_ONCE: usize = 512;
/// How often they are sent, unless there are enough for a request before.
const EVERY: Duration = Duration::from_secs(5);
/// How long the collector may take for a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end may wait for the collector.
const FAREWELL: Duration = Duration::from_secs(5);
/// Fields of a span that are told.
const FIELDS: u32 = 32;

/// What traces say of the program that they come from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// `service.name`: the program.
    pub service: &'a str,
    /// `service.version`.
    pub version: &'a str,
    /// `service.instance.id`: which of several it is.
    pub instance: &'a str,
    /// The names of the spans that a trace begins with. Others are told within such a one, and not at all without it.
    pub roots: &'static [&'static str],
}

/// Nothing can be sent to the collector.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system gives no thread, no certificates, or the like.
    #[error("traces can't be sent to the collector")]
    SetUp(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What sends traces, from its start until it is closed.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to send to the collector whose OTLP receiver for HTTP is at `endpoint`, such as
    /// `http://127.0.0.1:4318`; `v1/traces` is appended. Asks it nothing yet.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, or no certificates to know an `https://` endpoint by.
    pub fn start(endpoint: &Url, source: Source<'_>) -> Result<Self, Error> {
        let collector = Collector::new(endpoint)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(PATIENCE)
            .with_endpoint(path_of(endpoint))
            .build()
            .map_err(|error| Error::SetUp(error.into()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(AT_ONCE)
            .with_scheduled_delay(EVERY)
            .build();
        let limits = SpanLimits {
            max_attributes_per_span: FIELDS,
            max_events_per_span: 0,
            ..SpanLimits::default()
        };
        let resource = Resource::builder_empty()
            .with_service_name(source.service.to_owned())
            .with_attributes([
                KeyValue::new("service.version", source.version.to_owned()),
                KeyValue::new("service.instance.id", source.instance.to_owned()),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batches)
                    .build(),
            )
            .with_sampler(Sampler::ParentBased(Box::new(Roots(source.roots))))
            .with_span_limits(limits)
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What makes spans of `tracing` traces, as a layer of its subscriber. What must not leave the machine has to be filtered
    /// away from it.
    #[must_use]
    pub fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(env!("CARGO_PKG_NAME")))
            // Of no use to who looks at traces, and the more to send.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
    }

    /// Sends what is left and ends. Waits a few seconds for the collector at the most, and blocks meanwhile.
    pub fn close(self) {
        // Who can't be reached was told of already.
        let _ = self.provider.shutdown_with_timeout(FAREWELL);
    }
}

/// Where traces are sent, below the endpoint.
fn path_of(endpoint: &Url) -> String {
    format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_appended_to_the_endpoint() {
        for (endpoint, path) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            (
                "https://c.example/otlp/",
                "https://c.example/otlp/v1/traces",
            ),
        ] {
            assert_eq!(path_of(&endpoint.parse().unwrap()), path);
        }
    }
}
