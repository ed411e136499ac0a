//! FHIR resources and Matrix events, side by side. Pure: no clock, no I/O, nothing async.

pub mod audit_event;
pub mod content;
pub mod file_name;
pub mod fingerprint;
pub mod identity;
pub mod ids;
pub mod invitation;
pub mod lane;
pub mod levels;
pub mod markup;
pub mod membership;
pub mod names;
pub mod parts;
pub mod phase;
pub mod powers;
pub mod resource;
pub mod roles;
pub mod room_state;
pub mod thread;
