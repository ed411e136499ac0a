//! Decimals where JSON may have none: Matrix events hold integers and strings, no other numbers.
//!
//! There, a decimal travels as a string of the digits that FHIR gives meaning to (`1.10` is not `1.1`).
//! On the way back, the element's name says that it is one: in R4 no element of that name, in an element of
//! that name, is a string.
//!
//! Spec: <http://hl7.org/fhir/R4/datatypes.html#decimal>,
//! <https://spec.matrix.org/v1.17/appendices/#canonical-json>

use serde_json::Value;

use crate::client::numbers::replace;

/// The largest integer that an event may hold, and the smallest below zero.
const MOST: i64 = (1 << 53) - 1;

/// Elements that are decimals, wherever R4 has them, or no strings.
const DECIMALS: [&str; 34] = [
    "add",
    "altitude",
    "amount",
    "backCurve",
    "conversionFactor",
    "cylinder",
    "diameter",
    "duration",
    "durationMax",
    "fMeasure",
    "fScore",
    "factor",
    "factorOverride",
    "gtFP",
    "latitude",
    "level",
    "longitude",
    "lowerLimit",
    "period",
    "periodMax",
    "points",
    "power",
    "precision",
    "queryFP",
    "queryTP",
    "recall",
    "relativeRisk",
    "score",
    "sensitivity",
    "sphere",
    "temperature",
    "truthFN",
    "truthTP",
    "upperLimit",
];

/// What the names of quantities end with where several types may stand.
const QUANTITY_TYPES: [&str; 6] = ["Quantity", "Money", "Age", "Count", "Distance", "Duration"];

/// Elements with a `value` that is a decimal: quantities, amounts of money, adjudications.
const QUANTITIES: [&str; 51] = [
    "adjudication",
    "adjustment",
    "amount",
    "areaUnderCurve",
    "caloricDensity",
    "capacity",
    "cost",
    "dailyAmount",
    "daysSupply",
    "denominator",
    "depth",
    "dispenseInterval",
    "dose",
    "due",
    "duration",
    "externalDiameter",
    "firstDose",
    "halfLifePeriod",
    "height",
    "high",
    "highNumerator",
    "length",
    "lethalDose50",
    "low",
    "lowNumerator",
    "maxDosePerAdministration",
    "maxDosePerDay",
    "maxDosePerLifetime",
    "maxSingleDose",
    "maxTreatmentPeriod",
    "maxVolumeToDeliver",
    "measureScore",
    "net",
    "nominalVolume",
    "numerator",
    "origin",
    "participantEffectiveTimeFromStart",
    "paymentAmount",
    "period",
    "priceOverride",
    "quantity",
    "retentionTime",
    "score",
    "studyEffectiveTimeFromStart",
    "total",
    "totalGross",
    "totalNet",
    "unitPrice",
    "value",
    "weight",
    "width",
];

/// JSON in which whatever is no integer that an event may hold is a string of the same digits.
#[must_use]
pub fn without_decimals(json: &str) -> String {
    replace(json, |token, out| {
        let is_number = token.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let integer = token.parse::<i64>().ok().filter(|n| n.abs() <= MOST);
        if is_number && integer.is_none_or(|n| n.to_string() != token) {
            out.push('"');
            out.push_str(token);
            out.push('"');
        } else {
            out.push_str(token);
        }
    })
}

/// A resource as JSON, with the decimals that [`without_decimals`] made strings of as numbers again, digit
/// by digit. Strings that are no numbers stay, whatever their element.
#[must_use]
pub fn with_decimals(resource: &Value) -> String {
    let mut out = String::new();
    write(resource, "", "", &mut out);
    out
}

/// `name` is the element's, `within` that of the one it stands in.
fn write(json: &Value, name: &str, within: &str, out: &mut String) {
    match json {
        Value::Object(object) => {
            out.push('{');
            for (n, (key, value)) in object.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(value, key, name, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write(item, name, within, out);
            }
            out.push(']');
        }
        Value::String(text) if is_number(text) && is_decimal(name, within) => out.push_str(text),
        other => out.push_str(&other.to_string()),
    }
}

fn is_decimal(name: &str, within: &str) -> bool {
    if name == "value" {
        return QUANTITIES.contains(&within)
            || QUANTITY_TYPES.iter().any(|kind| within.ends_with(kind));
    }
    name.ends_with("Decimal") || DECIMALS.contains(&name)
}

/// Whether a text is a number as JSON has them: whatever else stood there would be a stranger's JSON.
fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (whole, rest) = digits(rest);
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return false;
    }
    let rest = match rest.strip_prefix('.') {
        Some(rest) => match digits(rest) {
            ("", _) => return false,
            (_, rest) => rest,
        },
        None => rest,
    };
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    // Of more digits than a program can read.
    matches!(digits(exponent), (digits, "") if (1..=3).contains(&digits.len()))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_integers_that_an_event_may_hold_stay_numbers() {
        for (json, without) in [
            (r#"{"a":1.10}"#, r#"{"a":"1.10"}"#),
            (r"[0, -1, 9007199254740991]", r"[0, -1, 9007199254740991]"),
            (r"[-0, 9007199254740992]", r#"["-0", "9007199254740992"]"#),
            (r"[1e2, -1.5E+3]", r#"["1e2", "-1.5E+3"]"#),
            (r#"["1.5", true, null]"#, r#"["1.5", true, null]"#),
        ] {
            assert_eq!(without_decimals(json), without);
            serde_json::from_str::<Value>(&without_decimals(json)).unwrap();
        }
    }

    #[test]
    fn decimals_come_back_digit_by_digit_and_strings_stay_strings() {
        let resource = concat!(
            r#"{"component":[{"valueQuantity":{"unit":"kg","value":70.50}}],"#,
            r#""identifier":[{"system":"urn:x","value":"1.5"}],"#,
            r#""item":[{"answer":[{"valueDecimal":-0.10},{"valueString":"1.5"}]}],"#,
            r#""period":{"start":"2026"},"position":{"latitude":52.10},"#,
            r#""referenceRange":[{"high":{"value":1E+2},"low":{"value":3}}],"#,
            r#""telecom":[{"system":"phone","value":"0612"}]}"#,
        );
        let event: Value = serde_json::from_str(&without_decimals(resource)).unwrap();
        assert_eq!(event["component"][0]["valueQuantity"]["value"], "70.50");
        assert_eq!(with_decimals(&event), resource);
    }

    #[test]
    fn nothing_but_a_number_becomes_one() {
        for text in [
            "",
            "-",
            "01",
            "1.",
            ".5",
            "1e",
            "1e1000",
            "+1",
            " 1",
            "1,\"x\":2",
            "0x1",
            "NaN",
            "١",
        ] {
            let json = json!({"valueDecimal": text});
            assert_eq!(with_decimals(&json), json.to_string(), "{text}");
        }
    }
}
