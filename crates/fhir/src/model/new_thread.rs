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

/// A conversation that somebody began in Matrix.
#[derive(Clone, PartialEq)]
pub struct NewThread {
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

impl NewThread {
    /// The `CommunicationRequest` to create. Create it with [`NewThread::condition`].
    ///
    /// Spec: <http://hl7.org/fhir/R4/communicationrequest.html>
    #[must_use]
    pub fn to_request(&self) -> Value {
        let mut json = self.common("CommunicationRequest", "active", &self.recipients);
        json["requester"] = reference(&self.requester);
        json["authoredOn"] = self.authored_on.as_str().into();
        json
    }

    /// The same as the header of a conversation: a `Communication` that says nothing. Create it with
    /// [`NewThread::condition`].
    ///
    /// Who began it is a recipient, too: applications that work with headers look there for those who take part.
    ///
    /// Spec: <http://hl7.org/fhir/R4/communication.html>
    #[must_use]
    pub fn to_header(&self) -> Value {
        let mut recipients = vec![self.requester.clone()];
        recipients.extend(self.recipients.iter().cloned());
        let mut json = self.common("Communication", "in-progress", &recipients);
        json["sender"] = reference(&self.requester);
        json["sent"] = self.authored_on.as_str().into();
        json
    }

    /// What is called the same in both.
    fn common(&self, resource_type: &str, status: &str, recipients: &[ResourceRef]) -> Value {
        let mut json = json!({
            "resourceType": resource_type,
            "status": status,
            "identifier": [
                {"system": MATRIX_ROOM_ID_SYSTEM, "value": self.room_id},
                self.key().to_json(),
            ],
            "extension": [{"url": SOURCE_SYSTEM_EXTENSION, "valueString": SOURCE_SYSTEM_MATRIX}],
            "basedOn": [reference(&self.care_team)],
        });
        if let Some(subject) = &self.subject {
            json["subject"] = subject.to_json();
        }
        if !recipients.is_empty() {
            json["recipient"] = recipients.iter().map(reference).collect();
        }
        json
    }

    /// That there is none of this room yet.
    #[must_use]
    pub fn condition(&self) -> Condition {
        Condition::identifier(self.key())
    }

    fn key(&self) -> Identifier {
        key(&self.room_id)
    }
}

/// The room that a conversation began as, by its identifiers: of those that [`NewThread`] writes, both have to be there and
/// agree.
#[must_use]
pub fn room_of_thread(identifiers: &[Identifier]) -> Option<&str> {
    identifiers
        .iter()
        .filter(|one| one.system.as_deref() == Some(MATRIX_ROOM_ID_SYSTEM))
        .map(|one| one.value.as_str())
        .find(|room| identifiers.contains(&key(room)))
}

fn key(room_id: &str) -> Identifier {
    Identifier {
        system: Some(ROOM_KEY_SYSTEM.to_owned()),
        value: format!("{:x}", Sha256::digest(room_id.as_bytes())),
    }
}

fn reference(one: &ResourceRef) -> Value {
    Ref::from(one.clone()).to_json()
}

impl fmt::Debug for NewThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewThread")
            .field("care_team", &self.care_team)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BaseUrl, Communication, CommunicationRequest, EventStatus};

    fn new() -> NewThread {
        let reference = |text| ResourceRef::parse(text).unwrap();
        NewThread {
            room_id: "!room:vvt".to_owned(),
            care_team: reference("CareTeam/1"),
            subject: Some(reference("Patient/2").into()),
            requester: reference("Practitioner/3"),
            recipients: vec![reference("Practitioner/4")],
            authored_on: Instant::parse("2026-11-21T10:00:00Z").unwrap(),
        }
    }

    #[test]
    fn either_form_is_valid_and_meets_its_own_condition() {
        for json in [new().to_request(), new().to_header()] {
            crate::check::check(&json).unwrap();
            assert!(new().condition().is_met_by(&json));
        }
    }

    #[test]
    fn the_room_is_known_again_and_half_a_name_is_none() {
        let room = new().room_id;
        let base = BaseUrl::parse("http://fhir.example/fhir").unwrap();
        for mut json in [new().to_request(), new().to_header()] {
            json["id"] = "7".into();
            let identifiers = match CommunicationRequest::from_json(&json, &base) {
                Ok(request) => request.identifiers,
                Err(_) => Communication::from_json(&json, &base).unwrap().identifiers,
            };
            assert_eq!(room_of_thread(&identifiers), Some(room.as_str()));
            assert_eq!(room_of_thread(&identifiers[..1]), None);
            assert_eq!(room_of_thread(&identifiers[1..]), None);
            let other = [identifiers[0].clone(), key("!other:vvt")];
            assert_eq!(room_of_thread(&other), None);
        }
    }

    #[test]
    fn a_header_is_known_as_one_and_names_all_who_take_part() {
        let mut json = new().to_header();
        json["id"] = "h".into();
        let base = BaseUrl::parse("http://fhir.example/fhir").unwrap();
        let header = Communication::from_json(&json, &base).unwrap();
        assert!(Communication::is_header(&json));
        assert_eq!(header.status, EventStatus::InProgress);
        assert_eq!(header.care_teams, [new().care_team]);
        assert_eq!(header.sender, Some(new().requester.into()));
        assert_eq!(
            header.recipients,
            [
                Ref::from(new().requester),
                Ref::from(new().recipients.remove(0))
            ]
        );
        assert_eq!(header.sent, Some(new().authored_on));
    }
}
