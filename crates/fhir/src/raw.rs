use std::fmt;

use serde_json::Value;

use crate::{Instant, ResourceRef, ResourceType};

/// A resource as the server sent it, with what every resource has read out. Elements that we don't
/// know are still in `json`.
///
/// `Debug` shows type and version, never contents.
///
/// Spec: <http://hl7.org/fhir/R4/resource.html>
#[derive(Clone, PartialEq)]
pub struct RawResource {
    /// Type and id.
    pub reference: ResourceRef,
    /// `meta.versionId`; where a server sends none, its `ETag`.
    pub version_id: Option<String>,
    /// `meta.lastUpdated`; where a server sends none, when the answer says it was modified.
    pub last_updated: Option<Instant>,
    /// All of it.
    pub json: Value,
}

impl RawResource {
    /// Reads what every resource has. `Err` says what is missing, without contents.
    pub(crate) fn from_json(json: Value) -> Result<Self, &'static str> {
        if !json.is_object() {
            return Err("it is not a JSON object");
        }
        let resource_type = json
            .get("resourceType")
            .and_then(Value::as_str)
            .and_then(ResourceType::parse)
            .ok_or("it has no resourceType")?;
        let id = json
            .get("id")
            .and_then(Value::as_str)
            .ok_or("it has no id")?;
        let reference = ResourceRef::try_new(resource_type, id).ok_or("its id is not a FHIR id")?;
        let meta = |name: &str| {
            json.get("meta")
                .and_then(|meta| meta.get(name))
                .and_then(Value::as_str)
        };
        Ok(Self {
            version_id: meta("versionId")
                .filter(|v| is_version(v))
                .map(str::to_owned),
            last_updated: meta("lastUpdated").and_then(Instant::parse),
            reference,
            json,
        })
    }

    /// The resource's type.
    #[must_use]
    pub fn resource_type(&self) -> &ResourceType {
        self.reference.resource_type()
    }
}

impl fmt::Debug for RawResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawResource")
            .field("reference", &self.reference)
            .field("version_id", &self.version_id)
            .field("last_updated", &self.last_updated)
            .finish_non_exhaustive()
    }
}

/// Whether a version can stand in an `ETag` (`W/"…"`). FHIR has them be ids; servers differ, so
/// only what breaks a header is refused.
pub(crate) fn is_version(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// The version in an `ETag`: `W/"3"` is `3`.
pub(crate) fn version_of_etag(etag: &str) -> Option<String> {
    let tag = etag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    let version = tag
        .strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"'))
        .unwrap_or(tag);
    is_version(version).then(|| version.to_owned())
}
