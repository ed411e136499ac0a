//! Whether what we are about to send is valid by type: the one place that (de)serialises fhir-sdk's
//! model, which costs a minute to compile wherever it is done.

use fhir_sdk::r4b::resources::Resource;
use serde_json::Value;

/// Checks a resource that we built. `Err` says what is wrong, without contents (the model's own
/// errors quote them).
///
/// Not for foreign resources: they may be odd in ways that are not ours to refuse.
pub(crate) fn check(json: &Value) -> Result<(), &'static str> {
    let typed: Resource = serde_json::from_value(json.clone()).map_err(
        |_| "the resource is not valid FHIR: a wrong code, a missing element or a malformed value",
    )?;
    let back = serde_json::to_value(typed).map_err(|_| "the resource can't be written as FHIR")?;
    if is_kept(json, &back) {
        Ok(())
    } else {
        Err("the resource has an element that FHIR R4 doesn't have, or an empty one")
    }
}

/// Whether everything in `sent` is in `back` too. Times come back in another form, so values are
/// compared by kind.
fn is_kept(sent: &Value, back: &Value) -> bool {
    match (sent, back) {
        (Value::Object(sent), Value::Object(back)) => sent
            .iter()
            .all(|(key, value)| back.get(key).is_some_and(|back| is_kept(value, back))),
        (Value::Array(sent), Value::Array(back)) => {
            sent.len() == back.len()
                && sent
                    .iter()
                    .zip(back)
                    .all(|(sent, back)| is_kept(sent, back))
        }
        (sent, back) => std::mem::discriminant(sent) == std::mem::discriminant(back),
    }
}
