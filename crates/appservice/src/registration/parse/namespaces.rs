//! The `namespaces` of the file.

use serde_yaml::{Mapping, Value};

use super::{
    super::{
        Namespace, NamespaceKind, Namespaces, RegistrationError, UnknownFields,
        namespace::{NamespaceList, field},
        pattern::Pattern,
    },
    fields::{Fields, boolean, shape},
    line_of_list,
    lines::Lines,
};

pub(super) fn read(fields: &mut Fields<'_>) -> Result<Namespaces, RegistrationError> {
    let mut map = match fields.take("namespaces") {
        None => {
            return Err(fields.error("namespaces", "is missing: write `namespaces: {}` for none"));
        }
        Some(Value::Mapping(map)) => map,
        Some(other) => {
            return Err(fields.error(
                "namespaces",
                format!(
                    "must be a mapping of users, aliases and rooms, this is {}",
                    shape(&other)
                ),
            ));
        }
    };
    let lines = fields.lines;
    Ok(Namespaces {
        users: list(lines, &mut map, NamespaceKind::Users)?,
        aliases: list(lines, &mut map, NamespaceKind::Aliases)?,
        rooms: list(lines, &mut map, NamespaceKind::Rooms)?,
        preview_urls: list(lines, &mut map, NamespaceKind::PreviewUrls)?,
        unknown: UnknownFields::new(map),
    })
}

fn list(
    lines: &Lines<'_>,
    map: &mut Mapping,
    kind: NamespaceKind,
) -> Result<NamespaceList, RegistrationError> {
    match map.shift_remove(kind.to_string().as_str()) {
        None => Ok(NamespaceList::default()),
        Some(Value::Sequence(items)) => items
            .into_iter()
            .enumerate()
            .map(|(index, item)| entry(lines, kind, index, item))
            .collect(),
        Some(other) => Err(RegistrationError::new(format!(
            "must be a list, this is {}: write `{kind}: []` for none",
            shape(&other)
        ))
        .in_field(format!("namespaces.{kind}"))
        .in_line(line_of_list(lines, kind))),
    }
}

fn entry(
    lines: &Lines<'_>,
    kind: NamespaceKind,
    index: usize,
    item: Value,
) -> Result<Namespace, RegistrationError> {
    let place = |error: RegistrationError, part: &str| {
        let line = lines
            .within_namespace(kind, index, part)
            .or_else(|| lines.namespace(kind, index))
            .or_else(|| line_of_list(lines, kind));
        error.in_field(field(kind, index)).in_line(line)
    };
    let error = |part: &str, what: String| place(RegistrationError::new(what), part);

    let Value::Mapping(mut item) = item else {
        return Err(error(
            "",
            format!(
                "must be a mapping of `exclusive` and `regex`, this is {}",
                shape(&item)
            ),
        ));
    };
    let exclusive = match item.shift_remove("exclusive") {
        None => {
            return Err(error(
                "",
                "lacks `exclusive: true` or `exclusive: false`".to_owned(),
            ));
        }
        Some(value) => {
            let quoted = lines.is_quoted_in_namespace(kind, index, "exclusive");
            boolean(&value, quoted).ok_or_else(|| {
                error(
                    "exclusive",
                    format!(
                        "has an `exclusive` that must be true or false without quotes, this is {}",
                        shape(&value)
                    ),
                )
            })?
        }
    };
    let regex = match item.shift_remove("regex") {
        Some(Value::String(regex)) => regex,
        None => return Err(error("", "lacks `regex`".to_owned())),
        Some(other) => {
            return Err(error(
                "regex",
                format!(
                    "has a `regex` that must be a string, this is {}: put it in quotes",
                    shape(&other)
                ),
            ));
        }
    };
    let group_id = match item.shift_remove("group_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(group)) => Some(group),
        Some(other) => {
            return Err(error(
                "group_id",
                format!(
                    "has a `group_id` that must be a string, this is {}",
                    shape(&other)
                ),
            ));
        }
    };
    Ok(Namespace {
        exclusive,
        pattern: Pattern::parse(&regex).map_err(|error| place(error, "regex"))?,
        group_id,
        unknown: UnknownFields::new(item),
    })
}
