//! Which ids an application service is interested in, matched as the homeserver matches them.

use std::fmt;

use super::{RegistrationError, UnknownFields, pattern::Pattern, unstable::names};

/// What a namespace's ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NamespaceKind {
    /// User ids, `@localpart:server`.
    Users,
    /// Room aliases, `#localpart:server`.
    Aliases,
    /// Room ids, `!opaque:server` or, from room version 12, `!opaque`.
    Rooms,
    /// Addresses of web pages that the application service makes previews for (MSC4417, unstable).
    PreviewUrls,
}

impl NamespaceKind {
    /// All of them, in the order of the file.
    pub const ALL: [Self; 4] = [Self::Users, Self::Aliases, Self::Rooms, Self::PreviewUrls];

    /// The kind of this id, told by its first character; `None` for what is no id.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        match id.chars().next()? {
            '@' => Some(Self::Users),
            '#' => Some(Self::Aliases),
            '!' => Some(Self::Rooms),
            _ if id.starts_with("http://") || id.starts_with("https://") => Some(Self::PreviewUrls),
            _ => None,
        }
    }

    /// What its ids begin with: `@`, `#` or `!`.
    #[must_use]
    pub fn sigil(self) -> Option<char> {
        match self {
            Self::Users => Some('@'),
            Self::Aliases => Some('#'),
            Self::Rooms => Some('!'),
            Self::PreviewUrls => None,
        }
    }

    /// The name of one of its ids in a sentence.
    pub(super) fn one(self) -> &'static str {
        match self {
            Self::Users => "user id",
            Self::Aliases => "room alias",
            Self::Rooms => "room id",
            Self::PreviewUrls => "address",
        }
    }
}

/// The list's name in the file.
impl fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Users => "users",
            Self::Aliases => "aliases",
            Self::Rooms => "rooms",
            Self::PreviewUrls => names::PREVIEW_URLS,
        })
    }
}

/// One entry of a namespace list.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    pub(super) exclusive: bool,
    pub(super) pattern: Pattern,
    pub(super) group_id: Option<String>,
    pub(super) unknown: UnknownFields,
}

impl Namespace {
    /// A namespace from its regular expression.
    ///
    /// ```
    /// use matrix_appservice::registration::Namespace;
    ///
    /// let ghosts = Namespace::parse(true, "@_irc_.*")?;
    /// assert!(ghosts.matches("@_irc_alice:example.org"));
    ///
    /// let error = Namespace::parse(true, "@(?!_irc_).*").unwrap_err();
    /// assert!(error.to_string().contains("Python"));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the pattern can't be read here. Python's `re`, which Synapse uses, reads look-around,
    /// back-references, `\Z` and a literal `{`; the engine of this library doesn't, and a pattern that
    /// only one of the two can read would let them disagree about whose an id is.
    pub fn parse(exclusive: bool, pattern: &str) -> Result<Self, RegistrationError> {
        Ok(Self {
            exclusive,
            pattern: Pattern::parse(pattern)?,
            group_id: None,
            unknown: UnknownFields::default(),
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
        self.pattern.as_str()
    }

    /// `group_id`: a community that ghosts were put in. Communities are gone, so this does nothing;
    /// it is kept for the files that still have it.
    #[must_use]
    pub fn group_id(&self) -> Option<&str> {
        self.group_id.as_deref()
    }

    /// Fields of this entry that the library doesn't know.
    #[must_use]
    pub fn unknown(&self) -> &UnknownFields {
        &self.unknown
    }

    /// Whether `id` is in this namespace.
    ///
    /// Synapse matches with Python's `re.match`: anchored at the start, not at the end. So `!*`
    /// ("zero or more `!`") matches every id there is, and so does this.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        self.pattern.matches(id)
    }
}

/// The namespaces of one kind, in the file's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NamespaceList(Vec<Namespace>);

impl FromIterator<Namespace> for NamespaceList {
    fn from_iter<I: IntoIterator<Item = Namespace>>(list: I) -> Self {
        Self(list.into_iter().collect())
    }
}

impl NamespaceList {
    /// Whether any of them matches `id`.
    #[must_use]
    pub fn matches(&self, id: &str) -> bool {
        self.first_match(id).is_some()
    }

    /// The first of them that matches `id`: the one that decides whether it is exclusive.
    #[must_use]
    pub fn first_match(&self, id: &str) -> Option<&Namespace> {
        self.0.iter().find(|namespace| namespace.matches(id))
    }

    /// Whether `id` belongs to the application service alone. As in Synapse, the first entry that
    /// matches decides, so that an entry that isn't exclusive hides exclusive ones behind it.
    #[must_use]
    pub fn matches_exclusively(&self, id: &str) -> bool {
        self.first_match(id).is_some_and(Namespace::is_exclusive)
    }

    /// The entries, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// All namespaces of a registration. A list that is absent from the file is empty.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Namespaces {
    /// Users of this homeserver (never of others).
    pub users: NamespaceList,
    /// Room aliases.
    pub aliases: NamespaceList,
    /// Room ids.
    pub rooms: NamespaceList,
    /// `uk.half-shot.msc4417.preview_urls` (unstable): web pages that it makes previews for.
    pub preview_urls: NamespaceList,
    /// Lists that the library doesn't know.
    pub unknown: UnknownFields,
}

impl Namespaces {
    /// The list of one kind.
    #[must_use]
    pub fn list(&self, kind: NamespaceKind) -> &NamespaceList {
        match kind {
            NamespaceKind::Users => &self.users,
            NamespaceKind::Aliases => &self.aliases,
            NamespaceKind::Rooms => &self.rooms,
            NamespaceKind::PreviewUrls => &self.preview_urls,
        }
    }

    pub(super) fn list_mut(&mut self, kind: NamespaceKind) -> &mut NamespaceList {
        match kind {
            NamespaceKind::Users => &mut self.users,
            NamespaceKind::Aliases => &mut self.aliases,
            NamespaceKind::Rooms => &mut self.rooms,
            NamespaceKind::PreviewUrls => &mut self.preview_urls,
        }
    }

    /// Every entry with its kind and its place in its list.
    pub fn iter(&self) -> impl Iterator<Item = (NamespaceKind, usize, &Namespace)> {
        NamespaceKind::ALL.into_iter().flat_map(|kind| {
            self.list(kind)
                .iter()
                .enumerate()
                .map(move |(index, namespace)| (kind, index, namespace))
        })
    }
}

/// An entry's name in errors and findings.
pub(super) fn field(kind: NamespaceKind, index: usize) -> String {
    format!("namespaces.{kind}[{index}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_matches_decides_about_exclusivity() {
        let open = Namespace::parse(false, "@_a_open_.*").unwrap();
        let closed = Namespace::parse(true, "@_a_.*").unwrap();
        let list: NamespaceList = [open, closed].into_iter().collect();
        assert!(list.matches("@_a_open_1:vvt"));
        assert!(!list.matches_exclusively("@_a_open_1:vvt"));
        assert!(list.matches_exclusively("@_a_1:vvt"));
        assert!(!list.matches_exclusively("@b:vvt"));
    }

    #[test]
    fn the_kind_of_an_id_is_told_by_its_first_character() {
        for (id, kind) in [
            ("@a:b", Some(NamespaceKind::Users)),
            ("#a:b", Some(NamespaceKind::Aliases)),
            ("!a", Some(NamespaceKind::Rooms)),
            ("https://example.org/", Some(NamespaceKind::PreviewUrls)),
            ("a:b", None),
            ("", None),
        ] {
            assert_eq!(NamespaceKind::of(id), kind, "{id}");
        }
    }
}
