//! What namespaces mean, and which of them take an id.

use std::fmt;

use super::{
    super::{Meaning, NamespaceKind, Registration, namespace::field},
    ids, shown,
};

/// One namespace in words. `Display` gives one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explained {
    /// What its ids are.
    pub kind: NamespaceKind,
    /// Its place in its list, counted from 0.
    pub index: usize,
    /// Whether everyone else is kept out.
    pub exclusive: bool,
    /// The regular expression as it stands in the file.
    pub pattern: String,
    /// Which ids it takes.
    pub meaning: Meaning,
}

/// ``namespaces.users[0] `@_irc_.*` takes all that begin with "@_irc_", and keeps everyone else out``
impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} `{}` takes {}{}",
            field(self.kind, self.index),
            shown(&self.pattern),
            ids(&self.meaning, self.kind),
            if self.exclusive {
                ", and keeps everyone else out"
            } else {
                ""
            }
        )
    }
}

/// What [`Lint::explain`](super::Lint::explain) says about some ids. `Display` gives a line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The ids in the order in which they were given.
    pub samples: Vec<Sample>,
}

/// An id, and the namespaces that take it. `Display` gives one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The id.
    pub id: String,
    /// What it is, told by its first character; `None` for what is no id, which nothing takes.
    pub kind: Option<NamespaceKind>,
    /// Whether it is a user id with the sender's localpart: on the homeserver's own name, such a user is
    /// the application service's in any case.
    pub is_sender: bool,
    /// The namespaces of this kind that take it, in the file's order. The first decides whether the id is
    /// exclusive.
    pub matches: Vec<Match>,
}

/// A namespace that takes an id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Match {
    /// Its place in its list, counted from 0.
    pub index: usize,
    /// The regular expression as it stands in the file.
    pub pattern: String,
    /// Whether everyone else is kept out.
    pub exclusive: bool,
    /// The part of the id, from its start on, that the pattern speaks of. What is behind it may be anything.
    pub matched: String,
}

impl Sample {
    pub(super) fn of(registration: &Registration, id: &str) -> Self {
        let kind = NamespaceKind::of(id);
        let matches = kind.map_or_else(Vec::new, |kind| {
            registration
                .namespaces
                .list(kind)
                .iter()
                .enumerate()
                .filter_map(|(index, namespace)| {
                    let len = namespace.pattern.matched_len(id)?;
                    Some(Match {
                        index,
                        pattern: namespace.pattern().to_owned(),
                        exclusive: namespace.is_exclusive(),
                        matched: id.get(..len)?.to_owned(),
                    })
                })
                .collect()
        });
        let localpart = id
            .strip_prefix('@')
            .and_then(|rest| rest.split_once(':'))
            .map(|(localpart, _)| localpart);
        Self {
            id: id.to_owned(),
            kind,
            is_sender: localpart == Some(&registration.sender_localpart),
            matches,
        }
    }

    /// Whether the id is the application service's alone.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.matches.first().is_some_and(|first| first.exclusive)
    }
}

/// ``@_irc_a:b: namespaces.users[0] `@_irc_.*` takes all of it; exclusive``
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", shown(&self.id))?;
        let Some(kind) = self.kind else {
            return f.write_str("no user id, room alias or room id: these begin with @, # and !");
        };
        if self.is_sender {
            f.write_str("the sender, if the server is the homeserver; ")?;
        }
        if self.matches.is_empty() {
            return write!(f, "in no namespace of {kind}");
        }
        for found in &self.matches {
            write!(
                f,
                "{} `{}` takes ",
                field(kind, found.index),
                shown(&found.pattern)
            )?;
            if found.matched == self.id {
                f.write_str("all of it; ")?;
            } else if found.matched.is_empty() {
                f.write_str("it without looking at it; ")?;
            } else {
                write!(f, "it for its start `{}`; ", shown(&found.matched))?;
            }
        }
        f.write_str(if self.is_exclusive() {
            "exclusive"
        } else {
            "not exclusive"
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sample in &self.samples {
            writeln!(f, "{sample}")?;
        }
        Ok(())
    }
}
