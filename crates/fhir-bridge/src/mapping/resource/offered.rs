//! What somebody sends: the content of an event with a resource, each word of it a stranger's.

use fhir::{ResourceType, Text};
use matrix_appservice::ruma::OwnedMxcUri;
use serde_json::Value;

use super::{Body, Definition, FHIR_JSON, Names, Offered, Refusal, TEXTS, is_word, line};
use crate::mapping::{content, content::Sent, markup, parts};

const EDITED: Refusal = "a resource that was sent can't be edited: send it as a new one";
const NO_DEFINITION: Refusal =
    "its structure definition is not stated (url, version, type and fhir_version)";
const RELEASE: Refusal = "it is of another release of FHIR than R4";
const NEITHER: Refusal = "it has to hold either the resource or a file";
const NO_FILE: Refusal = "its file has no address in Matrix";
const ENCRYPTED: Refusal = "its file is encrypted";
const NO_JSON_FILE: Refusal = "its file is not JSON";

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{ALL_NAMES, GEMATIK, beside, definition_of, inline, names_of},
        *,
    };

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
