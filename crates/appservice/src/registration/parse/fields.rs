//! Takes one field after another out of the file, and says what is wrong with it.

use std::fmt;

use serde_yaml::{Mapping, Value};

use super::{
    super::{RegistrationError, Token, origin::Origin},
    lines::Lines,
    yaml11,
};

pub(super) struct Fields<'a> {
    pub(super) lines: &'a Lines<'a>,
    map: Mapping,
}

impl<'a> Fields<'a> {
    pub(super) fn new(lines: &'a Lines<'a>, map: Mapping) -> Self {
        Self { lines, map }
    }

    /// What nobody took.
    pub(super) fn rest(self) -> Mapping {
        self.map
    }

    pub(super) fn error(&self, field: &str, what: impl fmt::Display) -> RegistrationError {
        RegistrationError::new(what.to_string())
            .in_field(field)
            .in_line(self.lines.field(field))
    }

    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.map.shift_remove(field)
    }

    pub(super) fn string(&mut self, field: &str) -> Result<String, RegistrationError> {
        match self.take(field) {
            None => Err(self.error(field, "is missing: it is a string and required")),
            Some(value) => self.text(field, value),
        }
    }

    pub(super) fn optional_string(
        &mut self,
        field: &str,
    ) -> Result<Option<String>, RegistrationError> {
        match self.take(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => self.text(field, value).map(Some),
        }
    }

    /// A string, and one for homeservers as well: their YAML reads `yes` and `1_000` otherwise.
    fn text(&self, field: &str, value: Value) -> Result<String, RegistrationError> {
        let Value::String(text) = value else {
            return Err(self.error(
                field,
                format!(
                    "must be a string, this is {}: put it in quotes",
                    shape(&value)
                ),
            ));
        };
        if text.trim().is_empty() {
            return Err(self.error(field, "is empty"));
        }
        match self.lines.plain_value(field).and_then(yaml11::read_as) {
            None => Ok(text),
            Some(shape) => Err(self.error(
                field,
                format!("must be a string, homeservers read this as {shape}: put it in quotes"),
            )),
        }
    }

    /// The token of the file, or the one that comes from elsewhere; the line where it stands.
    pub(super) fn token(
        &mut self,
        field: &str,
        instead: Option<Token>,
        origin: &mut Origin,
    ) -> Result<Token, RegistrationError> {
        if let Some(token) = instead {
            self.take(field);
            return Ok(token);
        }
        let text = self.string(field)?;
        let line = self.lines.field(field);
        origin
            .lines
            .extend(line.map(|line| (field.to_owned(), line)));
        Token::parse(text).map_err(|error| error.in_field(field).in_line(line))
    }

    pub(super) fn url(&mut self) -> Result<Option<String>, RegistrationError> {
        match self.take("url") {
            None => Err(self.error(
                "url",
                "is missing: give the application service's address, or null for no pushes",
            )),
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => match url::Url::parse(&text) {
                Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                    Err(self.error("url", "must start with http:// or https://"))
                }
                Ok(url) if url.query().is_some() || url.fragment().is_some() => Err(self.error(
                    "url",
                    "must have no `?` and no `#`: the homeserver writes its paths behind it",
                )),
                Ok(_) => Ok(Some(text.trim_end_matches('/').to_owned())),
                Err(_) => Err(self.error("url", "must start with http:// or https://")),
            },
            Some(other) => Err(self.error(
                "url",
                format!("must be a string or null, this is {}", shape(&other)),
            )),
        }
    }

    pub(super) fn boolean(&mut self, field: &str) -> Result<Option<bool>, RegistrationError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        boolean(&value, self.lines.is_quoted(field))
            .map(Some)
            .ok_or_else(|| {
                self.error(
                    field,
                    format!(
                        "must be true or false without quotes, this is {}",
                        shape(&value)
                    ),
                )
            })
    }

    pub(super) fn strings(&mut self, field: &str) -> Result<Vec<String>, RegistrationError> {
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
                other => Err(self.error(
                    field,
                    format!("holds {}; strings only, in quotes", shape(&other)),
                )),
            })
            .collect()
    }
}

/// Reads a YAML 1.1 boolean, as homeservers do: `yes` and `on` are true for them, `"yes"` is not.
pub(super) fn boolean(value: &Value, quoted: bool) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if !quoted => yaml11::boolean(text),
        _ => None,
    }
}

/// Names the shape of a value without showing it.
pub(super) fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "a YAML tag",
    }
}
