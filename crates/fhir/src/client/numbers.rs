//! Numbers that a program would write differently than they came (`1.10` as `1.1`): FHIR gives
//! meaning to their digits, so they travel through [`modify`](super::FhirClient::modify) as marked
//! strings and come out as they were.
//!
//! Spec: <http://hl7.org/fhir/R4/datatypes.html#decimal>

use serde_json::Value;

/// Stands before a number in its string; U+E000 is from a private use area.
const MARK: &str = "\u{E000}as written:";

/// Replaces the numbers that would change by marked strings. The text is JSON as the server sent
/// it; what isn't comes out as it was.
pub(super) fn protect(json: &str) -> String {
    if json.contains(MARK) {
        return json.to_owned();
    }
    replace(json, |token, out| {
        let is_number = token.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        let written = serde_json::from_str::<Value>(token).map(|value| value.to_string());
        let same = written.ok().as_deref() == Some(token);
        if is_number && !same {
            out.push('"');
            out.push_str(MARK);
            out.push_str(token);
            out.push('"');
        } else {
            out.push_str(token);
        }
    })
}

/// Puts the numbers back. The text is what `serde_json` wrote, so a marked string is always written
/// in the same way.
pub(super) fn restore(json: &str) -> String {
    let opening = format!("\"{MARK}");
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, after)) = rest.split_once(opening.as_str()) {
        out.push_str(before);
        let Some((number, after)) = after.split_once('"') else {
            out.push_str(&opening);
            rest = after;
            continue;
        };
        out.push_str(number);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Walks over JSON and gives each run of characters outside of strings that is no punctuation
/// (numbers and words) to `token`.
pub(crate) fn replace(json: &str, mut token: impl FnMut(&str, &mut String)) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            c if is_token_char(c) => {
                let length = rest.find(|c| !is_token_char(c)).unwrap_or(rest.len());
                token(&rest[..length], &mut out);
                rest = &rest[length..];
                continue;
            }
            c => c.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')
}

/// The length of the string literal at the start of `json`, its quotes included.
fn string_length(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}
