//! Care networks on real homeservers and a real FHIR server: who is in which room, who may do what, what comes back.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test that cannot go on fails; each of these is a story told from its beginning"
)]

mod adopted;
mod back;
#[allow(dead_code, reason = "the tests of failures need all of it")]
#[path = "../failures/between.rs"]
mod between;
mod flat;
mod headers;
mod members;
mod moving;
mod phases;
mod policy;
mod stage;
mod talk;
mod teams;
mod threads;
