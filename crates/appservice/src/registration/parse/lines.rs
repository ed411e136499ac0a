//! Where a field stands in the file.
//!
//! The YAML reader gives values without their places, so these are looked up in the text: a best effort,
//! for people. Files with one field per line, which is how registrations are written, are told exactly.

use std::ops::Range;

use super::super::NamespaceKind;

pub(super) struct Lines<'a>(Vec<&'a str>);

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self(text.lines().collect())
    }

    /// The line of a field, counted from 1.
    pub(super) fn field(&self, name: &str) -> Option<usize> {
        self.top_level(name)
            .or_else(|| {
                (0..self.0.len()).find(|index| value_in_flow(self.0[*index], name).is_some())
            })
            .map(|index| index + 1)
    }

    /// What stands behind the field's colon when it has neither quotes nor lines of its own.
    pub(super) fn plain_value(&self, name: &str) -> Option<&'a str> {
        plain(value(self.0[self.top_level(name)?], name)?)
    }

    /// Whether the field's value stands in quotes.
    pub(super) fn is_quoted(&self, name: &str) -> bool {
        self.top_level(name)
            .and_then(|index| value(self.0[index], name))
            .is_some_and(|value| value.starts_with(['"', '\'']))
    }

    /// The line of a list of namespaces, counted from 1.
    pub(super) fn namespaces(&self, kind: NamespaceKind) -> Option<usize> {
        self.list(kind).map(|index| index + 1)
    }

    /// The line in which an entry of a list of namespaces begins, counted from 1.
    pub(super) fn namespace(&self, kind: NamespaceKind, index: usize) -> Option<usize> {
        self.entry(kind, index)
            .map(|lines| lines.start + 1)
            .or_else(|| self.namespaces(kind))
    }

    /// The line of a field of an entry, counted from 1.
    pub(super) fn within_namespace(
        &self,
        kind: NamespaceKind,
        index: usize,
        name: &str,
    ) -> Option<usize> {
        self.entry(kind, index)?
            .find(|line| self.in_entry(*line, name).is_some())
            .map(|line| line + 1)
    }

    /// Whether the value of an entry's field stands in quotes.
    pub(super) fn is_quoted_in_namespace(
        &self,
        kind: NamespaceKind,
        index: usize,
        name: &str,
    ) -> bool {
        self.entry(kind, index)
            .and_then(|mut lines| lines.find_map(|line| self.in_entry(line, name)))
            .is_some_and(|value| value.starts_with(['"', '\'']))
    }

    fn top_level(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|line| value(line, name).is_some())
    }

    fn list(&self, kind: NamespaceKind) -> Option<usize> {
        let start = self.top_level("namespaces")?;
        let name = kind.to_string();
        let end = self.end_of_block(start);
        (start + 1..end)
            .find(|index| value(self.0[*index].trim_start(), &name).is_some())
            .or_else(|| value_in_flow(self.0[start], &name).map(|_| start))
    }

    /// The lines of one entry.
    fn entry(&self, kind: NamespaceKind, index: usize) -> Option<Range<usize>> {
        let start = self.list(kind)?;
        let first = (start + 1..self.0.len()).find(|index| !is_blank(self.0[*index]))?;
        let indent = indent_of(self.0[first]);
        let is_dash = |line: &str| line.trim_start().starts_with('-');
        if !is_dash(self.0[first]) || indent < indent_of(self.0[start]) {
            return None;
        }
        let end = (first..self.0.len())
            .find(|index| {
                let line = self.0[*index];
                !is_blank(line)
                    && (indent_of(line) < indent || (indent_of(line) == indent && !is_dash(line)))
            })
            .unwrap_or(self.0.len());
        let starts: Vec<usize> = (first..end)
            .filter(|index| indent_of(self.0[*index]) == indent && is_dash(self.0[*index]))
            .collect();
        let from = *starts.get(index)?;
        Some(from..starts.get(index + 1).copied().unwrap_or(end))
    }

    fn in_entry(&self, line: usize, name: &str) -> Option<&'a str> {
        let line = self.0[line].trim_start();
        let line = line.strip_prefix('-').unwrap_or(line).trim_start();
        value(line, name).or_else(|| value_in_flow(line, name))
    }

    /// The line behind a block that begins with this one.
    fn end_of_block(&self, start: usize) -> usize {
        (start + 1..self.0.len())
            .find(|index| {
                let line = self.0[*index];
                !is_blank(line) && indent_of(line) == 0 && !line.starts_with('-')
            })
            .unwrap_or(self.0.len())
    }
}

/// What stands behind `name:` in a line that begins with it, quoted or not.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = ["\"", "'", ""].into_iter().find_map(|quote| {
        line.strip_prefix(quote)?
            .strip_prefix(name)?
            .strip_prefix(quote)
    })?;
    let rest = rest.trim_start().strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// What stands behind `name:` within `{…}`.
fn value_in_flow<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    line.match_indices(['{', ',', ' '])
        .map(|(index, before)| line[index + before.len()..].trim_start())
        .find_map(|rest| value(rest, name))
}

/// The value without its comment, when it is a scalar without quotes.
fn plain(value: &str) -> Option<&str> {
    let value = value.split(" #").next().unwrap_or(value).trim();
    (!value.is_empty() && !value.starts_with(['"', '\'', '|', '>', '&', '*', '!', '[', '{', '#']))
        .then_some(value)
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r##"# id: not this one
other:
  id: nor this one
id: a # a comment
namespaces:
  users:
    - exclusive: true
      regex: "@_a_.*"

    # a comment
    - regex: "@_b_.*"
      exclusive: 'true'
  aliases:
  - {exclusive: "yes", regex: "#x"}
  rooms: []
"url": "x"
"##;

    #[test]
    fn fields_and_entries_are_found_in_a_block() {
        let lines = Lines::of(TEXT);
        assert_eq!(lines.field("id"), Some(4));
        assert_eq!(lines.plain_value("id"), Some("a"));
        assert_eq!(lines.field("url"), Some(16));
        assert_eq!(lines.plain_value("url"), None);
        assert_eq!(lines.field("regexes"), None);
        let users = NamespaceKind::Users;
        assert_eq!(lines.namespace(users, 0), Some(7));
        assert_eq!(lines.namespace(users, 1), Some(11));
        assert_eq!(lines.within_namespace(users, 0, "regex"), Some(8));
        assert_eq!(lines.within_namespace(users, 1, "exclusive"), Some(12));
        assert!(!lines.is_quoted_in_namespace(users, 0, "exclusive"));
        assert!(lines.is_quoted_in_namespace(users, 1, "exclusive"));
        let aliases = NamespaceKind::Aliases;
        assert_eq!(lines.namespace(aliases, 0), Some(14));
        assert!(lines.is_quoted_in_namespace(aliases, 0, "exclusive"));
        assert_eq!(lines.namespaces(NamespaceKind::Rooms), Some(15));
        assert_eq!(lines.namespace(NamespaceKind::PreviewUrls, 0), None);
    }

    #[test]
    fn a_document_in_one_line_is_all_in_this_line() {
        let lines = Lines::of("{id: a, namespaces: {users: []}}");
        assert_eq!(lines.field("id"), Some(1));
        assert_eq!(lines.plain_value("id"), None);
    }
}
