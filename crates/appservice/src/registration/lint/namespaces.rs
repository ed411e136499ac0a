//! Patterns that mean something else than they look like.

use super::{
    super::{
        Meaning, Namespace, NamespaceKind, Registration, namespace::field,
        pattern::dialect::Difference,
    },
    finding::{Code, Finding, Severity},
    shown,
};

type Tell<'a> = &'a mut dyn FnMut(Finding);

pub(super) fn check(registration: &Registration, tell: Tell<'_>) {
    let namespaces = &registration.namespaces;
    if namespaces.iter().next().is_none() {
        tell(
            Finding::new(Code::NoNamespaces, Severity::Note, "namespaces")
                .says("is empty: only rooms with the sender in them are pushed, and there are no ghosts")
                .advises("add the users that the application service makes, unless a bot is all it is"),
        );
    }
    for (kind, index, namespace) in namespaces.iter() {
        let one = Checked {
            kind,
            namespace,
            meaning: namespace.pattern.meaning(),
            field: field(kind, index),
        };
        one.breadth(tell);
        one.looks(tell);
        one.place(tell);
        one.engines(tell);
        if namespace.group_id().is_some() {
            tell(
                one.finding(Code::GroupId, Severity::Note)
                    .says("has a `group_id`: communities are gone, so it does nothing")
                    .advises("remove it"),
            );
        }
    }
}

struct Checked<'a> {
    kind: NamespaceKind,
    namespace: &'a Namespace,
    meaning: Meaning,
    field: String,
}

impl Checked<'_> {
    fn finding(&self, code: Code, severity: Severity) -> Finding {
        Finding::new(code, severity, self.field.clone())
    }

    /// How many ids it takes.
    fn breadth(&self, tell: Tell<'_>) {
        let pattern = self.namespace.pattern();
        let sigil = self.kind.sigil();
        if self.meaning == Meaning::Everything {
            let star = sigil.is_some_and(|sigil| pattern == format!("{sigil}*"));
            let why = if star {
                format!(
                    "is `{pattern}`, which means any number of `{}`, also none",
                    sigil.unwrap_or_default()
                )
            } else {
                format!("is `{}`, which may match nothing at all", shown(pattern))
            };
            let advice = match sigil {
                Some(sigil) => format!(
                    "write `{sigil}.*` if you mean every {}, and say which if not",
                    self.kind.one()
                ),
                None => "say which ones".to_owned(),
            };
            tell(
                self.finding(Code::MatchesEverything, Severity::Warning)
                    .says(format!(
                        "{why}: it takes every {}, whatever it is",
                        self.kind.one()
                    ))
                    .advises(advice),
            );
        }
        if self.namespace.is_exclusive() && self.meaning.is_all_of(self.kind) {
            tell(
                self.finding(Code::ExclusiveForAll, Severity::Error)
                    .says(format!(
                        "keeps every {} for the application service: nobody else can have one",
                        self.kind.one()
                    ))
                    .advises("set `exclusive: false`, or a prefix of its own"),
            );
        }
        if let (Some(sigil), Some(first)) = (sigil, self.meaning.prefix().chars().next())
            && first != sigil
        {
            tell(
                self.finding(Code::MatchesNothing, Severity::Warning)
                    .says(format!("takes no {}: they begin with `{sigil}`, and patterns are matched from the start", self.kind.one()))
                    .advises(format!("put `{sigil}` in front")),
            );
        }
    }

    /// What looks like something else.
    fn looks(&self, tell: Tell<'_>) {
        if self.meaning != Meaning::Everything && self.namespace.pattern.has_glob_star() {
            tell(
                self.finding(Code::Glob, Severity::Warning)
                    .says(format!("has a `*` as in a shell; here it repeats the character before it, so that it takes {}", self.meaning))
                    .advises("write `.*` for any text"),
            );
        }
        if self.namespace.pattern.has_unescaped_dot() {
            tell(
                self.finding(Code::UnescapedDot, Severity::Warning)
                    .says("has a dot that stands for any character")
                    .advises(r"write `\.` for a dot (in YAML in single quotes)"),
            );
        }
    }

    /// Whether it says where ids begin and end.
    fn place(&self, tell: Tell<'_>) {
        let server = match &self.meaning {
            Meaning::BeginsWithThen(prefix, then) => prefix.contains(':') || then.contains(':'),
            Meaning::BeginsWith(prefix) => prefix.contains(':'),
            _ => false,
        };
        // Users are only ever those of this homeserver.
        if server && matches!(self.kind, NamespaceKind::Aliases | NamespaceKind::Rooms) {
            tell(
                self.finding(Code::OpenEnd, Severity::Warning)
                    .says("goes on to the server's name, but isn't matched to the end: it takes longer names as well, as `example.org.evil` for `example.org`")
                    .advises("put `$` behind it"),
            );
        }
        let rooms_with_server = self.kind == NamespaceKind::Rooms
            && !self.namespace.pattern.witnesses().is_empty()
            && self
                .namespace
                .pattern
                .witnesses()
                .iter()
                .all(|id| id.contains(':'));
        if rooms_with_server {
            tell(
                self.finding(Code::RoomServer, Severity::Warning)
                    .says("wants a `:` in a room's id: from room version 12 on, ids have no server's name")
                    .advises("name rooms by alias, or take the ids as they are"),
            );
        }
        let prefix = self.meaning.prefix();
        let without_sigil = self
            .kind
            .sigil()
            .and_then(|sigil| prefix.strip_prefix(sigil));
        if self.namespace.is_exclusive()
            && matches!(self.kind, NamespaceKind::Users | NamespaceKind::Aliases)
            && without_sigil.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('_'))
        {
            tell(
                self.finding(Code::NoUnderscore, Severity::Note)
                    .says("is exclusive without a `_` after the sigil: it can collide with people's own names")
                    .advises("the specification wants exclusive names to begin with `_`"),
            );
        }
    }

    /// Whether Python and Rust agree.
    fn engines(&self, tell: Tell<'_>) {
        for difference in self.namespace.pattern.differences() {
            tell(match difference {
                Difference::PosixClass => self
                    .finding(Code::PosixClass, Severity::Warning)
                    .says("has a class as `[[:alnum:]]`, which Python's `re`, and so Synapse, takes for something else: it will hardly match anything")
                    .advises("write `[A-Za-z0-9]`"),
                Difference::Otherwise(what) => self
                    .finding(Code::ReadDifferently, Severity::Warning)
                    .says(format!("has {what}: Python's `re`, which Synapse uses, and Rust's engine, which this library uses, read it differently, or one of them refuses it"))
                    .advises("write it without"),
                Difference::PythonRefuses(what) => self
                    .finding(Code::PythonRefuses, Severity::Error)
                    .says(format!("has {what}: Python's `re` refuses or misreads it, and Synapse doesn't start with it"))
                    .advises("write it without"),
                Difference::BeyondAscii(what) => self
                    .finding(Code::BeyondAscii, Severity::Note)
                    .says(format!("has {what}: Python's `re` and Rust's engine agree on ASCII, and not on all letters beyond"))
                    .advises("list the characters, as `[a-z0-9]`"),
            });
        }
        if self.namespace.pattern.has_nested_repetition() {
            tell(
                self.finding(Code::NestedRepetition, Severity::Note)
                    .says("has a repetition within a repetition: Python's `re` can take the homeserver's time for it, twice as long for each further character of an id")
                    .advises("repeat one class of characters, as `[a-z_]+`"),
            );
        }
        if self.kind == NamespaceKind::Users
            && self.namespace.is_exclusive()
            && self.namespace.pattern.has_global_flags()
        {
            tell(
                self.finding(Code::GlobalFlags, Severity::Error)
                    .says("begins with flags for the whole pattern: Synapse joins the exclusive patterns to one, where flags may stand at the start only, and doesn't start")
                    .advises("write `(?i:…)` around what they are for"),
            );
        }
    }
}
