//! A FHIR resource as an event of its own: `de.gematik.fhir`, as gematik's schema has it, and MSC4302.
//!
//! <https://github.com/gematik/api-ti-messenger/blob/main/src/schema/fhir.json>,
//! <https://github.com/matrix-org/matrix-spec-proposals/pull/4302>

use fhir::{ResourceType, Text};
use matrix_appservice::ruma::OwnedMxcUri;
use serde_json::{Map, Value, json};

use super::{content, content::Sent, markup, parts};

/// What an event and the fields of its content are called.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// The event's type.
    pub kind: &'static str,
    definition: &'static str,
    resource: &'static str,
    file: &'static str,
}

/// As gematik has it: what the bridge sends.
pub const GEMATIK: Names = Names {
    kind: "de.gematik.fhir",
    definition: "de.gematik.fhir.structure_definition",
    resource: "de.gematik.fhir.resource",
    file: "de.gematik.fhir.file",
};

/// All that are read: gematik's, the proposal's while it is one, and those that it shall have.
static ALL_NAMES: [Names; 3] = [
    GEMATIK,
    Names {
        kind: "de.gematik.msc4302.fhir",
        definition: "de.gematik.msc4302.fhir.structure_definition",
        resource: "de.gematik.msc4302.fhir.resource",
        file: "de.gematik.msc4302.fhir.file",
    },
    Names {
        kind: "m.fhir",
        definition: "m.fhir.structure_definition",
        resource: "m.fhir.resource",
        file: "m.fhir.file",
    },
];

/// Where the text stands that everybody can read: gematik's name, the specification's, and that of MSC1767.
const TEXTS: [&str; 3] = ["de.gematik.text", "m.text", "org.matrix.msc1767.text"];

/// The MIME type of a resource in a file.
pub const FHIR_JSON: &str = "application/fhir+json";

/// The release that the bridge speaks; on the way in, any version of it.
const FHIR_VERSION: &str = "4.0.1";
const BASE_DEFINITIONS: &str = "http://hl7.org/fhir/StructureDefinition/";
/// The most characters of a canonical URL or its version.
const LONGEST: usize = 500;

/// Why a resource is not taken, for people: it says nothing of the resource.
pub type Refusal = &'static str;

const EDITED: Refusal = "a resource that was sent can't be edited: send it as a new one";
const NO_DEFINITION: Refusal =
    "its structure definition is not stated (url, version, type and fhir_version)";
const RELEASE: Refusal = "it is of another release of FHIR than R4";
const NEITHER: Refusal = "it has to hold either the resource or a file";
const NO_FILE: Refusal = "its file has no address in Matrix";
const ENCRYPTED: Refusal = "its file is encrypted";
const NO_JSON_FILE: Refusal = "its file is not JSON";
const ANOTHER: Refusal = "it is not of the type that is stated";
const META: Refusal = "it is not valid FHIR";
const NARRATIVE: Refusal = "its narrative says more than its data";

/// The structure definition that a resource follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its canonical URL.
    pub url: String,
    /// Its version.
    pub version: String,
    /// The type of resource.
    pub kind: ResourceType,
}

/// Where a resource is.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// In the event, with its decimals as strings.
    Inline(Value),
    /// In a file.
    File(Sent),
}

/// A resource that somebody sends, as far as the event says: each word of it is a stranger's.
#[derive(Clone, PartialEq)]
pub struct Offered {
    /// What it follows.
    pub definition: Definition,
    /// Where it is.
    pub body: Body,
    /// What people can read of it.
    pub text: Text,
}

/// The names of an event that holds a resource; `None` when it is another event.
#[must_use]
pub fn names_of(kind: &str) -> Option<&'static Names> {
    ALL_NAMES.iter().find(|names| names.kind == kind)
}

/// Reads the content of such an event.
///
/// # Errors
///
/// Why it can't be taken.
pub fn offered(names: &Names, content: &Value) -> Result<Offered, Refusal> {
    if content::replaced(content).is_some() {
        return Err(EDITED);
    }
    let definition = definition(&content[names.definition])?;
    let body = match (content.get(names.resource), content.get(names.file)) {
        (Some(resource), None) => Body::Inline(resource.clone()),
        (None, Some(file)) => Body::File(file_of(file)?),
        _ => return Err(NEITHER),
    };
    let text = TEXTS
        .iter()
        .find_map(|name| text_of(content.get(name)?))
        .unwrap_or_else(|| Text::plain(line(&definition.kind)));
    Ok(Offered {
        definition,
        body,
        text,
    })
}

fn definition(json: &Value) -> Result<Definition, Refusal> {
    let word = |name: &str| {
        let word = json[name].as_str().filter(|word| is_word(word));
        word.map(str::to_owned).ok_or(NO_DEFINITION)
    };
    let kind = ResourceType::parse(&word("type")?).ok_or(NO_DEFINITION)?;
    let release = word("fhir_version")?;
    if release != "4.0" && !release.starts_with("4.0.") {
        return Err(RELEASE);
    }
    let url = word("url")?;
    if !url.contains(':') {
        return Err(NO_DEFINITION);
    }
    Ok(Definition {
        url,
        version: word("version")?,
        kind,
    })
}

/// Whether this can be a canonical URL or a version, of which `|` makes one.
fn is_word(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
        && !text.contains(['|', '"', '<', '>', '\\'])
}

fn file_of(file: &Value) -> Result<Sent, Refusal> {
    if ["key", "iv", "hashes"]
        .iter()
        .any(|name| !file[*name].is_null())
    {
        return Err(ENCRYPTED);
    }
    let content_type = file["mimetype"].as_str().map(parts::bare_type);
    if !matches!(
        content_type.as_deref(),
        None | Some(FHIR_JSON | "application/json")
    ) {
        return Err(NO_JSON_FILE);
    }
    let uri = file["url"].as_str().map(OwnedMxcUri::from);
    Ok(Sent {
        uri: uri.filter(|uri| uri.is_valid()).ok_or(NO_FILE)?,
        name: String::new(),
        content_type,
        size: file["size"].as_u64(),
    })
}

/// The text among representations of several types, with its markup.
fn text_of(representations: &Value) -> Option<Text> {
    let of_type = |wanted: &str| {
        let all = representations.as_array()?.iter();
        let mut bodies = all.filter_map(|one| {
            let kind = one["mimetype"].as_str().unwrap_or("text/plain");
            (parts::bare_type(kind) == wanted)
                .then(|| one["body"].as_str())
                .flatten()
        });
        bodies.find(|body| !body.trim().is_empty())
    };
    let plain = of_type("text/plain")?;
    let nodes = of_type("text/html")
        .map(markup::from_html)
        .unwrap_or_default();
    Some(Text {
        xhtml: markup::is_marked(&nodes).then(|| markup::to_xhtml(&nodes)),
        ..Text::plain(plain)
    })
}

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

    fn content(names: &Names, change: impl FnOnce(&mut Value)) -> Value {
        let mut content = json!({
            names.definition: {"url": "https://example.org/StructureDefinition/Intake", "version": "2",
                "type": "QuestionnaireResponse", "fhir_version": "4.0.1"},
            names.resource: {"resourceType": "QuestionnaireResponse"},
            "de.gematik.text": [{"mimetype": "text/html", "body": "<b>done</b>"}, {"body": "done"}],
        });
        change(&mut content);
        content
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> Refusal {
        offered(&GEMATIK, &content(&GEMATIK, change)).err().unwrap()
    }

    #[test]
    fn all_three_names_are_read_and_no_other() {
        for names in &ALL_NAMES {
            assert_eq!(names_of(names.kind), Some(names));
            let offered = offered(names, &content(names, |_| {})).ok().unwrap();
            assert_eq!(offered.definition.version, "2");
            assert!(matches!(offered.body, Body::Inline(_)));
            assert_eq!(offered.text.text, "done");
            assert!(offered.text.xhtml.unwrap().contains("<strong>done"));
        }
        assert_eq!(names_of("de.gematik.fhir.resource"), None);
        assert_eq!(names_of("m.room.message"), None);
    }

    #[test]
    fn what_is_not_stated_is_refused() {
        let definition = GEMATIK.definition;
        for name in ["url", "version", "type", "fhir_version"] {
            assert_eq!(
                refusal(|content| content[definition][name] = Value::Null),
                NO_DEFINITION
            );
        }
        for (name, value) in [
            ("url", "no url"),
            ("url", "noturl"),
            ("url", "urn:x|1"),
            ("version", "1 <b>"),
            ("type", "no type"),
        ] {
            assert_eq!(
                refusal(|content| content[definition][name] = value.into()),
                NO_DEFINITION,
                "{value}"
            );
        }
        for release in ["4.3.0", "5.0.0", "3.0.2", "4.01"] {
            let is = refusal(|content| content[definition]["fhir_version"] = release.into());
            assert_eq!(is, RELEASE);
        }
        let relation = json!({"rel_type": "m.replace", "event_id": "$a"});
        assert_eq!(
            refusal(|content| content["m.relates_to"] = relation),
            EDITED
        );
    }

    #[test]
    fn it_is_in_the_event_or_in_a_file_that_can_be_read() {
        let file = |change: Value| {
            let mut file =
                json!({"url": "mxc://x/y", "name": "a.json", "mimetype": FHIR_JSON, "size": 5});
            for (key, value) in change.as_object().unwrap() {
                file[key] = value.clone();
            }
            content(&GEMATIK, |content| {
                content[GEMATIK.file] = file;
                content.as_object_mut().unwrap().remove(GEMATIK.resource);
            })
        };
        let Body::File(sent) = offered(&GEMATIK, &file(json!({}))).ok().unwrap().body else {
            panic!("it is a file");
        };
        assert_eq!((sent.uri.as_str(), sent.size), ("mxc://x/y", Some(5)));
        for (change, why) in [
            (json!({"mimetype": "application/fhir+xml"}), NO_JSON_FILE),
            (json!({"url": "https://x/y"}), NO_FILE),
            (json!({"key": {}}), ENCRYPTED),
        ] {
            assert_eq!(offered(&GEMATIK, &file(change)).err(), Some(why));
        }
        assert_eq!(
            refusal(|content| content[GEMATIK.file] = json!({})),
            NEITHER
        );
    }

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

    #[test]
    fn what_is_sent_is_what_is_read() {
        let kind = ResourceType::parse("Questionnaire").unwrap();
        let definition = definition_of(&json!({}), &kind);
        let resource = json!({"resourceType": "Questionnaire"});
        for content in [
            inline(&definition, resource),
            beside(&definition, &OwnedMxcUri::from("mxc://x/y"), 5),
        ] {
            let offered = offered(&GEMATIK, &Value::Object(content)).ok().unwrap();
            assert_eq!(offered.definition, definition);
            assert_eq!(offered.text.text, line(&kind));
        }
    }
}
