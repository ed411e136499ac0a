//! What homeservers' YAML (1.1, as Python reads it) takes for something else than a string, and ours
//! (1.2) doesn't: `yes`, `1_000`, `12:30`, `2026-01-01`.

use std::sync::LazyLock;

use regex_automata::{Anchored, Input, meta::Regex};

/// Boolean, integer, float and date as `PyYAML` tells them apart, to be matched from start to end.
const SHAPES: [(&str, &str); 4] = [
    (
        "a boolean",
        "(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$",
    ),
    (
        "a number",
        "(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+\
         |[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
    ),
    (
        "a number",
        r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    ),
    (
        "a date",
        r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::?[0-9]{2})?))?)$",
    ),
];

static READERS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    SHAPES
        .into_iter()
        .filter_map(|(shape, pattern)| Some((shape, Regex::new(pattern).ok()?)))
        .collect()
});

/// What a homeserver takes this unquoted text for, when not for a string.
pub(super) fn read_as(plain: &str) -> Option<&'static str> {
    READERS
        .iter()
        .find(|(_, regex)| regex.is_match(Input::new(plain).anchored(Anchored::Yes)))
        .map(|(shape, _)| *shape)
}

/// The boolean that a homeserver reads in this unquoted text.
pub(super) fn boolean(plain: &str) -> Option<bool> {
    match plain {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_reads_as_something_else_is_told() {
        assert_eq!(READERS.len(), SHAPES.len());
        // Each line's answer is what `type(yaml.safe_load(text))` says.
        for (text, expected) in [
            ("yes", Some("a boolean")),
            ("Off", Some("a boolean")),
            ("y", None),
            ("1_000", Some("a number")),
            ("0x1f", Some("a number")),
            ("017", Some("a number")),
            ("0o17", None),
            ("12:30", Some("a number")),
            ("12:30:15.5", Some("a number")),
            ("1.5", Some("a number")),
            ("1e21", None),
            (".inf", Some("a number")),
            ("2026-01-01", Some("a date")),
            ("2026-01-01x", None),
            ("30c05ae90a248a4188e620216fa72e34", None),
            ("FHIR Bridge", None),
        ] {
            assert_eq!(read_as(text), expected, "{text}");
        }
    }
}
