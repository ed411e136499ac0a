use std::fmt;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{SOURCE_SYSTEM_EXTENSION, SOURCE_SYSTEM_MATRIX};
use crate::{Condition, Identifier, Instant, Ref, ResourceRef};

/// Our identifier system for rooms that people made: the value is the SHA-256 of the room id in
/// lower-case hexadecimal, so that it can stand in a search on any server.
pub const ROOM_KEY_SYSTEM: &str =
    "https://github.com/fhir-bridge/matrix-appservice/matrix-room-key";

/// The identifier system whose value is a Matrix room id as it is.
const MATRIX_ROOM_ID_SYSTEM: &str = "https://matrix.org/room-id";

/// A conversation that somebody began in Matrix and that becomes a `CommunicationRequest`.
///
/// Spec: <http://hl7.org/fhir/R4/communicationrequest.html>
#[derive(Clone, PartialEq)]
pub struct NewRequest {
    /// The room.
    pub room_id: String,
    /// The care team whose space it hangs in: `basedOn`, so that its members aren't all recipients.
    pub care_team: ResourceRef,
    /// The client: the care team's `subject`.
    pub subject: Option<Ref>,
    /// Who made the room.
    pub requester: ResourceRef,
    /// Who else is in it.
    pub recipients: Vec<ResourceRef>,
    /// When it was made, as far as is known.
    pub authored_on: Instant,
}

impl NewRequest {
    /// The resource to create. Create it with [`NewRequest::condition`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let reference = |one: &ResourceRef| Ref::from(one.clone()).to_json();
        let mut json = json!({
            "resourceType": "CommunicationRequest",
            "status": "active",
            "identifier": [
                {"system": MATRIX_ROOM_ID_SYSTEM, "value": self.room_id},
                self.key().to_json(),
            ],
            "extension": [{"url": SOURCE_SYSTEM_EXTENSION, "valueString": SOURCE_SYSTEM_MATRIX}],
            "basedOn": [reference(&self.care_team)],
            "requester": reference(&self.requester),
            "authoredOn": self.authored_on.as_str(),
        });
        if let Some(subject) = &self.subject {
            json["subject"] = subject.to_json();
        }
        if !self.recipients.is_empty() {
            json["recipient"] = self.recipients.iter().map(reference).collect();
        }
        json
    }

    /// That there is none of this room yet.
    #[must_use]
    pub fn condition(&self) -> Condition {
        Condition::identifier(self.key())
    }

    fn key(&self) -> Identifier {
        Identifier {
            system: Some(ROOM_KEY_SYSTEM.to_owned()),
            value: format!("{:x}", Sha256::digest(self.room_id.as_bytes())),
        }
    }
}

impl fmt::Debug for NewRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRequest")
            .field("care_team", &self.care_team)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_valid_and_meets_its_own_condition() {
        let reference = |text| ResourceRef::parse(text).unwrap();
        let request = NewRequest {
            room_id: "!room:vvt".to_owned(),
            care_team: reference("CareTeam/1"),
            subject: Some(reference("Patient/2").into()),
            requester: reference("Practitioner/3"),
            recipients: vec![reference("Practitioner/4")],
            authored_on: Instant::parse("2026-11-21T10:00:00Z").unwrap(),
        };
        let json = request.to_json();
        crate::check::check(&json).unwrap();
        assert!(request.condition().is_met_by(&json));
    }
}
