//! From YAML text to a [`Registration`], one checked field after another.
//!
//! The file is read into loose values first: a YAML reader that is asked for a string turns
//! `hs_token: null` into the text "null" and `12345` into "12345", where a homeserver refuses both.

mod fields;
mod lines;
mod namespaces;
#[cfg(test)]
mod tests;
mod yaml11;

use serde_yaml::Value;

use self::{
    fields::{Fields, shape},
    lines::Lines,
};
use super::{
    NamespaceKind, Registration, RegistrationError, Token, UnknownFields, Unstable,
    namespace::field, origin::Origin, unstable::names,
};

/// Tokens that come from somewhere else than the file. The file's own are not even looked at then.
#[derive(Default)]
pub(super) struct Overrides {
    pub(super) as_token: Option<Token>,
    pub(super) hs_token: Option<Token>,
}

pub(super) fn parse(text: &str, overrides: Overrides) -> Result<Registration, RegistrationError> {
    let lines = Lines::of(text);
    let mut fields = Fields::new(&lines, document(text)?);
    let mut origin = Origin::default();

    let id = fields.string("id")?;
    if id.contains('|') {
        return Err(fields.error("id", "must not contain `|`: homeservers refuse it"));
    }
    let url = fields.url()?;
    let as_token = fields.token("as_token", overrides.as_token, &mut origin)?;
    let hs_token = fields.token("hs_token", overrides.hs_token, &mut origin)?;
    if as_token == hs_token {
        return Err(fields.error("hs_token", "must differ from as_token"));
    }
    let sender_localpart = fields.string("sender_localpart")?;
    if sender_localpart.starts_with('@') || sender_localpart.contains(':') {
        return Err(fields.error(
            "sender_localpart",
            "is the part between `@` and `:` of a user id, without either",
        ));
    }
    let namespaces = namespaces::read(&mut fields)?;
    let rate_limited = fields.boolean("rate_limited")?;
    let receive_ephemeral = fields.boolean("receive_ephemeral")?.unwrap_or(false);
    let protocols = fields.strings("protocols")?;
    let unstable = Unstable {
        msc2409_push_ephemeral: fields.boolean(names::PUSH_EPHEMERAL)?,
        msc3202: fields.boolean(names::MSC3202)?,
        msc4190: fields.boolean(names::MSC4190)?,
        msc4502_scopes: fields.strings(names::SCOPES)?,
        msc4512_proxy_prefix: fields.optional_string(names::PROXY_PREFIX)?,
        msc4512_proxy_url: fields.optional_string(names::PROXY_URL)?,
        ip_range_whitelist: fields.strings(names::IP_RANGES)?,
    };

    for (kind, index, _) in namespaces.iter() {
        origin.lines.extend(
            lines
                .namespace(kind, index)
                .map(|line| (field(kind, index), line)),
        );
    }
    let unknown = UnknownFields::new(fields.rest());
    for name in FIELDS.into_iter().chain(unknown.names()) {
        if !matches!(name, "as_token" | "hs_token") {
            origin
                .lines
                .extend(lines.field(name).map(|line| (name.to_owned(), line)));
        }
    }
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
        unstable,
        unknown,
        accepted_too: Vec::new(),
        origin,
    })
}

/// The fields that the library knows, in the order in which they are written.
pub(super) const FIELDS: [&str; 16] = [
    "id",
    "url",
    "as_token",
    "hs_token",
    "sender_localpart",
    "namespaces",
    "rate_limited",
    "protocols",
    "receive_ephemeral",
    names::PUSH_EPHEMERAL,
    names::MSC3202,
    names::MSC4190,
    names::SCOPES,
    names::PROXY_PREFIX,
    names::PROXY_URL,
    names::IP_RANGES,
];

fn document(text: &str) -> Result<serde_yaml::Mapping, RegistrationError> {
    let no_yaml = |error: &serde_yaml::Error| {
        // The reader's own words may show what stands in the file, so they are not passed on.
        let what = if error.to_string().contains("duplicate entry") {
            "a field stands here twice"
        } else {
            "this is no YAML: check indentation and quotes here"
        };
        RegistrationError::new(what).in_line(error.location().map(|location| location.line()))
    };
    let mut value: Value = serde_yaml::from_str(text).map_err(|error| no_yaml(&error))?;
    value.apply_merge().map_err(|error| no_yaml(&error))?;
    match value {
        Value::Mapping(map) => Ok(map),
        other => Err(RegistrationError::new(format!(
            "a registration is a mapping of fields (`id: …`, `url: …`), this is {}",
            shape(&other)
        ))),
    }
}

/// The line of a namespace list, for what is wrong with all of it.
fn line_of_list(lines: &Lines<'_>, kind: NamespaceKind) -> Option<usize> {
    lines.namespaces(kind).or_else(|| lines.field("namespaces"))
}
