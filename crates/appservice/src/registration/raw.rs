//! From YAML text to a [`Registration`], one checked field after another.
//!
//! The file is read into loose values first: a YAML reader that is asked for a string turns
//! `hs_token: null` into the text "null" and `12345` into "12345", where a homeserver refuses both.

use std::collections::BTreeMap;

use serde_yaml::{Mapping, Value};

use super::{
    Namespace, NamespaceKind, Namespaces, Registration, RegistrationError, Token,
    namespace::NamespaceList,
};

pub(super) fn parse(text: &str) -> Result<Registration, RegistrationError> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        RegistrationError::new(line, "this is no YAML: check indentation and quotes here")
    })?;
    let Value::Mapping(map) = value else {
        return Err(RegistrationError::new(
            None,
            format!(
                "a registration is a mapping of fields (`id: …`, `url: …`), this is {}",
                shape(&value)
            ),
        ));
    };
    let mut fields = Fields { text, map };

    let id = fields.string("id")?;
    if id.contains('|') {
        return Err(fields.error("id", "must not contain `|`: homeservers refuse it"));
    }
    let url = fields.url()?;
    let as_token = fields.token("as_token")?;
    let hs_token = fields.token("hs_token")?;
    if as_token.matches(hs_token.expose()) {
        return Err(fields.error("hs_token", "must differ from as_token"));
    }
    let sender_localpart = fields.string("sender_localpart")?;
    if sender_localpart.starts_with('@') || sender_localpart.contains(':') {
        return Err(fields.error(
            "sender_localpart",
            "is the part between `@` and `:` of a user id, without either",
        ));
    }
    let namespaces = fields.namespaces()?;
    let rate_limited = fields.boolean("rate_limited")?;
    let receive_ephemeral = fields.boolean("receive_ephemeral")?.unwrap_or(false);
    let protocols = fields.strings("protocols")?;

    let unknown: BTreeMap<String, Value> = fields
        .map
        .into_iter()
        .filter_map(|(key, value)| key.as_str().map(|key| (key.to_owned(), value.clone())))
        .collect();
    Ok(Registration {
        id,
        url,
        as_token,
        hs_token,
        sender_localpart,
        namespaces,
        rate_limited,
        protocols,
        receive_ephemeral,
        unknown,
    })
}

struct Fields<'a> {
    text: &'a str,
    map: Mapping,
}

impl Fields<'_> {
    /// The first line that sets `field`, counted from 1.
    fn line_of(&self, field: &str) -> Option<usize> {
        self.text
            .lines()
            .position(|line| {
                let line = line.trim_start();
                let line = line.strip_prefix("- ").unwrap_or(line);
                line.strip_prefix(field)
                    .is_some_and(|rest| rest.trim_start().starts_with(':'))
            })
            .map(|index| index + 1)
    }

    fn error(&self, field: &str, what: impl std::fmt::Display) -> RegistrationError {
        RegistrationError::new(self.line_of(field), format!("`{field}` {what}"))
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field)
    }

    fn string(&mut self, field: &str) -> Result<String, RegistrationError> {
        match self.take(field) {
            None => Err(self.error(field, "is missing: it is a string and required")),
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(self.error(field, "is empty"))
            }
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.error(
                field,
                format!(
                    "must be a string, this is {}: put it in quotes",
                    shape(&other)
                ),
            )),
        }
    }

    fn token(&mut self, field: &str) -> Result<Token, RegistrationError> {
        const SHORTEST: usize = 16;
        let text = self.string(field)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.error(
                field,
                "must be printable ASCII without spaces: it travels in an HTTP header",
            ));
        }
        if text.len() < SHORTEST {
            return Err(self.error(
                field,
                format!(
                    "has {} characters; at least {SHORTEST}, better 64, make it hard to guess \
                     (`openssl rand -hex 32`)",
                    text.len()
                ),
            ));
        }
        Ok(Token::new(text))
    }

    fn url(&mut self) -> Result<Option<String>, RegistrationError> {
        match self.take("url") {
            None => Err(self.error(
                "url",
                "is missing: give the application service's address, or null for no pushes",
            )),
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => match url::Url::parse(&text) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => {
                    Ok(Some(text.trim_end_matches('/').to_owned()))
                }
                _ => Err(self.error("url", "must start with http:// or https://")),
            },
            Some(other) => Err(self.error(
                "url",
                format!("must be a string or null, this is {}", shape(&other)),
            )),
        }
    }

    fn boolean(&mut self, field: &str) -> Result<Option<bool>, RegistrationError> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => boolean(&value).map(Some).ok_or_else(|| {
                self.error(
                    field,
                    format!(
                        "must be true or false without quotes, this is {}",
                        shape(&value)
                    ),
                )
            }),
        }
    }

    fn strings(&mut self, field: &str) -> Result<Vec<String>, RegistrationError> {
        let list = match self.take(field) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Sequence(list)) => list,
            Some(other) => {
                return Err(self.error(
                    field,
                    format!("must be a list of strings, this is {}", shape(&other)),
                ));
            }
        };
        list.into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                other => Err(self.error(field, format!("holds {}; strings only", shape(&other)))),
            })
            .collect()
    }

    fn namespaces(&mut self) -> Result<Namespaces, RegistrationError> {
        let mut map = match self.take("namespaces") {
            None => {
                return Err(self.error("namespaces", "is missing: write `namespaces: {}` for none"));
            }
            Some(Value::Mapping(map)) => map,
            Some(other) => {
                return Err(self.error(
                    "namespaces",
                    format!(
                        "must be a mapping of users, aliases and rooms, this is {}",
                        shape(&other)
                    ),
                ));
            }
        };
        let mut list = |kind: NamespaceKind| -> Result<NamespaceList, RegistrationError> {
            match map.remove(kind.to_string().as_str()) {
                None | Some(Value::Null) => Ok(NamespaceList::default()),
                Some(Value::Sequence(items)) => items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.namespace(kind, index, item))
                    .collect::<Result<_, _>>()
                    .map(NamespaceList::new),
                Some(other) => Err(self.error(
                    &kind.to_string(),
                    format!("must be a list, this is {}", shape(&other)),
                )),
            }
        };
        Ok(Namespaces {
            users: list(NamespaceKind::Users)?,
            aliases: list(NamespaceKind::Aliases)?,
            rooms: list(NamespaceKind::Rooms)?,
        })
    }

    fn namespace(
        &self,
        kind: NamespaceKind,
        index: usize,
        item: &Value,
    ) -> Result<Namespace, RegistrationError> {
        let error = |what: String| {
            RegistrationError::new(
                self.line_of(&kind.to_string()),
                format!("`namespaces.{kind}[{index}]` {what}"),
            )
        };
        let Some(item) = item.as_mapping() else {
            return Err(error(format!(
                "must be a mapping of `exclusive` and `regex`, this is {}",
                shape(item)
            )));
        };
        let exclusive = match item.get("exclusive") {
            None => {
                return Err(error(
                    "lacks `exclusive: true` or `exclusive: false`".to_owned(),
                ));
            }
            Some(value) => boolean(value).ok_or_else(|| {
                error(format!(
                    "has an `exclusive` that must be true or false without quotes, this is {}",
                    shape(value)
                ))
            })?,
        };
        let regex = match item.get("regex") {
            Some(Value::String(regex)) => regex,
            None => return Err(error("lacks `regex`".to_owned())),
            Some(other) => {
                return Err(error(format!(
                    "has a `regex` that must be a string, this is {}",
                    shape(other)
                )));
            }
        };
        Namespace::try_new(exclusive, regex).map_err(|_| {
            error(
                "has a `regex` that can't be read here (look-around, back-references and a \
                 literal `{` work in Python only)"
                    .to_owned(),
            )
        })
    }
}

/// Reads a YAML 1.1 boolean, as homeservers do: `yes` and `on` are true for them.
fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => match text.as_str() {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Names the shape of a value without showing it.
fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a tagged value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../../registration/fhir-bridge.yaml");

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_example_registration_loads_as_it_is() {
        let registration = parse(GOOD).unwrap();
        assert_eq!(registration.id, "FHIR Bridge");
        assert_eq!(registration.rate_limited, None);
        assert!(
            registration
                .namespaces
                .users
                .matches_exclusively("@_fhir_bridge_a:vvt")
        );
        assert!(
            registration
                .namespaces
                .aliases
                .matches("#_fhir_bridge_a:vvt")
        );
        assert!(
            !registration
                .namespaces
                .aliases
                .matches_exclusively("#_fhir_bridge_a:vvt")
        );
        assert!(registration.namespaces.rooms.matches("!any"));
        assert_eq!(registration.namespaces.rooms.iter().count(), 1);
        assert!(registration.unknown.is_empty());
    }

    #[test]
    fn unknown_fields_are_kept() {
        let registration = parse(&format!("{GOOD}\nio.element.msc4190: true\n")).unwrap();
        assert_eq!(
            registration.unknown["io.element.msc4190"],
            Value::Bool(true)
        );
    }

    #[test]
    fn a_fault_is_told_with_line_and_field() {
        for (from, to, line, words) in [
            ("id: FHIR Bridge", "id: a|b", 8, "`id` must not contain"),
            (
                "hs_token: 312",
                "hs_token: null # ",
                11,
                "`hs_token` must be a string, this is null",
            ),
            (
                "as_token: 30c05",
                "as_token: 12345 # ",
                10,
                "`as_token` must be a string, this is a number",
            ),
            (
                "url: http://127.0.0.1:1234",
                "url: localhost",
                9,
                "`url` must start with",
            ),
            (
                "sender_localpart: _fhir",
                "sender_localpart: '@_fhir'",
                12,
                "between `@` and `:`",
            ),
            (
                "exclusive: true",
                "exclusive: 'true'",
                14,
                "`namespaces.users[0]`",
            ),
            (
                "\"#_fhir_bridge_.*\"",
                "\"(?!x)\"",
                17,
                "`namespaces.aliases[0]`",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.line(), Some(line), "{from}: {error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn an_error_never_shows_a_token() {
        let token = "x-secret-canary-token";
        for text in [
            format!("as_token: {token}\nhs_token: [{token}"),
            format!(
                "id: a\nurl: null\nas_token: {token}\nhs_token: {token}\nsender_localpart: a\nnamespaces: {{}}"
            ),
            format!("id: a\nurl: null\nas_token: [{token}]"),
            format!("id: a\nurl: null\nas_token: \"{token}\u{e9}\""),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    #[test]
    fn other_documents_are_refused_in_words() {
        assert!(refused("- a").contains("a list"));
        assert!(refused("").contains("null"));
        assert!(refused("id: [").contains("no YAML"));
        assert!(refused("id: x").contains("`url` is missing"));
    }

    #[test]
    fn booleans_are_read_as_homeservers_read_them() {
        let text = GOOD.replacen("exclusive: true", "exclusive: yes", 1);
        assert!(
            parse(&text)
                .unwrap()
                .namespaces
                .users
                .matches_exclusively("@_fhir_bridge_x:y")
        );
    }
}
