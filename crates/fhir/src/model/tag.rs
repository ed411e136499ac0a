use serde_json::{Value, json};

use super::{EVENT_KEY_SYSTEM, event_identifiers};
use crate::Condition;

/// Tags a resource that came in a Matrix event with our key of the event, so that it is stored once; the
/// condition under which to create it. Another event's key that stands there is taken away: the resource
/// would be found in place of that event's.
///
/// A tag and no identifier, because several types have none, or a single one that is their author's.
///
/// Spec: <http://hl7.org/fhir/R4/resource.html#simple-tags>
pub fn tag_event(resource: &mut Value, event_id: &str) -> Condition {
    let [_, key] = event_identifiers(event_id);
    if let Some(resource) = resource.as_object_mut() {
        let meta = resource.entry("meta").or_insert_with(|| json!({}));
        if !meta.is_object() {
            *meta = json!({});
        }
        let mut tags = match meta.get_mut("tag").map(Value::take) {
            Some(Value::Array(tags)) => tags,
            _ => Vec::new(),
        };
        tags.retain(|tag| tag.get("system").and_then(Value::as_str) != Some(EVENT_KEY_SYSTEM));
        tags.push(json!({"system": EVENT_KEY_SYSTEM, "code": key.value}));
        meta["tag"] = Value::Array(tags);
    }
    Condition::tag(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_bears_the_key_of_its_own_event_alone() {
        let mut one = json!({"meta": {"tag": [{"system": "urn:x", "code": "a"}]}});
        let condition = tag_event(&mut one, "$one");
        assert!(condition.is_met_by(&one));
        assert_eq!(one["meta"]["tag"][0]["code"], "a");
        let mut other = one.clone();
        let its = tag_event(&mut other, "$other");
        assert!(its.is_met_by(&other) && !condition.is_met_by(&other));
        assert_eq!(other["meta"]["tag"].as_array().unwrap().len(), 2);
        for odd in [json!({}), json!({"meta": 1}), json!({"meta": {"tag": {}}})] {
            let mut odd = odd;
            assert!(tag_event(&mut odd, "$one").is_met_by(&odd));
        }
    }
}
