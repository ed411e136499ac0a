//! Keeps a FHIR R4 server and federated Matrix homeservers the same: a `CareTeam` is a space, a
//! `CommunicationRequest` a room in it, a `Communication` a message.
//!
//! Changes on the FHIR server come in through `puller`, what people write in Matrix through the
//! application service's transactions. Both are stored in the journal of `matrix-appservice` and worked
//! off from there: `network`, `thread` and `message` are the handlers. [`mapping`] is pure.

mod audit;
pub mod bridge;
pub mod cli;
pub mod config;
mod database;
mod directory;
mod doctor;
mod failure;
mod hooks;
mod import;
mod lifecycle;
mod links;
mod logging;
pub mod mapping;
mod message;
mod network;
mod ops;
mod policy;
mod provision;
mod puller;
mod report;
mod servers;
mod startup;
mod thread;
