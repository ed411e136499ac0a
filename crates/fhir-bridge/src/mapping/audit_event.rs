//! What the bridge did, as an `AuditEvent`. Pure; without content: of a message there is a hash at most.
//!
//! [`AuditEvent`](http://hl7.org/fhir/R4/auditevent.html)

use fhir::{Instant, MATRIX_EVENT_ID_SYSTEM, MATRIX_USER_ID_SYSTEM, ResourceRef};
use matrix_appservice::ruma::{EventId, RoomId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The identifier system of a Matrix room id.
const MATRIX_ROOM_ID_SYSTEM: &str = "https://matrix.org/room-id";

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Something of the FHIR server was made in Matrix: a room, a message.
    SentToMatrix,
    /// Something of Matrix was stored on the FHIR server.
    StoredInFhir,
    /// Something that had been carried over was changed with what it stands for.
    Changed,
    /// Something that had been carried over was taken back with what it stands for.
    TakenBack,
    /// Somebody was invited, or joined for.
    Admitted,
    /// Somebody was removed.
    Removed,
    /// Who may do what in a room was changed with what it stands for.
    LevelsSet,
    /// A resource and a room were linked because somebody asked for it.
    Linked,
    /// Their link was undone because somebody asked for it.
    Unlinked,
    /// The policy did not let it pass.
    Refused,
    /// It could not be carried over, or had lost against a newer change.
    LeftOut,
}

impl Deed {
    /// The code of `AuditEvent.action`: create, read, update, delete, execute.
    fn action(self) -> &'static str {
        match self {
            Self::SentToMatrix | Self::StoredInFhir => "C",
            Self::Changed | Self::LevelsSet => "U",
            Self::TakenBack | Self::Removed => "D",
            Self::Admitted | Self::Linked | Self::Unlinked | Self::Refused | Self::LeftOut => "E",
        }
    }

    /// `AuditEvent.subtype`, in our own words: FHIR's say nothing of a bridge.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::SentToMatrix => "sent-to-matrix",
            Self::StoredInFhir => "stored-in-fhir",
            Self::Changed => "changed",
            Self::TakenBack => "taken-back",
            Self::Admitted => "admitted",
            Self::Removed => "removed",
            Self::LevelsSet => "levels-set",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
            Self::Refused => "refused",
            Self::LeftOut => "left-out",
        }
    }

    /// The code of `AuditEvent.outcome`: success, or a failure that is no fault of the bridge.
    fn outcome(self) -> &'static str {
        match self {
            Self::Refused | Self::LeftOut => "4",
            _ => "0",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// A resource on the FHIR server, such as `Practitioner/7`.
    Fhir(String),
    /// A Matrix user whom the FHIR server doesn't know.
    Matrix(String),
}

/// The system of the ids by which requests and lines of the log belong together.
const CORRELATION_SYSTEM: &str = "https://github.com/fhir-bridge/matrix-appservice/correlation";

/// One thing that the bridge did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What.
    pub deed: Deed,
    /// When, Unix time in ms.
    pub at: u64,
    /// On whose behalf; `None`: on the bridge's own.
    pub agent: Option<Agent>,
    /// Whether the agent belongs to another organisation's homeserver.
    pub external: bool,
    /// The resource that it is about.
    pub resource: Option<String>,
    /// The room that it is about.
    pub room: Option<String>,
    /// The event that it is about.
    pub event: Option<String>,
    /// Why it was refused or left out: a class, never content.
    pub reason: Option<String>,
    /// A keyed hash of the content.
    pub content: Option<String>,
    /// The id that the log, and the FHIR server's requests for it, bear as well.
    #[serde(default)]
    pub correlation: Option<String>,
}

impl Record {
    /// A record of now, about nothing yet.
    #[must_use]
    pub fn new(deed: Deed) -> Self {
        Self {
            deed,
            at: Instant::now().unix_millis(),
            agent: None,
            external: false,
            resource: None,
            room: None,
            event: None,
            reason: None,
            content: None,
            correlation: None,
        }
    }

    /// On whose behalf: a resource.
    #[must_use]
    pub fn by(mut self, person: Option<&ResourceRef>) -> Self {
        self.agent = person.map(|person| Agent::Fhir(person.to_string()));
        self
    }

    /// On whose behalf: a Matrix user, unless a resource is known.
    #[must_use]
    pub fn by_user(mut self, user: &str, external: bool) -> Self {
        self.agent
            .get_or_insert_with(|| Agent::Matrix(user.to_owned()));
        self.external = external;
        self
    }

    /// The resource that it is about.
    #[must_use]
    pub fn resource(mut self, resource: &ResourceRef) -> Self {
        self.resource = Some(resource.to_string());
        self
    }

    /// The room that it is about.
    #[must_use]
    pub fn room(mut self, room: &RoomId) -> Self {
        self.room = Some(room.to_string());
        self
    }

    /// The event that it is about.
    #[must_use]
    pub fn event(mut self, event: &EventId) -> Self {
        self.event = Some(event.to_string());
        self
    }

    /// Why: a class, never content.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// What was said: of it only this fingerprint is kept, which nobody can make without the bridge's key.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: &str) -> Self {
        self.content = Some(fingerprint.to_owned());
        self
    }

    /// The `AuditEvent`, under this id.
    #[must_use]
    pub fn to_json(&self, id: &str) -> Value {
        let recorded = Instant::from_unix_millis(self.at).unwrap_or_else(Instant::now);
        let mut json = json!({
            "resourceType": "AuditEvent",
            "id": id,
            "type": {
                "system": "http://dicom.nema.org/resources/ontology/DCM",
                "code": "110106",
                "display": "Export",
            },
            "subtype": [{
                "system": "https://github.com/fhir-bridge/matrix-appservice/audit",
                "code": self.deed.code(),
            }],
            "action": self.deed.action(),
            "recorded": recorded.as_str(),
            "outcome": self.deed.outcome(),
            "purposeOfEvent": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
                "code": "TREAT",
            }]}],
            "agent": self.agents(),
            "source": {"observer": {"display": "fhir-bridge"}},
        });
        if let Some(reason) = &self.reason {
            json["outcomeDesc"] = json!(reason);
        }
        let entities = self.entities();
        if !entities.is_empty() {
            json["entity"] = json!(entities);
        }
        json
    }

    fn agents(&self) -> Vec<Value> {
        let mut agents = Vec::new();
        if let Some(agent) = &self.agent {
            let mut who = match agent {
                Agent::Fhir(reference) => json!({"reference": reference}),
                Agent::Matrix(user) => {
                    json!({"identifier": {"system": MATRIX_USER_ID_SYSTEM, "value": user}})
                }
            };
            if self.external {
                who["display"] = json!("user of another homeserver");
            }
            agents.push(json!({"who": who, "requestor": true}));
        }
        agents.push(json!({
            "type": {"coding": [{
                "system": "http://dicom.nema.org/resources/ontology/DCM",
                "code": "110150",
                "display": "Application",
            }]},
            "who": {"display": "fhir-bridge"},
            "requestor": self.agent.is_none(),
        }));
        agents
    }

    fn entities(&self) -> Vec<Value> {
        let identified = |system: &str, value: &String| json!({"what": {"identifier": {"system": system, "value": value}}});
        let mut entities = Vec::new();
        if let Some(resource) = &self.resource {
            let mut entity = json!({"what": {"reference": resource}});
            if let Some(hash) = &self.content {
                entity["detail"] = json!([{"type": "keyed-hash", "valueString": hash}]);
            }
            entities.push(entity);
        }
        if let Some(room) = &self.room {
            entities.push(identified(MATRIX_ROOM_ID_SYSTEM, room));
        }
        if let Some(event) = &self.event {
            entities.push(identified(MATRIX_EVENT_ID_SYSTEM, event));
        }
        if let Some(correlation) = &self.correlation {
            entities.push(identified(CORRELATION_SYSTEM, correlation));
        }
        entities
    }
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::{event_id, room_id};

    use super::*;

    #[test]
    fn it_says_who_did_what_to_what_and_how_it_went() {
        let record = Record {
            at: 1_700_000_000_000,
            ..Record::new(Deed::StoredInFhir)
        };
        let record = record
            .by(Some(&ResourceRef::parse("Practitioner/7").unwrap()))
            .by_user("@gp:huisarts.example", true)
            .resource(&ResourceRef::parse("Communication/5").unwrap())
            .room(room_id!("!r:vvt.example"))
            .event(event_id!("$e"));
        let json = record.to_json("a1");
        assert_eq!(json["recorded"], "2023-11-14T22:13:20Z");
        assert_eq!(
            (json["action"].as_str(), json["outcome"].as_str()),
            (Some("C"), Some("0"))
        );
        assert_eq!(json["subtype"][0]["code"], "stored-in-fhir");
        assert_eq!(json["agent"][0]["who"]["reference"], "Practitioner/7");
        assert_eq!(
            json["agent"][0]["who"]["display"],
            "user of another homeserver"
        );
        assert_eq!(json["agent"][0]["requestor"], true);
        assert_eq!(json["agent"][1]["requestor"], false);
        assert_eq!(json["entity"][0]["what"]["reference"], "Communication/5");
        assert_eq!(json["entity"].as_array().unwrap().len(), 3);
        let again: Record = serde_json::from_value(serde_json::to_value(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }

    #[test]
    fn what_was_refused_says_why_and_who_is_unknown_stays_a_matrix_user() {
        let record = Record::new(Deed::Refused)
            .by(None)
            .by_user("@x:bad.example", true)
            .because("homeserver denied");
        let json = record.to_json("a1");
        assert_eq!(
            (json["action"].as_str(), json["outcome"].as_str()),
            (Some("E"), Some("4"))
        );
        assert_eq!(json["outcomeDesc"], "homeserver denied");
        assert_eq!(
            json["agent"][0]["who"]["identifier"]["value"],
            "@x:bad.example"
        );
        // FHIR has no empty lists.
        assert!(json.get("entity").is_none());
        let own = Record::new(Deed::Removed).to_json("a2");
        assert_eq!(own["agent"][0]["requestor"], true);
        assert_eq!(own["agent"].as_array().unwrap().len(), 1);
    }
}
