//! What is sent of a resource of the record: the content of an event.

use fhir::ResourceType;
use matrix_appservice::ruma::OwnedMxcUri;
use serde_json::{Map, Value, json};

use super::{BASE_DEFINITIONS, Definition, FHIR_JSON, FHIR_VERSION, GEMATIK, TEXTS, is_word};

/// What stands in the event for people whose client knows no resources.
#[must_use]
pub fn line(kind: &ResourceType) -> String {
    format!("(A FHIR resource of the record: {kind}.)")
}

/// What a resource says that it follows: its first profile with a version, else its type's own definition.
#[must_use]
pub fn definition_of(resource: &Value, kind: &ResourceType) -> Definition {
    let profiles = resource["meta"]["profile"].as_array();
    let profile = profiles.into_iter().flatten().find_map(|profile| {
        let (url, version) = profile.as_str()?.split_once('|')?;
        (is_word(url) && is_word(version)).then(|| (url.to_owned(), version.to_owned()))
    });
    let (url, version) =
        profile.unwrap_or_else(|| (format!("{BASE_DEFINITIONS}{kind}"), FHIR_VERSION.to_owned()));
    Definition {
        url,
        version,
        kind: kind.clone(),
    }
}

/// The content of an event with a resource of the record in it, its decimals as strings.
#[must_use]
pub fn inline(definition: &Definition, resource: Value) -> Map<String, Value> {
    with(definition, GEMATIK.resource, resource)
}

/// The content of an event with a resource of the record beside it, in a file.
#[must_use]
pub fn beside(definition: &Definition, uri: &OwnedMxcUri, bytes: usize) -> Map<String, Value> {
    let file = json!({
        "url": uri, "name": file_name(&definition.kind), "mimetype": FHIR_JSON, "size": bytes,
    });
    with(definition, GEMATIK.file, file)
}

/// What the file of a resource is called.
#[must_use]
pub fn file_name(kind: &ResourceType) -> String {
    format!("{kind}.json")
}

fn with(definition: &Definition, name: &str, body: Value) -> Map<String, Value> {
    let stated = json!({
        "url": definition.url, "version": definition.version,
        "type": definition.kind.as_str(), "fhir_version": FHIR_VERSION,
    });
    let text = json!([{"body": line(&definition.kind)}]);
    [(GEMATIK.definition, stated), (name, body), (TEXTS[0], text)]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_states_a_profile_only_with_its_version() {
        let kind = ResourceType::parse("Questionnaire").unwrap();
        let of = |profiles: Value| definition_of(&json!({"meta": {"profile": profiles}}), &kind);
        assert_eq!(of(json!(["urn:a", "urn:b|3"])).url, "urn:b");
        for profiles in [json!(["urn:a"]), json!(null), json!(["urn:a b|1"])] {
            let definition = of(profiles);
            assert_eq!(
                definition.url,
                "http://hl7.org/fhir/StructureDefinition/Questionnaire"
            );
            assert_eq!(definition.version, "4.0.1");
        }
    }
}
