use serde_json::Value;

use crate::{Issue, Issues};

/// <http://hl7.org/fhir/R4/valueset-issue-type.html>
const ISSUE_TYPES: [&str; 31] = [
    "invalid",
    "structure",
    "required",
    "value",
    "invariant",
    "security",
    "login",
    "unknown",
    "expired",
    "forbidden",
    "suppressed",
    "processing",
    "not-supported",
    "duplicate",
    "multiple-matches",
    "not-found",
    "deleted",
    "too-long",
    "code-invalid",
    "extension",
    "too-costly",
    "business-rule",
    "conflict",
    "transient",
    "lock-error",
    "no-store",
    "exception",
    "timeout",
    "incomplete",
    "throttled",
    "informational",
];

/// How many issues are kept: an error line is read by a person.
const MAX_ISSUES: usize = 5;

/// What an `OperationOutcome` objects to: codes of the specification and plain element paths. All
/// else in it is free text.
pub(super) fn issues(body: &[u8]) -> Issues {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return Issues::default();
    };
    let issues = json.get("issue").and_then(Value::as_array);
    let issues = issues.into_iter().flatten().filter(|issue| {
        matches!(
            issue.get("severity").and_then(Value::as_str),
            None | Some("fatal" | "error")
        )
    });
    Issues(
        issues
            .filter_map(|issue| {
                let code = issue.get("code").and_then(Value::as_str)?;
                let code = ISSUE_TYPES.into_iter().find(|known| *known == code)?;
                let expression = ["expression", "location"]
                    .into_iter()
                    .filter_map(|name| issue.get(name)?.get(0)?.as_str())
                    .find(|path| is_element_path(path))
                    .map(str::to_owned);
                Some(Issue { code, expression })
            })
            .take(MAX_ISSUES)
            .collect(),
    )
}

/// Whether this is an `OperationOutcome`, the form in which a FHIR server says no.
pub(super) fn is_outcome(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|json| {
        json.get("resourceType").and_then(Value::as_str) == Some("OperationOutcome")
    })
}

/// `Communication.payload[0].content`: names of elements and numbers. A path with a function or a
/// quoted value is not one.
fn is_element_path(path: &str) -> bool {
    let is_name = |name: &str| {
        (1..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic())
    };
    path.len() <= 120
        && path.starts_with(|c: char| c.is_ascii_uppercase())
        && path.split('.').enumerate().all(|(n, segment)| {
            let (name, index) = segment
                .split_once('[')
                .map_or((segment, None), |(name, index)| (name, Some(index)));
            let index_ok = index.is_none_or(|index| {
                index.strip_suffix(']').is_some_and(|n| {
                    (1..=6).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit())
                })
            });
            // Elements are written small; a capital letter inside a path would be somebody's name.
            is_name(name)
                && index_ok
                && (n == 0 || name.starts_with(|c: char| c.is_ascii_lowercase()))
        })
}
