//! What stands in the configuration file, for editors (JSON Schema) and for people (the book's reference).

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Config;

/// An annotated file to begin with.
#[must_use]
pub fn example() -> &'static str {
    include_str!("../../../../bridge.yaml")
}

/// The JSON Schema (2020-12) of the file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Config).to_value();
    schema["title"] = "fhir-bridge".into();
    schema
}

/// Every key with its meaning, shape and default, in Markdown.
#[must_use]
pub fn reference() -> String {
    let schema = schema();
    let mut out = String::from(
        "# Configuration reference\n\n\
         <!-- Made by `fhir-bridge config reference`: change the comments in crates/fhir-bridge/src/config instead. -->\n\n\
         One YAML file, given as `--config` or in `FHIR_BRIDGE_CONFIG`. A key that is not known is refused, with its line and\n\
         the key that was probably meant. Relative paths are meant from the file's folder. Secrets are never in this file: keys\n\
         that end in `_file` name a file, those that end in `_env` a variable of the environment.\n\n\
         `fhir-bridge config example` prints a file to begin with, `fhir-bridge config check --config FILE` looks one over, and\n\
         `fhir-bridge config schema` prints a JSON Schema for editors (`# yaml-language-server: $schema=bridge.schema.json` in\n\
         the first line, for those that read it).\n",
    );
    Reference {
        schema: &schema,
        out: &mut out,
    }
    .section("", &schema, None);
    out
}

struct Reference<'a> {
    schema: &'a Value,
    out: &'a mut String,
}

impl<'a> Reference<'a> {
    /// A table of an object's keys, then the sections of those that are objects themselves.
    fn section(&mut self, path: &str, object: &'a Value, default: Option<&Value>) {
        let Some(keys) = object["properties"].as_object() else {
            return;
        };
        if !path.is_empty() {
            let _ = write!(self.out, "\n## `{path}`\n");
            if let Some(text) = object["description"].as_str() {
                let _ = write!(self.out, "\n{}\n", paragraph(text));
            }
        }
        let required: Vec<&str> = object["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        self.out
            .push_str("\n| key | shape | default | meaning |\n| --- | --- | --- | --- |\n");
        let mut inner = Vec::new();
        for (name, key) in keys {
            let target = self.resolved(key);
            let default = default
                .and_then(|default| default.get(name))
                .or_else(|| key.get("default"));
            let is_section = target.get("properties").is_some();
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            let shape = if is_section {
                format!("[section](#{})", anchor(&path))
            } else {
                self.shape(key)
            };
            let shown = match default {
                _ if required.contains(&name.as_str()) => "required".to_owned(),
                _ if is_section => String::new(),
                Some(Value::Null) | None => "none".to_owned(),
                Some(default) => format!("`{default}`"),
            };
            let text = key["description"].as_str().unwrap_or_default();
            // The column tells it.
            let text = match text.find("Default: ") {
                Some(at) if shown.starts_with('`') => &text[..at],
                _ => text,
            };
            let _ = writeln!(
                self.out,
                "| `{name}` | {shape} | {shown} | {}{} |",
                cell(text),
                Self::words(target)
            );
            if is_section {
                inner.push((path.clone(), target, default.cloned()));
            }
            // Lists of sections, such as `fhir_servers`, whose keys are those of another one, are told by their words.
            Self::kinds(&path, target, &mut inner);
        }
        for (path, target, default) in inner {
            self.section(&path, target, default.as_ref());
        }
    }

    /// The sections of a key that may be one of several kinds.
    fn kinds(path: &str, target: &'a Value, inner: &mut Vec<(String, &'a Value, Option<Value>)>) {
        for kind in target["oneOf"].as_array().into_iter().flatten() {
            if let Some(name) = kind["properties"]["kind"]["const"].as_str() {
                inner.push((format!("{path}: {name}"), kind, None));
            }
        }
    }

    /// What a reference stands for, also where `null` may stand in its place.
    fn resolved(&self, key: &'a Value) -> &'a Value {
        let inner = key["anyOf"]
            .as_array()
            .and_then(|any| any.iter().find(|one| one["type"] != "null"))
            .unwrap_or(key);
        match inner["$ref"]
            .as_str()
            .and_then(|name| name.strip_prefix('#'))
        {
            Some(pointer) => self.schema.pointer(pointer).unwrap_or(inner),
            None => inner,
        }
    }

    fn shape(&self, key: &'a Value) -> String {
        let target = self.resolved(key);
        if let Some(of) = target["oneOf"].as_array() {
            let names: Vec<String> = of.iter().filter_map(constant).collect();
            return names.join(" or ");
        }
        if let Some(of) = target["enum"].as_array() {
            let names: Vec<String> = of.iter().map(|one| format!("`{one}`")).collect();
            return names.join(" or ");
        }
        let types = match &target["type"] {
            Value::String(one) => vec![one.as_str()],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let kind = types.iter().find(|one| **one != "null").copied();
        match (kind, target["format"].as_str()) {
            (Some("string"), Some("uri")) => "URL".to_owned(),
            (Some("string"), _) => "text".to_owned(),
            (Some("integer" | "number"), _) => "number".to_owned(),
            (Some("boolean"), _) => "`true` or `false`".to_owned(),
            (Some("array"), _) => match self.resolved(&target["items"])["properties"] {
                Value::Object(_) => "list of sections".to_owned(),
                _ => format!("list of {}s", self.shape(&target["items"])),
            },
            (Some("object"), _) => "map".to_owned(),
            _ => String::new(),
        }
    }

    /// What the words mean that may stand there.
    fn words(target: &Value) -> String {
        let mut text = String::new();
        for one in target["oneOf"].as_array().into_iter().flatten() {
            if let (Some(name), Some(meaning)) = (constant(one), one["description"].as_str()) {
                let _ = write!(text, "<br>{name}: {}", cell(meaning));
            }
        }
        text
    }
}

/// The word that one of several values is, in code.
fn constant(one: &Value) -> Option<String> {
    let word = one.get("const").or_else(|| {
        let kind: Option<&Map<String, Value>> = one["properties"].as_object();
        kind?.get("kind")?.get("const")
    })?;
    Some(format!("`{}`", word.as_str()?))
}

/// The id that mdBook gives a heading.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || matches!(c, '_' | '-') => Some(c.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

/// A comment's lines as one, without what only rustdoc reads.
fn paragraph(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}

fn cell(text: &str) -> String {
    paragraph(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The paths of all keys.
    fn keys(path: &str, schema: &Value, object: &Value, found: &mut BTreeSet<String>) {
        let mut out = String::new();
        let reference = Reference {
            schema,
            out: &mut out,
        };
        let kinds = object["oneOf"].as_array().into_iter().flatten();
        for object in std::iter::once(object).chain(kinds) {
            for (name, key) in object["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}{name}");
                found.insert(path.clone());
                let target = reference.resolved(key);
                keys(&format!("{path}."), schema, target, found);
                let items = reference.resolved(&target["items"]);
                keys(&format!("{path}[]."), schema, items, found);
            }
        }
    }

    #[test]
    fn the_example_names_every_key() {
        let schema = schema();
        let mut found = BTreeSet::new();
        keys("", &schema, &schema, &mut found);
        assert!(found.len() > 80, "{}", found.len());
        for path in found {
            let name = path.rsplit('.').next().unwrap();
            assert!(
                example().contains(&format!("{name}:")),
                "bridge.yaml does not name `{path}`"
            );
        }
    }

    #[test]
    fn the_reference_has_every_key_with_its_meaning() {
        let (schema, reference) = (schema(), reference());
        let mut found = BTreeSet::new();
        keys("", &schema, &schema, &mut found);
        for path in found.iter().filter(|path| !path.contains("[]")) {
            let name = path.rsplit('.').next().unwrap();
            let row = reference
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("no row for `{path}`"));
            let meaning = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
            assert!(!meaning.trim().is_empty() || name == "kind", "{row}");
        }
        assert!(reference.contains("| `listen` | text | `\"127.0.0.1:1234\"` |"));
        assert!(reference.contains("`network.user_mappings`"));
    }

    #[test]
    fn the_book_has_this_reference() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/src/configuration.md"
        );
        let stored = std::fs::read_to_string(file).unwrap();
        assert!(
            stored == reference(),
            "docs/src/configuration.md is out of date: `cargo run --bin fhir-bridge -- config reference > docs/src/configuration.md`"
        );
    }
}
