//! FHIR resources and Matrix events, side by side. Pure: no clock, no I/O, nothing async.

pub mod ids;
pub mod lane;
pub mod parts;
