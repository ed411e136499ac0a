//! What is read of each resource, and what is written. All names are invented.

use fhir::{
    BaseUrl, CareTeam, CareTeamStatus, Communication, CommunicationRequest, EventStatus,
    Identifier, Instant, InvalidMessage, NewCommunication, NewPayload, OtherRef, Payload, Ref,
    RequestStatus, ResourceRef, ResourceType, Sender, Text, with_event_identifier,
};
use serde_json::{Value, json};

use crate::writing::message;

pub(crate) fn base() -> BaseUrl {
    BaseUrl::parse("https://fhir.example.org/r4").unwrap()
}

fn reference(text: &str) -> ResourceRef {
    ResourceRef::parse(text).unwrap()
}

#[test]
fn references_to_this_server_are_told_from_others() {
    for (text, expected) in [
        ("Patient/p1", Some("Patient/p1")),
        ("Patient/p1/_history/3", Some("Patient/p1")),
        ("https://fhir.example.org/r4/Patient/p1", Some("Patient/p1")),
        (
            "https://fhir.example.org/r4/Patient/p1/_history/3",
            Some("Patient/p1"),
        ),
        ("Basic/A-b.9", Some("Basic/A-b.9")),
        ("https://fhir.example.org/Patient/p1", None),
        ("https://fhir.example.org/r4x/Patient/p1", None),
        ("http://fhir.example.org/r4/Patient/p1", None),
        ("https://evil.example/r4/Patient/p1", None),
        ("#contained", None),
        ("urn:uuid:7d4a7f4c-0000-4000-8000-000000000000", None),
        ("Patient?identifier=urn:x|1", None),
        ("/Patient/p1", None),
        ("patient/p1", None),
        ("Patient/..", None),
        ("Patient/a b", None),
        ("Patient/", None),
        ("Patient", None),
        ("Patient/p1/_history", None),
        ("Patient/p1/$everything", None),
    ] {
        let read = Ref::from_json(&json!({"reference": text}), &base()).unwrap();
        assert_eq!(
            read.resource().map(ToString::to_string).as_deref(),
            expected,
            "{text}"
        );
    }
    let logical = Ref::from_json(
        &json!({"identifier": {"system": "urn:x", "value": "1"}, "display": "A. Test"}),
        &base(),
    );
    let Some(Ref::Other(OtherRef {
        reference: None,
        identifier: Some(identifier),
        display: Some(display),
    })) = logical
    else {
        panic!("not a logical reference");
    };
    assert_eq!(
        (
            identifier.system.as_deref(),
            identifier.value.as_str(),
            display.as_str()
        ),
        (Some("urn:x"), "1", "A. Test")
    );
    for nothing in [
        json!({}),
        json!("Patient/1"),
        json!(null),
        json!({"reference": ""}),
        json!({"identifier": {"system": "x"}}),
    ] {
        assert_eq!(Ref::from_json(&nothing, &base()), None);
    }
    assert_eq!(
        ResourceRef::try_new(ResourceType::Patient, &"x".repeat(65)),
        None
    );
    assert_eq!(ResourceType::parse("Basic").unwrap().as_str(), "Basic");
    assert_eq!(ResourceType::parse("Care Team"), None);
}

#[test]
fn times_are_compared_by_what_they_name_and_written_as_they_came() {
    let at = |text: &str| Instant::parse(text).unwrap();
    assert_eq!(
        at("2026-11-21T10:00:00.000+01:00"),
        at("2026-11-21T09:00:00Z")
    );
    assert!(at("2026-11-21T10:00:00.001Z") > at("2026-11-21T10:00:00Z"));
    assert_eq!(
        at("2026-11-21T10:00:00.100+01:00").as_str(),
        "2026-11-21T10:00:00.100+01:00"
    );
    assert_eq!(at("1970-01-01T00:00:01.5Z").unix_millis(), 1500);
    assert_eq!(at("1969-01-01T00:00:00Z").unix_millis(), 0);
    assert_eq!(
        Instant::from_unix_millis(1_795_255_200_123)
            .unwrap()
            .as_str(),
        "2026-11-21T10:00:00.123Z"
    );
    assert_eq!(Instant::from_unix_millis(u64::MAX), None);
    assert_eq!(
        at("2026-11-21T10:00:00+01:00")
            .earlier_by(std::time::Duration::from_secs(1))
            .as_str(),
        "2026-11-21T08:59:59Z"
    );
    assert_eq!(
        at("2026-11-21T10:00:00Z")
            .earlier_by(std::time::Duration::MAX)
            .as_str(),
        "2026-11-21T10:00:00Z"
    );
    for not_one in [
        "",
        "2026-11-21",
        "2026",
        "10:00",
        "2026-11-21T10:00:00",
        "yesterday",
    ] {
        assert_eq!(Instant::parse(not_one), None, "{not_one}");
    }
    for (text, end) in [
        ("2026-11-21", "2026-11-21T23:59:59.999Z"),
        ("2028-02", "2028-02-29T23:59:59.999Z"),
        ("2026", "2026-12-31T23:59:59.999Z"),
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
    ] {
        assert_eq!(Instant::parse_period_end(text).unwrap(), at(end), "{text}");
    }
    assert_eq!(
        Instant::parse_period_start("2026").unwrap(),
        at("2026-01-01T00:00:00Z")
    );
    for not_one in [
        "26",
        "2026-13",
        "2026-02-30",
        "2026-11-21-01",
        "2026-1-1",
        "+026",
        "2026-é1",
    ] {
        assert_eq!(Instant::parse_period_end(not_one), None, "{not_one}");
    }
}

#[test]
fn a_care_team_is_read() {
    let team = CareTeam::from_json(
        &json!({
            "resourceType": "CareTeam", "id": "7", "meta": {"versionId": "2"}, "status": "active",
            "subject": {"reference": "Patient/p"},
            "participant": [
                {"member": {"reference": "Practitioner/a"}, "role": [{"coding": [{"system": "http://snomed.info/sct", "code": "224535009"}]}, {"text": "lead"}],
                 "period": {"start": "2026-01-01", "end": "2026-06-30"}},
                {"role": [{"text": "no member"}]}, null, 7,
                {"member": {"reference": "RelatedPerson/b"}},
            ],
            "managingOrganization": [{"reference": "Organization/o"}],
            "contained": "not a list",
        }),
        &base(),
    )
    .unwrap();
    assert_eq!(team.reference, reference("CareTeam/7"));
    assert_eq!(team.version_id.as_deref(), Some("2"));
    assert_eq!(team.status, CareTeamStatus::Active);
    assert_eq!(
        team.subject.unwrap().resource(),
        Some(&reference("Patient/p"))
    );
    assert_eq!(
        team.managing_organizations[0].resource(),
        Some(&reference("Organization/o"))
    );
    let [nurse, daughter] = &team.participants[..] else {
        panic!("two members")
    };
    assert_eq!(nurse.roles[0].code.as_deref(), Some("224535009"));
    assert_eq!(nurse.roles[1].display.as_deref(), Some("lead"));
    let at = |text: &str| Instant::parse(text).unwrap();
    assert!(nurse.is_current(&at("2026-06-30T20:00:00Z")));
    assert!(!nurse.is_current(&at("2026-07-01T00:00:00Z")));
    assert!(!nurse.is_current(&at("2025-12-31T23:59:59Z")));
    assert!(daughter.is_current(&at("2026-07-01T00:00:00Z")) && daughter.roles.is_empty());
}

#[test]
fn a_resource_of_another_type_or_without_id_is_odd() {
    for json in [
        json!({}),
        json!(null),
        json!({"resourceType": "CareTeam"}),
        json!({"resourceType": "Patient", "id": "1"}),
        json!({"resourceType": "CareTeam", "id": 7}),
    ] {
        let odd = CareTeam::from_json(&json, &base()).unwrap_err();
        assert!(
            odd.to_string().starts_with("the CareTeam can't be read: "),
            "{odd}"
        );
    }
}

fn thread(extra: &Value) -> CommunicationRequest {
    let mut json = json!({"resourceType": "CommunicationRequest", "id": "1", "status": "active"});
    json.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    CommunicationRequest::from_json(&json, &base()).unwrap()
}

#[test]
fn a_conversation_is_read() {
    let thread = thread(&json!({
        "subject": {"reference": "Patient/p"}, "requester": {"reference": "Practitioner/a"}, "sender": {"reference": "Practitioner/b"},
        "recipient": [{"reference": "Practitioner/a"}, {"reference": "CareTeam/7"}, {"display": "someone"}],
        "reasonCode": [{"coding": [{"code": "x"}]}, {"text": "Medication"}],
        "payload": [{"contentString": "First"}], "authoredOn": "2026-11-21T10:00:00Z",
    }));
    assert_eq!(thread.status, RequestStatus::Active);
    assert_eq!(
        thread.requester.unwrap().resource(),
        Some(&reference("Practitioner/a"))
    );
    assert_eq!(
        thread.sender.unwrap().resource(),
        Some(&reference("Practitioner/b"))
    );
    assert_eq!(thread.recipients.len(), 3);
    assert_eq!(thread.reason_text.as_deref(), Some("Medication"));
    assert!(matches!(&thread.payload[..], [Payload::Text(text)] if text.text == "First"));
    assert!(thread.authored_on.is_some());
}

#[test]
fn the_care_team_of_a_conversation_is_found_where_applications_put_it() {
    let team = |id: &str| json!([{"reference": format!("CareTeam/{id}")}]);
    let extension = json!([{"url": "http://ozoverbindzorg.nl/fhir/StructureDefinition/ozo-sender-careteam", "valueReference": {"reference": "CareTeam/ext"}}]);
    for (extra, expected) in [
        (
            json!({"recipient": team("r"), "basedOn": team("b"), "about": team("a"), "extension": extension}),
            Some("r"),
        ),
        (
            json!({"basedOn": team("b"), "about": team("a"), "extension": extension}),
            Some("b"),
        ),
        (
            json!({"about": team("a"), "extension": extension}),
            Some("a"),
        ),
        (
            json!({"recipient": [{"reference": "Practitioner/x"}], "extension": extension}),
            Some("ext"),
        ),
        (
            json!({"recipient": [{"reference": "https://else.example/CareTeam/x"}]}),
            None,
        ),
        (json!({}), None),
    ] {
        assert_eq!(
            thread(&extra).care_teams.first().map(ResourceRef::id),
            expected,
            "{extra}"
        );
    }
    let both = thread(&json!({"recipient": team("r"), "about": team("r"), "extension": extension}));
    assert_eq!(
        both.care_teams,
        [reference("CareTeam/r"), reference("CareTeam/ext")]
    );
}

#[test]
fn a_message_is_read() {
    let message = Communication::from_json(
        &json!({
            "resourceType": "Communication", "id": "m", "meta": {"versionId": "1", "lastUpdated": "2026-11-21T10:00:00Z"},
            "status": "completed",
            "identifier": [{"system": "https://matrix.org/event-id", "value": "$a"}, {"value": "x"}, {"system": "y"}],
            "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/communication-source-system", "valueString": "matrix"}],
            "partOf": [{"reference": "Communication/0"}, {"reference": "CommunicationRequest/1"}],
            "inResponseTo": [{"reference": "Communication/l"}],
            "subject": {"reference": "Patient/p"}, "sender": {"reference": "RelatedPerson/b"},
            "recipient": [{"reference": "Practitioner/a"}], "sent": "2026-11-21T09:59:59+00:00",
            "payload": [
                {"contentString": "Text"},
                {"contentAttachment": {"contentType": "image/png", "url": "Binary/1", "title": "x.png", "size": 12}},
                {"contentReference": {"reference": "DocumentReference/1"}},
                {"contentCodeableConcept": {"text": "R5"}}, {"contentString": " "}, 7,
            ],
        }),
        &base(),
    )
    .unwrap();
    assert_eq!(message.status, EventStatus::Completed);
    assert_eq!(
        message.part_of_a(&ResourceType::CommunicationRequest),
        Some(&reference("CommunicationRequest/1"))
    );
    assert_eq!(
        message.in_response_to[0].resource(),
        Some(&reference("Communication/l"))
    );
    assert_eq!(message.event_ids().collect::<Vec<_>>(), ["$a"]);
    assert_eq!(message.identifiers.len(), 2);
    assert!(message.is_from_matrix());
    assert_eq!(message.sent.unwrap().unix_millis(), 1_795_255_199_000);
    assert_eq!(
        format!("{:?}", message.payload),
        "[Text, Attachment, Reference, Other, Other, Other]"
    );
    let Payload::Attachment(file) = &message.payload[1] else {
        panic!("a file")
    };
    assert_eq!(
        (
            file.content_type.as_deref(),
            file.size,
            file.data.as_deref()
        ),
        (Some("image/png"), Some(12), None)
    );
}

#[test]
fn a_header_has_what_a_conversation_needs() {
    let json = json!({
        "resourceType": "Communication", "id": "h", "status": "in-progress",
        "topic": {"coding": [{"code": "1"}], "text": "Medication"},
        "recipient": [{"reference": "Practitioner/a"}, {"reference": "CareTeam/r"}],
        "basedOn": [{"reference": "CareTeam/b"}, {"reference": "CareTeam/r"}],
        "about": [{"reference": "CareTeam/a"}],
    });
    assert!(Communication::is_header(&json));
    let header = Communication::from_json(&json, &base()).unwrap();
    assert_eq!(header.status, EventStatus::InProgress);
    assert_eq!(header.topic_text.as_deref(), Some("Medication"));
    let teams: Vec<&str> = header.care_teams.iter().map(ResourceRef::id).collect();
    assert_eq!(teams, ["r", "b", "a"]);
    for (key, value) in [
        ("payload", json!([{"contentString": "x"}])),
        ("partOf", json!([{"reference": "Communication/h0"}])),
    ] {
        let mut json = json.clone();
        json[key] = value;
        assert!(!Communication::is_header(&json), "{key}");
    }
}

#[test]
fn a_message_whose_other_elements_are_wrong_is_read_all_the_same() {
    let message = Communication::from_json(
        &json!({
            "resourceType": "Communication", "id": "m", "status": "sent", "priority": "no such code", "sent": "2026",
            "partOf": {"reference": "CommunicationRequest/1"}, "payload": {"contentString": "Text"}, "recipient": 7,
            "meta": {"lastUpdated": 5, "versionId": 1},
        }),
        &base(),
    )
    .unwrap();
    assert_eq!(message.status, EventStatus::Unrecognized);
    assert_eq!(
        message.part_of_a(&ResourceType::CommunicationRequest),
        Some(&reference("CommunicationRequest/1"))
    );
    assert_eq!(message.payload, [Payload::Text("Text".into())]);
    assert_eq!((message.sent, message.version_id), (None, None));
    assert!(!message.identifiers.iter().any(|_| true) && message.source_system.is_none());
}

#[test]
fn a_new_message_has_all_that_is_asked_of_it_and_reads_back() {
    let new = NewCommunication {
        in_response_to: Some(reference("Communication/l")),
        subject: Some(reference("Patient/p").into()),
        sender: Sender::MatrixUser {
            user_id: "@a.test:huisarts.example".into(),
            display: Some("A.\u{7}Test".into()),
        },
        recipients: vec![
            reference("Practitioner/9").into(),
            reference("RelatedPerson/8").into(),
        ],
        payload: vec![
            NewPayload::Text(Text {
                xhtml: Some("<div><b>line 1</b></div>".into()),
                ..Text::plain("line 1\r\n\tline 2 \u{1F600}\u{200B}\u{202E}\u{85}")
            }),
            NewPayload::Attachment(fhir::Attachment {
                content_type: Some("text/plain".into()),
                url: Some("Binary/b".into()),
                size: Some(5),
                ..fhir::Attachment::default()
            }),
        ],
        ..message()
    };
    let json = new.to_json().unwrap();
    assert_eq!(
        json,
        json!({
            "resourceType": "Communication",
            "status": "completed",
            "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/communication-source-system", "valueString": "matrix"}],
            "identifier": [
                {"system": "https://matrix.org/event-id", "value": "$event"},
                {"system": fhir::EVENT_KEY_SYSTEM, "value": "940ffb8fc9eedd9c606a71df9cf9f467e5d3c1e94d1874613e496ae5b6d8c752"},
            ],
            "partOf": [{"reference": "CommunicationRequest/1", "type": "CommunicationRequest"}],
            "inResponseTo": [{"reference": "Communication/l", "type": "Communication"}],
            "subject": {"reference": "Patient/p", "type": "Patient"},
            "sender": {"identifier": {"system": "https://matrix.org/user-id", "value": "@a.test:huisarts.example"}, "display": "A.\u{FFFD}Test"},
            "recipient": [{"reference": "Practitioner/9", "type": "Practitioner"}, {"reference": "RelatedPerson/8", "type": "RelatedPerson"}],
            "sent": "2026-11-21T10:00:00.123Z",
            "payload": [
                {
                    "contentString": "line 1\r\n\tline 2 \u{1F600}\u{200B}\u{202E}\u{85}",
                    "_contentString": {"extension": [
                        {"url": "http://hl7.org/fhir/StructureDefinition/rendering-xhtml", "valueString": "<div><b>line 1</b></div>"},
                    ]},
                },
                {"contentAttachment": {"contentType": "text/plain", "url": "Binary/b", "size": 5}},
            ],
        })
    );
}

#[test]
fn a_new_message_reads_back() {
    let mut json = message().to_json().unwrap();
    json["id"] = "m".into();
    let read = Communication::from_json(&json, &base()).unwrap();
    assert_eq!(read.status, EventStatus::Completed);
    assert_eq!(
        read.part_of_a(&ResourceType::CommunicationRequest),
        message().part_of.as_ref()
    );
    assert_eq!(read.payload, [Payload::Text("Hello".into())]);
    assert_eq!(read.sent, Some(message().sent));
    assert_eq!(read.event_ids().collect::<Vec<_>>(), ["$event"]);
    assert!(read.is_from_matrix());

    let flat = NewCommunication {
        part_of: None,
        ..message()
    };
    assert_eq!(flat.to_json().unwrap().get("partOf"), None);
}

#[test]
fn what_fhir_cannot_hold_is_refused() {
    for (text, why) in [
        (String::new(), InvalidMessage::NoText),
        (" \n\u{0}\u{A0}".into(), InvalidMessage::NoText),
        ("a\u{0}".into(), InvalidMessage::ControlCharacter),
        ("a\u{B}".into(), InvalidMessage::ControlCharacter),
        ("a\u{FFFF}".into(), InvalidMessage::ControlCharacter),
        ("x".repeat(1024 * 1024 + 1), InvalidMessage::TooLong),
    ] {
        let payload = vec![NewPayload::Text(text.into())];
        assert_eq!(
            NewCommunication {
                payload,
                ..message()
            }
            .to_json(),
            Err(why)
        );
    }
    assert!(
        NewCommunication {
            payload: vec![NewPayload::Text("é".repeat(1024 * 1024).into())],
            ..message()
        }
        .to_json()
        .is_ok()
    );
    for event_id in ["", "a b", "$a\n"] {
        assert_eq!(
            NewCommunication {
                event_id: event_id.into(),
                ..message()
            }
            .to_json(),
            Err(InvalidMessage::NoId)
        );
        assert_eq!(
            with_event_identifier(&mut json!({}), event_id),
            Err(InvalidMessage::NoId)
        );
    }
    let sender = Sender::MatrixUser {
        user_id: String::new(),
        display: None,
    };
    assert_eq!(
        NewCommunication {
            sender,
            ..message()
        }
        .to_json(),
        Err(InvalidMessage::NoId)
    );
}

#[test]
fn event_identifiers_are_added_once_and_nothing_else_is_touched() {
    for before in [
        json!({"x": 1}),
        json!({"identifier": null}),
        json!({"identifier": [{"system": "urn:x", "value": "1"}]}),
        json!({"identifier": {"system": "urn:x", "value": "1"}}),
        json!({"identifier": [{"system": "https://matrix.org/event-id", "value": "$a"}]}),
    ] {
        let mut json = before.clone();
        assert_eq!(with_event_identifier(&mut json, "$a"), Ok(true));
        let once = json.clone();
        assert_eq!(with_event_identifier(&mut json, "$a"), Ok(false));
        assert_eq!(json, once);
        assert_eq!(json["x"], before["x"]);
        let count = |json: &Value| json["identifier"].as_array().unwrap().len();
        assert_eq!(with_event_identifier(&mut json, "$b"), Ok(true));
        assert_eq!(count(&json), count(&once) + 2);
    }
    assert_eq!(with_event_identifier(&mut json!([]), "$a"), Ok(false));
}

#[test]
fn an_identifier_without_system_is_kept() {
    let json = json!({"resourceType": "Communication", "id": "m", "identifier": [{"value": "x"}]});
    let read = Communication::from_json(&json, &base()).unwrap();
    assert_eq!(
        read.identifiers,
        [Identifier {
            system: None,
            value: "x".into()
        }]
    );
}
