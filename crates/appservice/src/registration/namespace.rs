//! Which ids an application service is interested in, matched as the homeserver matches them.

use std::fmt;

use regex_automata::{Anchored, Input, meta::Regex};

/// What a namespace's ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceKind {
    /// User ids, `@localpart:server`.
    Users,
    /// Room aliases, `#localpart:server`.
    Aliases,
    /// Room ids, `!opaque:server` or, from room version 12, `!opaque`.
    Rooms,
}

impl fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Users => "users",
            Self::Aliases => "aliases",
            Self::Rooms => "rooms",
        })
    }
}

/// One entry of a namespace list.
#[derive(Debug, Clone)]
pub struct Namespace {
    exclusive: bool,
    pattern: String,
    regex: Regex,
}

impl Namespace {
    pub(super) fn try_new(
        exclusive: bool,
        pattern: &str,
    ) -> Result<Self, Box<regex_automata::meta::BuildError>> {
        Ok(Self {
            exclusive,
            pattern: pattern.to_owned(),
            regex: Regex::new(pattern)?,
        })
    }

    /// Whether the homeserver keeps everyone else out of this namespace.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// The regular expression as it stands in the file.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether `id` is in this namespace.
    ///
    /// Synapse matches with Python's `re.match`: anchored at the start, not at the end. So `!*`
    /// ("zero or more `!`") matches every id there is, and so does this.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        self.regex.is_match(Input::new(id).anchored(Anchored::Yes))
    }
}

/// The namespaces of one kind, in the file's order.
#[derive(Debug, Clone, Default)]
pub struct NamespaceList(Vec<Namespace>);

impl NamespaceList {
    pub(super) fn new(list: Vec<Namespace>) -> Self {
        Self(list)
    }

    /// Whether any of them matches `id`.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        self.0.iter().any(|namespace| namespace.matches(id))
    }

    /// Whether any exclusive one matches `id`.
    #[must_use]
    pub fn matches_exclusively(&self, id: &str) -> bool {
        self.0
            .iter()
            .any(|namespace| namespace.exclusive && namespace.matches(id))
    }

    /// The entries, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.0.iter()
    }
}

/// All namespaces of a registration. A list that is absent from the file is empty.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Namespaces {
    /// Users of this homeserver (never of others).
    pub users: NamespaceList,
    /// Room aliases.
    pub aliases: NamespaceList,
    /// Room ids.
    pub rooms: NamespaceList,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        Namespace::try_new(false, pattern).unwrap().matches(id)
    }

    #[test]
    fn patterns_are_anchored_at_the_start_and_not_at_the_end() {
        // Each line's answer is what Python's `re.match` gives.
        for (pattern, id, expected) in [
            ("!*", "!room:vvt", true),
            ("!*", "anything", true),
            ("", "@a:b", true),
            ("!.*", "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", true),
            ("@_fhir_bridge_.*", "@_fhir_bridge_1:vvt", true),
            ("@_fhir_bridge_.*", "x@_fhir_bridge_1:vvt", false),
            ("@_a_.*:vvt", "@_a_1:vvtEVIL", true),
            ("@a|@b", "@b:vvt", true),
            ("@a|@b", "x@b:vvt", false),
            ("@fhir_*", "@fhir:vvt", true),
            ("@_x_.*:one", "@_x_1:two", false),
        ] {
            assert_eq!(matches(pattern, id), expected, "{pattern} on {id}");
        }
    }
}
