//! What is written down of what the bridge does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where what the bridge does is written down, for those who have to account for it.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Where it goes. Default: `file`.
    pub sink: AuditSink,
}

/// Where audit events go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditSink {
    /// Into `audit.log` in the folder `data`: one JSON object in a line, each with the hash of the one before.
    #[default]
    File,
    /// To the FHIR server, as `AuditEvent`s. What it refuses (some servers make their own only) goes into the
    /// file.
    Fhir,
    /// Nowhere.
    None,
}
