//! All tests of the crate but those against a real server, in one program: linking the FHIR model
//! once is enough.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod codecs;
mod history;
mod never_panics;
mod people;
mod privacy;
mod reading;
mod stub;
mod subscriptions;
mod writing;
