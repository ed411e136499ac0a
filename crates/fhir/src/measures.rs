//! What is timed, for whoever watches.
//!
//! The facade of the crate [`metrics`](https://docs.rs/metrics/0.24) is told of it, for programs that install a recorder.
//! No label names a resource, a path or a search.

use std::time::Duration;

use metrics::histogram;

/// Histogram: how long the server took for a request, by `server` (see
/// [`FhirClientBuilder::name`](crate::FhirClientBuilder::name)) and `status`: `2xx`, `3xx`, `4xx`, `429`, `5xx`, `none` (no
/// answer came).
pub const REQUESTS: &str = "fhir_request_duration_seconds";

pub(crate) fn request(server: &str, took: Duration, status: Option<u16>) {
    let class = match (status, status.unwrap_or(0) / 100) {
        (None, _) => "none",
        (Some(429), _) => "429",
        (_, 1 | 2) => "2xx",
        (_, 3) => "3xx",
        (_, 4) => "4xx",
        _ => "5xx",
    };
    histogram!(REQUESTS, "server" => server.to_owned(), "status" => class).record(took);
}
