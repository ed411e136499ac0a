//! Messages both ways, on real homeservers and a real FHIR server: written in the record by a plain FHIR client, in
//! Matrix by an ordinary one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[allow(dead_code, reason = "the tests of failures need all of it")]
#[path = "../failures/between.rs"]
mod between;
mod deadly;
mod edits;
mod files;
mod kept;
mod killed;
mod long;
mod place;
mod rate;
mod readers;
mod resources;
mod texts;
mod ties;
