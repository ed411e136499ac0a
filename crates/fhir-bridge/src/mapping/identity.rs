//! `custom.user_mappings`: who a Matrix user is in FHIR.

use fhir::{Person, PersonKind};
use serde_json::{Map, Value};

use crate::config::UserMappings;

/// The type of the state event; its key is the user's id.
pub const USER_MAPPINGS: &str = "custom.user_mappings";

/// The system of UZI numbers.
pub const UZI: &str = "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers";
/// The system of URA numbers.
pub const URA: &str = "http://fhir.nl/fhir/NamingSystem/ura";
/// The system of the numbers that never leave the FHIR server.
pub const BSN: &str = "http://fhir.nl/fhir/NamingSystem/bsn";
/// Its name as an object identifier.
const BSN_OID: &str = "urn:oid:2.16.840.1.113883.2.4.6.3";

/// What is known about a member, beside the person.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The URA number of the organisation in which they act.
    pub ura: Option<String>,
    /// The code of their role.
    pub role_code: Option<String>,
}

/// What a ghost states about itself. `opaque` stands in for a client's id.
///
/// Whatever the settings say: nothing that holds a BSN of the person is told.
#[must_use]
pub fn content(
    person: &Person,
    standing: &Standing,
    opaque: &str,
    settings: &UserMappings,
) -> Value {
    let secrets: Vec<&str> = person
        .identifiers
        .iter()
        .filter(|identifier| matches!(identifier.system.as_deref(), Some(BSN | BSN_OID)))
        .map(|identifier| identifier.value.as_str())
        .collect();
    let safe = |text: &str| !secrets.iter().any(|secret| text.contains(secret));
    let open = person.kind != PersonKind::Patient || settings.clients;
    let plain = person.reference.to_string();
    let reference = if open && safe(&plain) {
        plain
    } else {
        format!("{}/{opaque}", person.reference.resource_type())
    };
    let mut content = Map::from_iter([("fhirRef".to_owned(), Value::String(reference))]);
    let mut tell = |key: &str, told: bool, value: Option<&str>| {
        if let Some(value) = value.filter(|value| told && open && safe(value)) {
            content.insert(key.to_owned(), value.into());
        }
    };
    tell("uziNr", settings.uzi, person.identifier(UZI));
    tell("uraNr", settings.ura, standing.ura.as_deref());
    tell(
        "roleCode",
        settings.role_code,
        standing.role_code.as_deref(),
    );
    tell(
        "email",
        settings.email,
        person.emails.first().map(String::as_str),
    );
    Value::Object(content)
}

/// What a user claims to be. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Claim {
    /// `fhirRef`.
    pub reference: Option<String>,
    /// `uziNr`.
    pub uzi: Option<String>,
    /// `uraNr`.
    pub ura: Option<String>,
    /// `email`.
    pub email: Option<String>,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").finish_non_exhaustive()
    }
}

impl Claim {
    /// Reads the content of a state event.
    #[must_use]
    pub fn read(content: &Value) -> Self {
        let text = |key: &str| {
            let text = content.get(key)?.as_str()?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        Self {
            reference: text("fhirRef"),
            uzi: text("uziNr"),
            ura: text("uraNr"),
            email: text("email"),
        }
    }

    /// Whether a member is whom the user claims to be: all that is claimed and known agrees, and at least one
    /// thing does that names a person. A URA number alone names an organisation, and a relative reference means
    /// something only to the server that it is relative to, so `same_server` says whether it may count.
    #[must_use]
    pub fn is_of(
        &self,
        person: &Person,
        standing: &Standing,
        base: &fhir::BaseUrl,
        same_server: bool,
    ) -> bool {
        let mut named = false;
        if let Some(reference) = &self.reference {
            let absolute = reference.contains("://");
            if absolute || same_server {
                if base.resolve(reference).as_ref() != Some(&person.reference) {
                    return false;
                }
                named = true;
            }
        }
        if let Some(uzi) = &self.uzi {
            if person.identifier(UZI) != Some(uzi) {
                return false;
            }
            named = true;
        }
        if let Some(ura) = &self.ura
            && standing.ura.as_ref().is_some_and(|known| known != ura)
        {
            return false;
        }
        if let Some(email) = &self.email {
            if person
                .emails
                .iter()
                .any(|known| known.eq_ignore_ascii_case(email))
            {
                named = true;
            } else if !person.emails.is_empty() {
                return false;
            }
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use fhir::BaseUrl;
    use serde_json::json;

    use super::*;

    const ALL: UserMappings = UserMappings {
        uzi: true,
        ura: true,
        role_code: true,
        email: true,
        clients: true,
    };

    fn base() -> BaseUrl {
        BaseUrl::parse("http://fhir.example/fhir").unwrap()
    }

    fn person(json: &Value) -> Person {
        Person::from_json(json, &base()).unwrap()
    }

    fn doctor() -> Person {
        person(&json!({
            "resourceType": "Practitioner", "id": "7",
            "identifier": [{"system": UZI, "value": "900012345"}, {"system": BSN, "value": "999911120"}],
            "telecom": [{"system": "email", "value": "gerda@huisarts.example"}],
        }))
    }

    fn standing() -> Standing {
        Standing {
            ura: Some("90000001".to_owned()),
            role_code: Some("01.015".to_owned()),
        }
    }

    #[test]
    fn by_default_nothing_but_the_reference_is_told() {
        let content = content(&doctor(), &standing(), "x", &UserMappings::default());
        assert_eq!(content, json!({"fhirRef": "Practitioner/7"}));
    }

    #[test]
    fn what_the_settings_ask_for_is_told_but_never_a_bsn() {
        let told = content(&doctor(), &standing(), "x", &ALL);
        assert_eq!(
            told,
            json!({
                "fhirRef": "Practitioner/7", "uziNr": "900012345", "uraNr": "90000001", "roleCode": "01.015",
                "email": "gerda@huisarts.example",
            })
        );
        let careless = person(&json!({
            "resourceType": "Patient", "id": "999911120",
            "identifier": [{"system": BSN, "value": "999911120"}, {"system": UZI, "value": "999911120"}],
            "telecom": [{"system": "email", "value": "999911120@example.org"}],
        }));
        let told = content(&careless, &Standing::default(), "k3y", &ALL);
        assert_eq!(told, json!({"fhirRef": "Patient/k3y"}));
    }

    #[test]
    fn of_clients_only_an_opaque_reference_is_told_unless_asked_for() {
        let client = person(&json!({
            "resourceType": "Patient", "id": "2", "telecom": [{"system": "email", "value": "c@example.org"}],
        }));
        let settings = UserMappings {
            clients: false,
            ..ALL
        };
        assert_eq!(
            content(&client, &Standing::default(), "k3y", &settings),
            json!({"fhirRef": "Patient/k3y"})
        );
        assert_eq!(
            content(&client, &Standing::default(), "k3y", &ALL),
            json!({"fhirRef": "Patient/2", "email": "c@example.org"})
        );
    }

    #[test]
    fn a_claim_counts_when_it_names_the_person_and_nothing_speaks_against_it() {
        let claim = |content: Value| Claim::read(&content);
        for (content, same_server, expected) in [
            (json!({"uziNr": "900012345"}), false, true),
            (
                json!({"uziNr": "900012345", "uraNr": "90000001"}),
                false,
                true,
            ),
            (json!({"uziNr": "900012345", "uraNr": "1"}), false, false),
            (json!({"uziNr": "1"}), false, false),
            (json!({"uraNr": "90000001"}), false, false),
            (json!({"email": "Gerda@huisarts.example"}), false, true),
            (
                json!({"email": "other@huisarts.example", "uziNr": "900012345"}),
                false,
                false,
            ),
            (
                json!({"fhirRef": "http://fhir.example/fhir/Practitioner/7"}),
                false,
                true,
            ),
            (
                json!({"fhirRef": "http://other.example/fhir/Practitioner/7"}),
                false,
                false,
            ),
            // On another server, somebody else has this id.
            (json!({"fhirRef": "Practitioner/7"}), false, false),
            (json!({"fhirRef": "Practitioner/7"}), true, true),
            (
                json!({"fhirRef": "Practitioner/8", "uziNr": "900012345"}),
                true,
                false,
            ),
            (json!({"fhirRef": 7}), true, false),
            (json!({}), true, false),
        ] {
            assert_eq!(
                claim(content.clone()).is_of(&doctor(), &standing(), &base(), same_server),
                expected,
                "{content}"
            );
        }
    }
}
