//! How conversations stand in a record: which resources are some, what they say, which messages are theirs, and how one
//! that began in Matrix is written.
//!
//! What differs between the forms ([`Threads`]) is here; everywhere else, a conversation is a [`Thread`]. Two of them are
//! resources, which name who takes part, whom it is about, its care team and how open it is, and whose messages are
//! `partOf` them; the third (`flat`) is what is written to a care team.

mod flat;

use fhir::{
    BaseUrl, CareTeam, Communication, CommunicationRequest, Instant, NewThread, Odd, Payload, Ref,
    ResourceRef, ResourceType,
};
use serde_json::Value;

use super::phase::Phase;
use crate::config::Threads;

/// A conversation, in whatever form it stands in the record.
#[derive(Clone, PartialEq)]
pub struct Thread {
    /// The resource; of one that has none, what stands for it.
    pub reference: ResourceRef,
    /// How open it is; `None` when its status says nothing.
    pub phase: Option<Phase>,
    /// The client it is about.
    pub subject: Option<Ref>,
    /// Everybody who takes part, the one who began it in front. Some may be named twice.
    pub participants: Vec<Ref>,
    /// The care teams it belongs to, the one whose space holds its room in front.
    pub care_teams: Vec<ResourceRef>,
    /// Its subject line.
    pub subject_line: Option<String>,
    /// Its first message, where it holds one itself: by the one who began it.
    pub payload: Vec<Payload>,
    /// Who began it.
    pub author: Option<Ref>,
    /// When it began.
    pub began: Option<Instant>,
    /// The room that it began as, where people made that one: its id, as the record has it.
    pub began_as: Option<String>,
}

impl Thread {
    /// The care team whose space holds its room.
    #[must_use]
    pub fn care_team(&self) -> Option<&ResourceRef> {
        self.care_teams.first()
    }
}

impl Threads {
    /// The type that references to conversations have: of resources or, where they have none, our own word.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::CommunicationRequest => "CommunicationRequest",
            Self::CommunicationHeader => "Communication",
            Self::Flat => flat::TYPE,
        }
    }

    /// Whether a reference may be a conversation's, as far as it tells. One that has a room, and is no care team's, is.
    #[must_use]
    pub fn is_of(self, reference: &ResourceRef) -> bool {
        reference.resource_type().as_str() == self.type_name()
    }

    /// The resource that says what a conversation is: itself or, where it has none of its own, its care team. Of anything
    /// else, that itself.
    #[must_use]
    pub fn source(self, reference: &ResourceRef) -> ResourceRef {
        match self {
            Self::Flat => flat::team_of(reference),
            _ => None,
        }
        .unwrap_or_else(|| reference.clone())
    }

    /// The conversation that there is because there is this care team.
    #[must_use]
    pub fn of_team(self, team: &ResourceRef) -> Option<ResourceRef> {
        match self {
            Self::Flat => flat::of_team(team),
            _ => None,
        }
    }

    /// Whether a [source](Self::source) of that type is a conversation, as far as it tells itself.
    #[must_use]
    pub fn recognises(self, json: &Value) -> bool {
        match self {
            Self::CommunicationRequest | Self::Flat => true,
            Self::CommunicationHeader => Communication::is_header(json),
        }
    }

    /// Whether conversations say themselves who takes part, so that whoever comes and goes can be noted there.
    #[must_use]
    pub fn name_people(self) -> bool {
        self != Self::Flat
    }

    /// The conversation that a message says it belongs to. There may be none of that name.
    #[must_use]
    pub fn of_message(self, message: &Communication) -> Option<ResourceRef> {
        match self {
            Self::CommunicationRequest => message.part_of_a(&ResourceType::CommunicationRequest),
            Self::CommunicationHeader => message.part_of_a(&ResourceType::Communication),
            Self::Flat => return flat::of_message(message),
        }
        .cloned()
    }

    /// What a message of a conversation is `partOf`. Where it is nothing, its recipients say whose it is.
    #[must_use]
    pub fn part_of(self, conversation: &ResourceRef) -> Option<ResourceRef> {
        (self != Self::Flat).then(|| conversation.clone())
    }

    /// By which parameter a conversation's messages are searched for, and its value. What is found may belong to another
    /// one: [`Threads::of_message`] has the last word.
    #[must_use]
    pub fn messages_of(self, conversation: &ResourceRef) -> (&'static str, String) {
        let name = match self {
            Self::CommunicationRequest | Self::CommunicationHeader => "part-of",
            Self::Flat => "recipient",
        };
        (name, self.source(conversation).to_string())
    }

    /// Reads a conversation from its [source](Self::source).
    ///
    /// # Errors
    ///
    /// When it is another type of resource or has no id.
    pub fn read(self, json: &Value, base: &BaseUrl) -> Result<Thread, Odd> {
        Ok(match self {
            Self::CommunicationRequest => of_request(CommunicationRequest::from_json(json, base)?),
            Self::CommunicationHeader => of_header(Communication::from_json(json, base)?),
            Self::Flat => flat::of(CareTeam::from_json(json, base)?)?,
        })
    }

    /// The resource to create for a conversation that began in Matrix; `None` where none can begin there.
    #[must_use]
    pub fn write(self, new: &NewThread) -> Option<Value> {
        match self {
            Self::CommunicationRequest => Some(new.to_request()),
            Self::CommunicationHeader => Some(new.to_header()),
            Self::Flat => None,
        }
    }
}

fn of_request(request: CommunicationRequest) -> Thread {
    let began_by = request.requester.iter().chain(&request.sender);
    Thread {
        began_as: fhir::room_of_thread(&request.identifiers).map(str::to_owned),
        phase: Phase::of_request(request.status),
        participants: began_by.chain(&request.recipients).cloned().collect(),
        author: request.requester.or(request.sender),
        reference: request.reference,
        subject: request.subject,
        care_teams: request.care_teams,
        subject_line: request.reason_text,
        payload: request.payload,
        began: request.authored_on,
    }
}

/// What a header answers (`inResponseTo`) says nothing to a room: of whatever it is, the answer is another conversation.
fn of_header(header: Communication) -> Thread {
    Thread {
        began_as: fhir::room_of_thread(&header.identifiers).map(str::to_owned),
        phase: Phase::of_header(header.status),
        participants: (header.sender.iter().chain(&header.recipients))
            .cloned()
            .collect(),
        author: header.sender,
        reference: header.reference,
        subject: header.subject,
        care_teams: header.care_teams,
        subject_line: header.topic_text,
        // It has none. Should somebody put one there when it has a room, that's no message.
        payload: Vec::new(),
        began: header.sent,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REQUESTS: Threads = Threads::CommunicationRequest;
    const HEADERS: Threads = Threads::CommunicationHeader;

    fn base() -> BaseUrl {
        BaseUrl::parse("http://fhir.example/fhir").unwrap()
    }

    fn reference(text: &str) -> ResourceRef {
        ResourceRef::parse(text).unwrap()
    }

    fn header() -> Value {
        json!({
            "resourceType": "Communication", "id": "7", "status": "in-progress",
            "subject": {"reference": "Patient/1"}, "topic": {"text": "Medication"},
            "sender": {"reference": "Practitioner/2"},
            "recipient": [{"reference": "Practitioner/2"}, {"reference": "CareTeam/3"}],
            "inResponseTo": [{"reference": "Communication/6"}], "sent": "2026-11-21T10:00:00Z",
        })
    }

    #[test]
    fn both_forms_say_the_same() {
        let request = json!({
            "resourceType": "CommunicationRequest", "id": "7", "status": "active",
            "subject": {"reference": "Patient/1"}, "reasonCode": [{"text": "Medication"}],
            "requester": {"reference": "Practitioner/2"},
            "recipient": [{"reference": "Practitioner/2"}, {"reference": "CareTeam/3"}],
            "authoredOn": "2026-11-21T10:00:00Z",
        });
        let request = REQUESTS.read(&request, &base()).unwrap();
        let header = HEADERS.read(&header(), &base()).unwrap();
        assert_eq!(request.reference, reference("CommunicationRequest/7"));
        assert_eq!(header.reference, reference("Communication/7"));
        assert_eq!(header.phase, Some(Phase::Open));
        assert_eq!(header.care_team(), Some(&reference("CareTeam/3")));
        assert_eq!(header.author, Some(reference("Practitioner/2").into()));
        assert_eq!(header.subject_line.as_deref(), Some("Medication"));
        assert_eq!(header.participants.len(), 3);
        assert!(header.began.is_some() && header.subject.is_some());
        let same = Thread {
            reference: request.reference.clone(),
            ..header
        };
        assert!(same == request, "all else is the same");
    }

    #[test]
    fn a_header_says_nothing_and_is_part_of_nothing() {
        for (key, value, is_header) in [
            ("note", json!([{"text": "x"}]), true),
            ("payload", json!([]), true),
            ("partOf", json!([]), true),
            ("payload", json!([{"contentString": "x"}]), false),
            ("payload", json!({"contentString": "x"}), false),
            ("partOf", json!([{"reference": "Communication/1"}]), false),
            ("partOf", json!([{"display": "on paper"}]), false),
        ] {
            let mut json = header();
            json[key] = value;
            assert_eq!(HEADERS.recognises(&json), is_header, "{json}");
        }
        assert!(HEADERS.is_of(&reference("Communication/7")));
        assert!(!HEADERS.is_of(&reference("CommunicationRequest/7")));
        assert!(!REQUESTS.is_of(&reference("Communication/7")));
        assert!(REQUESTS.recognises(&json!({"payload": [{"contentString": "x"}]})));
    }

    #[test]
    fn each_form_has_its_own_messages() {
        let of = |threads: Threads, part_of: Value| {
            let json = json!({"resourceType": "Communication", "id": "1", "partOf": part_of});
            let message = Communication::from_json(&json, &base()).unwrap();
            threads.of_message(&message).map(|one| one.to_string())
        };
        let request = json!({"reference": "CommunicationRequest/7"});
        let header = json!({"reference": "Communication/8"});
        let both = json!([request, header]);
        assert_eq!(
            of(REQUESTS, both.clone()).as_deref(),
            Some("CommunicationRequest/7")
        );
        assert_eq!(of(HEADERS, both).as_deref(), Some("Communication/8"));
        assert_eq!(of(REQUESTS, json!([header])), None);
        assert_eq!(of(HEADERS, json!([request])), None);
    }

    #[test]
    fn what_began_in_matrix_is_read_back_in_either_form() {
        let new = NewThread {
            room_id: "!room:vvt".to_owned(),
            care_team: reference("CareTeam/1"),
            subject: Some(reference("Patient/2").into()),
            requester: reference("Practitioner/3"),
            recipients: vec![reference("Practitioner/4")],
            authored_on: Instant::parse("2026-11-21T10:00:00Z").unwrap(),
        };
        for threads in [REQUESTS, HEADERS] {
            let mut json = threads.write(&new).unwrap();
            json["id"] = "9".into();
            assert!(threads.recognises(&json));
            let read = threads.read(&json, &base()).unwrap();
            assert!(threads.is_of(&read.reference));
            assert_eq!(read.phase, Some(Phase::Open));
            assert_eq!(read.care_team(), Some(&new.care_team));
            assert_eq!(read.author, Some(new.requester.clone().into()));
            assert_eq!(read.subject, new.subject);
            assert_eq!(read.began, Some(new.authored_on.clone()));
            assert_eq!(read.began_as.as_ref(), Some(&new.room_id));
            let last = read.participants.last().cloned();
            assert_eq!(last, Some(Ref::from(new.recipients[0].clone())));
        }
    }
}
