use std::fmt;

use serde_json::Value;

use crate::{BaseUrl, Odd, RawResource, Ref, ResourceType};

/// Checks the type and reads what every resource has.
pub(super) fn resource(
    json: &Value,
    resource_type: &ResourceType,
    name: &'static str,
) -> Result<RawResource, Odd> {
    let odd = |what| Odd {
        resource: name,
        what,
    };
    // `meta` and the two names are all that is read here, so the contents needn't be copied.
    let head: serde_json::Map<String, Value> = ["resourceType", "id", "meta"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), json.get(key)?.clone())))
        .collect();
    let raw = RawResource::from_json(head.into()).map_err(odd)?;
    if raw.resource_type() == resource_type {
        Ok(raw)
    } else {
        Err(odd("it is a resource of another type"))
    }
}

/// The items of a repeating element; a single item that a server sent without its array counts as
/// one.
pub(super) fn items<'a>(json: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let (one, many): (Option<&Value>, &[Value]) = match json.get(name) {
        Some(Value::Array(array)) => (None, array),
        Some(Value::Null) | None => (None, &[]),
        Some(single) => (Some(single), &[]),
    };
    one.into_iter()
        .chain(many.iter().filter(|item| !item.is_null()))
}

/// A text element that says something.
pub(super) fn text<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    json.get(name)?
        .as_str()
        .filter(|text| !text.trim().is_empty())
}

/// A single reference; the first, where a server sent an array.
pub(super) fn reference(json: &Value, name: &str, base: &BaseUrl) -> Option<Ref> {
    items(json, name).find_map(|item| Ref::from_json(item, base))
}

/// A repeating reference.
pub(super) fn references(json: &Value, name: &str, base: &BaseUrl) -> Vec<Ref> {
    items(json, name)
        .filter_map(|item| Ref::from_json(item, base))
        .collect()
}

/// The extensions of an element with their URLs.
pub(super) fn extensions(json: &Value) -> impl Iterator<Item = (&str, &Value)> {
    items(json, "extension").filter_map(|extension| Some((text(extension, "url")?, extension)))
}

/// A code from a code system.
///
/// Spec: <http://hl7.org/fhir/R4/datatypes.html#Coding>
#[derive(Clone, PartialEq, Eq)]
pub struct Coding {
    /// The code system, a URI.
    pub system: Option<String>,
    /// The code.
    pub code: Option<String>,
    /// What the code means, for people.
    pub display: Option<String>,
}

impl fmt::Debug for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coding")
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

impl Coding {
    pub(super) fn from_json(json: &Value) -> Option<Self> {
        let get = |name| text(json, name).map(str::to_owned);
        let coding = Self {
            system: get("system"),
            code: get("code"),
            display: get("display"),
        };
        (coding.code.is_some() || coding.display.is_some()).then_some(coding)
    }
}

/// All codings of a repeating `CodeableConcept`; one that has only words becomes a coding with only
/// `display`.
pub(super) fn codings(json: &Value, name: &str) -> Vec<Coding> {
    let mut codings = Vec::new();
    for concept in items(json, name) {
        let before = codings.len();
        codings.extend(items(concept, "coding").filter_map(Coding::from_json));
        if codings.len() == before
            && let Some(words) = text(concept, "text")
        {
            codings.push(Coding {
                system: None,
                code: None,
                display: Some(words.to_owned()),
            });
        }
    }
    codings
}
