//! Names and Matrix accounts. All names are invented.

use fhir::{Instant, Person, PersonKind, matrix_user_id};
use serde_json::{Value, json};

use crate::codecs::base;

#[test]
fn matrix_ids_are_read_in_each_form_and_nothing_else_is() {
    let long = format!("@{}:s.example", "a".repeat(243));
    for (text, expected) in [
        ("@a.test:vvt.example", Some("@a.test:vvt.example")),
        (" @a.test:vvt.example\n", Some("@a.test:vvt.example")),
        (
            "@a=2ftest/x+y:vvt.example:8448",
            Some("@a=2ftest/x+y:vvt.example:8448"),
        ),
        ("@A|b:192.0.2.1", Some("@A|b:192.0.2.1")),
        ("@a:[2001:db8::1]", Some("@a:[2001:db8::1]")),
        ("@a:[2001:db8::1]:8448", Some("@a:[2001:db8::1]:8448")),
        ("matrix:u/a.test:vvt.example", Some("@a.test:vvt.example")),
        (
            "MATRIX:u/a.test:vvt.example?action=chat",
            Some("@a.test:vvt.example"),
        ),
        (
            "matrix:user/a.test:vvt.example",
            Some("@a.test:vvt.example"),
        ),
        ("matrix:u/a%2Ftest:vvt.example", Some("@a/test:vvt.example")),
        (
            "https://matrix.to/#/@a.test:vvt.example",
            Some("@a.test:vvt.example"),
        ),
        (
            "https://matrix.to/#/%40a.test%3Avvt.example?via=x.example",
            Some("@a.test:vvt.example"),
        ),
        (&long, Some(long.as_str())),
        ("@a:", None),
        ("@:vvt.example", None),
        ("@a", None),
        ("@", None),
        ("a:vvt.example", None),
        ("@a b:vvt.example", None),
        ("@é:vvt.example", None),
        ("@a:vvt example", None),
        ("@a:vvt_example", None),
        ("@a:vvt.example:", None),
        ("@a:vvt.example:123456", None),
        ("@a:vvt.example:x", None),
        ("@a:[2001:db8::1", None),
        ("@a:[vvt]", None),
        ("@a:[::1]x", None),
        ("@a:vvt.example/x", None),
        ("matrix:r/room:vvt.example", None),
        ("matrix:u/@a:vvt.example", Some("@@a:vvt.example")),
        ("matrix:u/", None),
        ("matrix:", None),
        ("matrix:u/a%FF:vvt.example", None),
        ("https://matrix.to/#/#room:vvt.example", None),
        ("https://matrix.to/@a:vvt.example", None),
        ("https://evil.example/#/@a:vvt.example", None),
        ("sip:a@vvt.example", None),
        ("mailto:a@vvt.example", None),
        ("0612345678", None),
        ("", None),
        ("é", None),
    ] {
        assert_eq!(matrix_user_id(text).as_deref(), expected, "{text}");
    }
    assert_eq!(
        matrix_user_id(&format!("@{}:s.example", "a".repeat(250))),
        None
    );
}

fn person(extra: &Value) -> Person {
    let mut json = json!({"resourceType": "Practitioner", "id": "9"});
    json.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    Person::from_json(&json, &base()).unwrap()
}

fn ids(telecom: &Value) -> Vec<String> {
    let now = Instant::parse("2026-11-21T10:00:00Z").unwrap();
    person(&json!({"telecom": telecom}))
        .matrix_ids(&now)
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_accounts_meant_for_messaging_come_first_then_by_rank() {
    let purpose = |value: &str| json!([{"url": "http://hl7.org/fhir/StructureDefinition/contactpoint-purpose", "valueString": value}]);
    assert_eq!(
        ids(&json!([
            {"system": "phone", "value": "0612345678"},
            {"system": "other", "value": "@plain:a.example"},
            {"system": "url", "value": "https://matrix.to/#/@link:a.example", "rank": 1},
            {"system": "url", "value": "https://a.example/homepage"},
            {"system": "other", "value": "@marked:a.example", "extension": purpose("matrix-messaging")},
            {"system": "other", "value": "matrix.a.example", "extension": purpose("matrix-homeserver")},
            {"system": "other", "value": "@marked:a.example", "extension": purpose("matrix-messaging")},
            {"system": "email", "value": "@email:a.example"},
            {"value": "@nosystem:a.example"},
            null, 7, {"system": "other"},
        ])),
        ["@marked:a.example", "@link:a.example", "@plain:a.example"]
    );
}

#[test]
fn accounts_of_the_past_and_the_future_are_not_used() {
    assert_eq!(
        ids(&json!([
            {"system": "other", "value": "@old:a.example", "use": "old"},
            {"system": "other", "value": "@ended:a.example", "period": {"end": "2026-11-20"}},
            {"system": "other", "value": "@lasts:a.example", "period": {"end": "2026-11-21"}},
            {"system": "other", "value": "@begins:a.example", "period": {"start": "2026-12-01"}},
        ])),
        ["@lasts:a.example"]
    );
}

#[test]
fn names_are_put_together() {
    for (name, expected) in [
        (json!([{"text": " Anna  de\nTest "}]), Some("Anna de Test")),
        (
            json!([{"prefix": ["dr."], "given": ["Anna", null, "B."], "family": "de Test", "suffix": ["MSc"]}]),
            Some("dr. Anna B. de Test MSc"),
        ),
        (
            json!([{"use": "old", "text": "Old"}, {"use": "official", "text": "Official"}, {"use": "usual", "text": "Usual"}]),
            Some("Usual"),
        ),
        (
            json!([{"use": "maiden", "text": "Maiden"}, {"text": "Plain"}]),
            Some("Plain"),
        ),
        (
            json!([{"use": "usual"}, {"use": "old", "family": "Old"}]),
            Some("Old"),
        ),
        (json!({"family": "Single"}), Some("Single")),
        (json!(["A text"]), Some("A text")),
        (json!([{"given": "Anna"}]), Some("Anna")),
        (json!([{}]), None),
        (json!([]), None),
        (json!(7), None),
    ] {
        assert_eq!(
            person(&json!({"name": name})).display_name.as_deref(),
            expected,
            "{name}"
        );
    }
}

#[test]
fn each_kind_of_person_is_read() {
    let read = |json: Value| Person::from_json(&json, &base()).unwrap();
    let role = read(
        json!({"resourceType": "PractitionerRole", "id": "1", "active": false,
        "practitioner": {"reference": "Practitioner/9"}, "organization": {"reference": "Organization/o"},
        "telecom": [{"system": "other", "value": "@role:a.example"}]}),
    );
    assert_eq!(
        (role.kind, role.active, role.display_name),
        (PersonKind::PractitionerRole, false, None)
    );
    assert_eq!(role.practitioner.unwrap().to_string(), "Practitioner/9");
    assert_eq!(role.organization.unwrap().resource().unwrap().id(), "o");
    assert_eq!(role.matrix_accounts.len(), 1);

    let organization = read(
        json!({"resourceType": "Organization", "id": "o", "name": "Test Care", "practitioner": {"reference": "Practitioner/9"}}),
    );
    assert_eq!(organization.display_name.as_deref(), Some("Test Care"));
    assert_eq!(
        (organization.active, organization.practitioner),
        (true, None)
    );
    let organization = read(json!({"resourceType": "Organization", "id": "o", "alias": ["TC"]}));
    assert_eq!(organization.display_name.as_deref(), Some("TC"));

    for (name, kind) in [
        ("Patient", PersonKind::Patient),
        ("RelatedPerson", PersonKind::RelatedPerson),
    ] {
        let person = read(
            json!({"resourceType": name, "id": "1", "name": [{"text": "A"}], "identifier": [{"system": "urn:x", "value": "1"}]}),
        );
        assert_eq!((person.kind, person.identifiers.len()), (kind, 1));
    }
    assert!(Person::from_json(&json!({"resourceType": "Device", "id": "1"}), &base()).is_err());
}
