//! What an invitation tells those elsewhere: which client it is about, by a pseudonym.

use serde_json::{Value, json};

/// The key in the content of the invitation's `m.room.member`.
pub const CONTEXT: &str = "nl-ta-chat.invite.context";
/// The system of the pseudonyms that stand for a BSN.
pub const PSEUDO_BSN: &str = "http://fhir.nl/fhir/NamingSystem/pseudo-bsn";
/// The version of the context that is written and read.
const VERSION: &str = "1.0";

/// The context for a client, from the `Patient` as JSON. `None` when it has no pseudonym: then nothing is told. No
/// other identifier is ever taken, whatever the resource holds.
#[must_use]
pub fn context(patient: &Value) -> Option<Value> {
    let value = patient
        .get("identifier")?
        .as_array()?
        .iter()
        .filter(|identifier| identifier.get("system").and_then(Value::as_str) == Some(PSEUDO_BSN))
        .find_map(|identifier| identifier.get("value")?.as_str())?;
    Some(json!({
        "version": VERSION,
        "room.subject": {
            "resourceType": "Patient",
            "identifier": [{"system": PSEUDO_BSN, "value": value}],
        },
    }))
}

/// The pseudonym in the content of an invitation; `None` when there is none that can be read.
#[must_use]
pub fn pseudonym(content: &Value) -> Option<&str> {
    let told = content.get(CONTEXT)?;
    let version = told.get("version")?.as_str()?;
    if version.split('.').next() != Some("1") {
        return None;
    }
    let subject = told.get("room.subject")?;
    if subject.get("resourceType")?.as_str()? != "Patient" {
        return None;
    }
    subject
        .get("identifier")?
        .as_array()?
        .iter()
        .filter(|identifier| identifier.get("system").and_then(Value::as_str) == Some(PSEUDO_BSN))
        .find_map(|identifier| identifier.get("value")?.as_str())
        // What is longer is no pseudonym, and would be stored.
        .filter(|value| (1..=4096).contains(&value.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pseudonym_is_told_and_read_back_and_the_bsn_never_told() {
        let patient = json!({
            "resourceType": "Patient", "id": "2", "name": [{"family": "Voorbeeld"}], "birthDate": "1940-01-01",
            "identifier": [
                {"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": "999911120"},
                {"system": PSEUDO_BSN, "value": "pseudo-1"},
            ],
        });
        let context = context(&patient).unwrap();
        assert_eq!(
            context,
            json!({
                "version": "1.0",
                "room.subject": {
                    "resourceType": "Patient",
                    "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/pseudo-bsn", "value": "pseudo-1"}],
                },
            })
        );
        assert_eq!(pseudonym(&json!({CONTEXT: context})), Some("pseudo-1"));
    }

    #[test]
    fn without_a_pseudonym_nothing_is_told() {
        for identifier in [
            json!([{"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": "999911120"}]),
            json!([{"value": "999911120"}]),
            json!([]),
            json!(null),
        ] {
            assert_eq!(context(&json!({"identifier": identifier})), None);
        }
    }

    #[test]
    fn what_is_no_context_is_left_out() {
        let with = |context: Value| json!({CONTEXT: context});
        let subject = json!({"resourceType": "Patient", "identifier": [{"system": PSEUDO_BSN, "value": "p"}]});
        assert_eq!(
            pseudonym(&with(json!({"version": "1.2", "room.subject": subject}))),
            Some("p")
        );
        for content in [
            json!({}),
            with(json!("x")),
            with(json!({"version": "2.0", "room.subject": subject})),
            with(json!({"version": "1.0", "room.subject": {"resourceType": "Practitioner"}})),
            with(json!({"version": "1.0", "room.subject": {
                "resourceType": "Patient",
                "identifier": [{"system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": "999911120"}],
            }})),
        ] {
            assert_eq!(pseudonym(&content), None, "{content}");
        }
    }
}
