//! What the bridge has to live through, on real homeservers and a real FHIR server.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails; what it prints helps when it does"
)]

mod between;
mod each_step;
mod outages;
