//! What a resource is called in Matrix: localparts of ghosts and aliases.
//!
//! FHIR ids are case-sensitive, Matrix localparts are lower case: a capital letter becomes `_` and the
//! small one, which can be undone, because FHIR ids hold no `_`. A client's id is never shown: in its
//! place stands a keyed hash.

use fhir::{ResourceRef, ResourceType};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Makes the localparts of one bridge.
#[derive(Clone)]
pub struct Ids {
    prefix: String,
    pseudonym_key: Vec<u8>,
}

impl Ids {
    /// `prefix` begins each localpart; `pseudonym_key` hides clients' ids and has to stay the same
    /// for as long as the rooms live.
    #[must_use]
    pub fn new(prefix: impl Into<String>, pseudonym_key: impl Into<Vec<u8>>) -> Self {
        Self {
            prefix: prefix.into(),
            pseudonym_key: pseudonym_key.into(),
        }
    }

    /// What each localpart begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The localpart of the ghost that stands for a person.
    #[must_use]
    pub fn ghost(&self, person: &ResourceRef) -> String {
        self.localpart(person)
    }

    /// The localpart of a later ghost of the same person, when earlier ones were deactivated: their ids can't be
    /// used again.
    #[must_use]
    pub fn later_ghost(&self, person: &ResourceRef, earlier: u32) -> String {
        match earlier {
            0 => self.ghost(person),
            earlier => format!("{}={}", self.ghost(person), u64::from(earlier) + 1),
        }
    }

    /// The localpart of the alias of a care team's space or a conversation's room.
    #[must_use]
    pub fn alias(&self, resource: &ResourceRef) -> String {
        self.localpart(resource)
    }

    /// What stands for a client's id where it is told to others.
    #[must_use]
    pub fn opaque(&self, person: &ResourceRef) -> String {
        self.pseudonym(person.id())
    }

    /// A keyed hash of what an identity is proved by, so that it can be compared without being stored.
    #[must_use]
    pub fn proof(&self, parts: &[&str]) -> String {
        self.pseudonym(&parts.join("\0"))
    }

    /// The resource that a localpart was made for; `None` for a client's, and for any other localpart.
    #[must_use]
    pub fn resource(&self, localpart: &str) -> Option<ResourceRef> {
        let rest = localpart.strip_prefix(&self.prefix)?;
        let (name, id) = rest.split_once('_')?;
        // The number of a later ghost.
        let id = match id.split_once('=') {
            Some((id, number)) if number.parse::<u32>().is_ok() => id,
            Some(_) => return None,
            None => id,
        };
        let known = [
            "CareTeam",
            "Communication",
            "CommunicationRequest",
            "Conversation",
            "Practitioner",
            "PractitionerRole",
            "RelatedPerson",
            "Organization",
            "HealthcareService",
        ];
        let known = (known.into_iter()).find(|known| known.eq_ignore_ascii_case(name))?;
        ResourceRef::try_new(ResourceType::parse(known)?, &decode(id)?)
    }

    fn localpart(&self, resource: &ResourceRef) -> String {
        let name = resource.resource_type().as_str().to_ascii_lowercase();
        let id = if *resource.resource_type() == ResourceType::Patient {
            self.pseudonym(resource.id())
        } else {
            encode(resource.id())
        };
        format!("{}{name}_{id}", self.prefix)
    }

    /// 128 bits of HMAC-SHA-256, in hex.
    fn pseudonym(&self, id: &str) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.pseudonym_key) else {
            return String::new();
        };
        mac.update(id.as_bytes());
        let mut hex = format!("{:x}", mac.finalize().into_bytes());
        hex.truncate(32);
        hex
    }
}

fn encode(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for c in id.chars() {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn decode(text: &str) -> Option<String> {
    let mut id = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '_' => id.push(
                chars
                    .next()
                    .filter(char::is_ascii_lowercase)?
                    .to_ascii_uppercase(),
            ),
            c if c.is_ascii_uppercase() => return None,
            c => id.push(c),
        }
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> Ids {
        Ids::new("_fhir_bridge_", *b"key")
    }

    fn reference(text: &str) -> ResourceRef {
        ResourceRef::parse(text).unwrap()
    }

    #[test]
    fn localparts_are_lower_case_and_can_be_read_back() {
        for (text, localpart) in [
            ("CareTeam/7", "_fhir_bridge_careteam_7"),
            ("CareTeam/aB-1.X", "_fhir_bridge_careteam_a_b-1._x"),
            ("Communication/12", "_fhir_bridge_communication_12"),
            (
                "CommunicationRequest/12",
                "_fhir_bridge_communicationrequest_12",
            ),
            ("Conversation/12", "_fhir_bridge_conversation_12"),
            ("Practitioner/ABC", "_fhir_bridge_practitioner__a_b_c"),
            ("PractitionerRole/z", "_fhir_bridge_practitionerrole_z"),
        ] {
            assert_eq!(ids().ghost(&reference(text)), localpart);
            assert_eq!(ids().resource(localpart), Some(reference(text)));
        }
    }

    #[test]
    fn a_later_ghost_is_another_user_and_the_same_person() {
        let person = reference("Practitioner/7");
        assert_eq!(ids().later_ghost(&person, 0), ids().ghost(&person));
        let second = ids().later_ghost(&person, 1);
        assert_eq!(second, "_fhir_bridge_practitioner_7=2");
        assert_eq!(ids().resource(&second), Some(person));
        assert_eq!(ids().resource("_fhir_bridge_practitioner_7=x"), None);
    }

    #[test]
    fn ids_that_differ_in_case_only_get_different_localparts() {
        let [upper, lower] =
            ["Practitioner/A", "Practitioner/a"].map(|text| ids().ghost(&reference(text)));
        assert_ne!(upper, lower);
    }

    #[test]
    fn a_clients_id_is_not_shown_and_depends_on_the_key() {
        let client = reference("Patient/123456782");
        let localpart = ids().ghost(&client);
        assert!(!localpart.contains("123456782"));
        assert_eq!(localpart, ids().ghost(&client));
        assert_ne!(
            localpart,
            Ids::new("_fhir_bridge_", *b"other").ghost(&client)
        );
        assert_eq!(ids().resource(&localpart), None);
    }

    #[test]
    fn other_localparts_are_nobodys() {
        for localpart in [
            "alice",
            "_fhir_bridge_",
            "_fhir_bridge_careteam",
            "_fhir_bridge_careteam_",
            "_fhir_bridge_careteam_A",
            "_fhir_bridge_careteam_a_",
            "_fhir_bridge_careteam_a__b",
            "_fhir_bridge_observation_1",
        ] {
            assert_eq!(ids().resource(localpart), None, "{localpart}");
        }
    }
}
