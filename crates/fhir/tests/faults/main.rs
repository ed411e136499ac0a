//! The client against what no real server does on demand: faults, clocks that jump, tokens that end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod auth;
mod cursor;
mod notifications;
mod subscriptions;
mod tls;
mod writes;

use fhir::FhirClient;
use testbed::FhirStub;

/// A server, and a client for it.
async fn stub() -> (FhirStub, FhirClient) {
    let stub = FhirStub::start().await.unwrap();
    let client = FhirClient::builder(stub.url().as_str()).build().unwrap();
    (stub, client)
}
