use std::fmt;

use serde_json::Value;

use super::{lens, matrix_id::matrix_user_id};
use crate::{BaseUrl, Coding, Instant, Odd, ResourceRef, ResourceType};

/// A technical address, which a directory may use for a Matrix account (gematik's does).
///
/// Spec: <http://hl7.org/fhir/R4/endpoint.html>
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    /// Type and id.
    pub reference: ResourceRef,
    /// Whether its status is `active` and its period, if it has one, has begun and not ended.
    pub active: bool,
    /// What kind of connection it is.
    pub connection_type: Option<Coding>,
    /// The Matrix account that its address is; `None` when it is none.
    pub user_id: Option<String>,
}

impl Endpoint {
    /// Reads an `Endpoint`.
    ///
    /// # Errors
    ///
    /// When it is another type of resource or has no id.
    pub fn from_json(json: &Value, _base: &BaseUrl, now: &Instant) -> Result<Self, Odd> {
        let raw = lens::resource(json, &ResourceType::Endpoint, "Endpoint")?;
        let period = json.get("period");
        let bound = |name| period.and_then(|period| lens::text(period, name));
        let begun = bound("start")
            .and_then(Instant::parse_period_start)
            .is_none_or(|start| start <= *now);
        let not_over = bound("end")
            .and_then(Instant::parse_period_end)
            .is_none_or(|end| *now <= end);
        // In R4 it is one `Coding`; lists are read too.
        let connection_type = lens::items(json, "connectionType").find_map(Coding::from_json);
        Ok(Self {
            reference: raw.reference,
            active: lens::text(json, "status") == Some("active") && begun && not_over,
            connection_type,
            user_id: lens::text(json, "address").and_then(matrix_user_id),
        })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("reference", &self.reference)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}
