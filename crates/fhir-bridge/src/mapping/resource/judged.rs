//! What of a stranger's resource the record may take, and whom it names.

use serde_json::{Map, Value, json};

use super::{BASE_DEFINITIONS, Definition, Refusal};

const ANOTHER: Refusal = "it is not of the type that is stated";
const META: Refusal = "it is not valid FHIR";
const NARRATIVE: Refusal = "its narrative says more than its data";

/// The resource as the record may take it: of the type that was stated, with its profile named, without id
/// and version of another server, and without narratives, which are strangers' XHTML.
///
/// # Errors
///
/// Why it can't be taken.
pub fn judged(mut resource: Value, definition: &Definition) -> Result<Value, Refusal> {
    let object = resource.as_object_mut().ok_or(ANOTHER)?;
    if object.get("resourceType") != Some(&definition.kind.as_str().into()) {
        return Err(ANOTHER);
    }
    object.remove("id");
    if let Some(meta) = object.get_mut("meta") {
        let meta = meta.as_object_mut().ok_or(META)?;
        for of_server in ["versionId", "lastUpdated", "source"] {
            meta.remove(of_server);
        }
    }
    name_profile(object, definition)?;
    // What is empty, FHIR doesn't have.
    if object.get("meta") == Some(&json!({})) {
        object.remove("meta");
    }
    without_narratives(&mut resource)?;
    Ok(resource)
}

fn name_profile(resource: &mut Map<String, Value>, definition: &Definition) -> Result<(), Refusal> {
    let url = &definition.url;
    if url.strip_prefix(BASE_DEFINITIONS) == Some(definition.kind.as_str()) {
        return Ok(());
    }
    let meta = resource.entry("meta").or_insert_with(|| json!({}));
    let meta = meta.as_object_mut().ok_or(META)?;
    let profiles = meta.entry("profile").or_insert_with(|| json!([]));
    let profiles = profiles.as_array_mut().ok_or(META)?;
    let full = format!("{url}|{}", definition.version);
    let is_named = |named: &Value| named == url.as_str() || named == full.as_str();
    if !profiles.iter().any(is_named) {
        profiles.push(full.into());
    }
    Ok(())
}

/// Takes narratives away that say what the data says; others can't be taken.
fn without_narratives(json: &mut Value) -> Result<(), Refusal> {
    match json {
        Value::Array(items) => items.iter_mut().try_for_each(without_narratives),
        Value::Object(object) => {
            if let Some(narrative) = object.get("text").filter(|text| text.is_object()) {
                let status = narrative["status"].as_str().unwrap_or_default();
                if !["generated", "extensions", "empty"].contains(&status) {
                    return Err(NARRATIVE);
                }
                object.remove("text");
            }
            object.values_mut().try_for_each(without_narratives)
        }
        _ => Ok(()),
    }
}

/// Types that stand for a human being.
const HUMANS: [&str; 5] = [
    "Patient",
    "Person",
    "Practitioner",
    "PractitionerRole",
    "RelatedPerson",
];

/// The references of a resource that name a human being, or search for somebody: those that only people of
/// the conversation may stand in.
#[must_use]
pub fn people_named(resource: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    find_people(resource, &mut found);
    found
}

fn find_people<'a>(json: &'a Value, found: &mut Vec<&'a str>) {
    match json {
        Value::Array(items) => {
            for item in items {
                find_people(item, found);
            }
        }
        Value::Object(object) => {
            for (name, value) in object {
                match value.as_str() {
                    Some(reference) if name == "reference" && is_of_people(reference) => {
                        found.push(reference);
                    }
                    _ => find_people(value, found),
                }
            }
        }
        _ => {}
    }
}

fn is_of_people(reference: &str) -> bool {
    reference.contains('?')
        || reference
            .split(['/', '#'])
            .any(|segment| HUMANS.contains(&segment))
}

#[cfg(test)]
mod tests {
    use fhir::ResourceType;

    use super::*;

    #[test]
    fn the_record_gets_the_data_and_its_profile_and_no_words_of_another_server() {
        let definition = Definition {
            url: "https://example.org/p".into(),
            version: "2".into(),
            kind: ResourceType::parse("Observation").unwrap(),
        };
        let resource = json!({
            "resourceType": "Observation", "id": "x",
            "meta": {"versionId": "7", "lastUpdated": "2026-01-01T00:00:00Z", "source": "#a"},
            "text": {"status": "generated", "div": "<div><script>x</script></div>"},
            "contained": [{"resourceType": "Device", "text": {"status": "generated", "div": "<div/>"}}],
            "code": {"text": "weight"},
        });
        let judged_as = |definition: &Definition| judged(resource.clone(), definition);
        let expected = json!({
            "resourceType": "Observation", "meta": {"profile": ["https://example.org/p|2"]},
            "contained": [{"resourceType": "Device"}], "code": {"text": "weight"},
        });
        assert_eq!(judged_as(&definition), Ok(expected.clone()));
        assert_eq!(judged(expected.clone(), &definition), Ok(expected));
        let base = Definition {
            url: format!("{BASE_DEFINITIONS}Observation"),
            ..definition.clone()
        };
        assert_eq!(judged_as(&base).unwrap().get("meta"), None);
        let other = Definition {
            kind: ResourceType::Patient,
            ..definition.clone()
        };
        assert_eq!(judged_as(&other), Err(ANOTHER));
        let mut told = resource.clone();
        told["contained"][0]["text"]["status"] = "additional".into();
        assert_eq!(judged(told, &definition), Err(NARRATIVE));
        for odd in [json!(1), json!([]), json!(null)] {
            assert_eq!(judged(odd, &definition), Err(ANOTHER));
        }
    }

    #[test]
    fn everybody_whom_a_resource_names_is_found() {
        let resource = json!({
            "subject": {"reference": "Patient/1"},
            "author": [{"reference": "https://fhir.example/x/Practitioner/2/_history/3"}],
            "item": [{"answer": [{"valueReference": {"reference": "Patient?identifier=1"}}]}],
            "questionnaire": {"reference": "Questionnaire/4"},
            "note": {"reference": "#Patientine"},
        });
        assert_eq!(
            people_named(&resource),
            [
                "https://fhir.example/x/Practitioner/2/_history/3",
                "Patient?identifier=1",
                "Patient/1"
            ]
        );
    }
}
