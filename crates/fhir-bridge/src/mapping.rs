//! FHIR resources and Matrix events, side by side. Pure: no clock, no I/O, nothing async.

pub mod content;
pub mod file_name;
pub mod fingerprint;
pub mod ids;
pub mod lane;
pub mod markup;
pub mod parts;
