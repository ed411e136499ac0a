//! From a [`Registration`] to YAML text that every homeserver's reader understands alike.
//!
//! Text is always quoted: `yes`, `1_000` and `2026-01-01` are no text for a YAML 1.1 reader otherwise.

pub(super) mod file;

use std::fmt::Write as _;

use serde_yaml::{Number, Value};

use super::{Namespace, NamespaceKind, Registration, UnknownFields, unstable::names};

const HEADER: &str = "# The registration of an application service. It holds two secrets: let nobody read it but the\n\
                      # application service and its homeserver.\n";

pub(super) fn text(registration: &Registration) -> String {
    let mut out = HEADER.to_owned();
    line(&mut out, "id", &scalar(&registration.id));
    let url = registration.url.as_deref();
    line(
        &mut out,
        "url",
        &url.map_or_else(|| "null".to_owned(), scalar),
    );
    line(
        &mut out,
        "as_token",
        &scalar(registration.as_token.expose()),
    );
    line(
        &mut out,
        "hs_token",
        &scalar(registration.hs_token.expose()),
    );
    line(
        &mut out,
        "sender_localpart",
        &scalar(&registration.sender_localpart),
    );
    namespaces(&mut out, registration);
    boolean(&mut out, "rate_limited", registration.rate_limited);
    strings(&mut out, "protocols", &registration.protocols);
    boolean(
        &mut out,
        "receive_ephemeral",
        registration.receive_ephemeral.then_some(true),
    );
    let unstable = &registration.unstable;
    boolean(
        &mut out,
        names::PUSH_EPHEMERAL,
        unstable.msc2409_push_ephemeral,
    );
    boolean(&mut out, names::MSC3202, unstable.msc3202);
    boolean(&mut out, names::MSC4190, unstable.msc4190);
    strings(&mut out, names::SCOPES, &unstable.msc4502_scopes);
    optional(
        &mut out,
        names::PROXY_PREFIX,
        unstable.msc4512_proxy_prefix.as_deref(),
    );
    optional(
        &mut out,
        names::PROXY_URL,
        unstable.msc4512_proxy_url.as_deref(),
    );
    strings(&mut out, names::IP_RANGES, &unstable.ip_range_whitelist);
    unknown(&mut out, "", &registration.unknown);
    out
}

fn line(out: &mut String, field: &str, value: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(out, "{field}: {value}");
}

fn boolean(out: &mut String, field: &str, value: Option<bool>) {
    if let Some(value) = value {
        line(out, field, if value { "true" } else { "false" });
    }
}

fn optional(out: &mut String, field: &str, value: Option<&str>) {
    if let Some(value) = value {
        line(out, field, &scalar(value));
    }
}

fn strings(out: &mut String, field: &str, list: &[String]) {
    if !list.is_empty() {
        let list: Vec<_> = list.iter().map(|text| scalar(text)).collect();
        line(out, field, &format!("[{}]", list.join(", ")));
    }
}

fn namespaces(out: &mut String, registration: &Registration) {
    let namespaces = &registration.namespaces;
    if namespaces.iter().next().is_none() && namespaces.unknown.is_empty() {
        line(out, "namespaces", "{}");
        return;
    }
    out.push_str("namespaces:\n");
    for kind in NamespaceKind::ALL {
        let list = namespaces.list(kind);
        if !list.is_empty() {
            let _ = writeln!(out, "  {kind}:");
            list.iter().for_each(|namespace| entry(out, namespace));
        }
    }
    unknown(out, "  ", &namespaces.unknown);
}

fn entry(out: &mut String, namespace: &Namespace) {
    let _ = writeln!(out, "    - exclusive: {}", namespace.exclusive);
    let _ = writeln!(out, "      regex: {}", scalar(namespace.pattern()));
    if let Some(group) = namespace.group_id() {
        let _ = writeln!(out, "      group_id: {}", scalar(group));
    }
    unknown(out, "      ", &namespace.unknown);
}

fn unknown(out: &mut String, indent: &str, fields: &UnknownFields) {
    for (key, value) in fields.iter() {
        let _ = writeln!(out, "{indent}{}: {}", key_of(key), flow(value));
    }
}

/// A key; one that is long or no scalar has to be announced.
fn key_of(key: &Value) -> String {
    const LONGEST_IMPLICIT: usize = 500;
    let text = flow(key);
    if text.len() > LONGEST_IMPLICIT || matches!(key, Value::Sequence(_) | Value::Mapping(_)) {
        format!("? {text}\n")
    } else {
        text
    }
}

/// A value in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => number(value),
        Value::String(text) => scalar(text),
        Value::Sequence(list) => {
            let list: Vec<_> = list.iter().map(flow).collect();
            format!("[{}]", list.join(", "))
        }
        Value::Mapping(map) => {
            let map: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("? {} : {}", flow(key), flow(value)))
                .collect();
            format!("{{{}}}", map.join(", "))
        }
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, flow(&tagged.value)),
    }
}

/// A number; a float always with a point and a signed exponent, without which YAML 1.1 sees text.
fn number(value: &Number) -> String {
    match value.as_f64() {
        Some(float) if value.is_f64() && float.is_finite() => {
            let text = format!("{float:?}");
            match text.split_once('e') {
                None => text,
                Some((digits, exponent)) => {
                    let point = if digits.contains('.') { "" } else { ".0" };
                    let sign = if exponent.starts_with('-') { "" } else { "+" };
                    format!("{digits}{point}e{sign}{exponent}")
                }
            }
        }
        _ => value.to_string(),
    }
}

/// Text in quotes: in single ones, which leave backslashes alone, wherever that is possible.
fn scalar(text: &str) -> String {
    if text.chars().all(|c| matches!(c, ' '..='~') && c != '\'') {
        return format!("'{text}'");
    }
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c if u32::from(c) <= 0xffff => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_so_that_every_reader_sees_text() {
        for text in [
            "yes",
            "null",
            "~",
            "1_000",
            "0x1f",
            "2026-01-01",
            "12:30",
            "",
            " a ",
            "a: b",
            "# a",
            "it's",
            "back\\slash",
            "\"quoted\"",
            "tab\tand\nline",
            "é",
            "\u{85}\u{2028}\u{feff}",
            "\u{1f600}",
            "'",
        ] {
            let written = scalar(text);
            let read: Value = serde_yaml::from_str(&written).unwrap();
            assert_eq!(read, Value::String(text.to_owned()), "{written}");
        }
        assert_eq!(scalar(r"@_a\.b_.*"), r"'@_a\.b_.*'");
    }

    #[test]
    fn floats_are_floats_for_every_reader() {
        for (value, written) in [(1e21, "1.0e+21"), (1.5e-9, "1.5e-9"), (2.0, "2.0")] {
            assert_eq!(flow(&Value::from(value)), written);
            assert_eq!(
                serde_yaml::from_str::<Value>(written).unwrap(),
                Value::from(value)
            );
        }
    }
}
