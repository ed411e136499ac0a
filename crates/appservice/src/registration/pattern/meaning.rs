//! What a pattern means, in words: which ids it takes.

use std::fmt;

use regex_syntax::{
    ast::{Ast, LiteralKind, RepetitionKind, RepetitionRange},
    hir::{Hir, HirKind, Look},
};

use super::{super::NamespaceKind, Pattern};

/// Which ids a pattern takes. It is matched from the start and not to the end, so what may be empty
/// at the end of a pattern, as `.*`, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// Every id there is.
    Everything,
    /// Every id that begins so.
    BeginsWith(String),
    /// This id only.
    Exactly(String),
    /// Every id that begins with the first, and has the second somewhere behind it.
    BeginsWithThen(String, String),
    /// Every id that begins with the first and ends with the second.
    BeginsAndEndsWith(String, String),
    /// Too much for one sentence; what all its ids begin with.
    Other(String),
}

impl Meaning {
    /// What every id in the namespace begins with; empty when nothing is known.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match self {
            Self::Everything => "",
            Self::BeginsWith(prefix)
            | Self::Exactly(prefix)
            | Self::BeginsWithThen(prefix, _)
            | Self::BeginsAndEndsWith(prefix, _)
            | Self::Other(prefix) => prefix,
        }
    }

    /// Whether it takes every id of this kind: all of them, or all that begin with the kind's sigil.
    pub(in super::super) fn is_all_of(&self, kind: NamespaceKind) -> bool {
        match self {
            Self::Everything => true,
            Self::BeginsWith(prefix) => {
                let mut chars = prefix.chars();
                chars.next() == kind.sigil() && chars.next().is_none()
            }
            _ => false,
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::BeginsWith(prefix) => write!(f, "all that begin with {prefix:?}"),
            Self::Exactly(text) => write!(f, "{text:?} only"),
            Self::BeginsWithThen(prefix, then) => {
                write!(
                    f,
                    "all that begin with {prefix:?} and have {then:?} behind it"
                )
            }
            Self::BeginsAndEndsWith(prefix, end) => {
                write!(f, "all that begin with {prefix:?} and end with {end:?}")
            }
            Self::Other(prefix) if prefix.is_empty() => f.write_str("all that match it"),
            Self::Other(prefix) => write!(f, "those that match it; all begin with {prefix:?}"),
        }
    }
}

impl Pattern {
    pub(in super::super) fn meaning(&self) -> Meaning {
        self.hir()
            .map_or(Meaning::Other(String::new()), |hir| meaning(&hir))
    }

    /// A dot that stands for one character and looks as if it should be a dot: `example.org`.
    pub(in super::super) fn has_unescaped_dot(&self) -> bool {
        self.any(&|ast| match ast {
            Ast::Concat(all) => all.asts.windows(3).any(|three| {
                matches!(three, [Ast::Literal(before), Ast::Dot(_), Ast::Literal(after)]
                    if before.c.is_alphanumeric() && after.c.is_alphanumeric())
            }),
            _ => false,
        })
    }

    /// A star behind a character, as in a shell: `@_irc_*`. It repeats the character.
    pub(in super::super) fn has_glob_star(&self) -> bool {
        self.any(&|ast| match ast {
            Ast::Repetition(repetition) => {
                repetition.op.kind == RepetitionKind::ZeroOrMore
                    && matches!(repetition.ast.as_ref(), Ast::Literal(literal)
                        if literal.kind == LiteralKind::Verbatim)
            }
            _ => false,
        })
    }

    /// Repetitions without end within a repetition without end, as in `(a+)+`: Python tries all ways to
    /// split a text between them, which can take longer than anybody waits.
    pub(in super::super) fn has_nested_repetition(&self) -> bool {
        let endless = |ast: &Ast| match ast {
            Ast::Repetition(repetition) => matches!(
                repetition.op.kind,
                RepetitionKind::ZeroOrMore
                    | RepetitionKind::OneOrMore
                    | RepetitionKind::Range(RepetitionRange::AtLeast(_))
            ),
            _ => false,
        };
        self.any(&|ast| match ast {
            Ast::Repetition(repetition) => endless(ast) && any(&repetition.ast, &endless),
            _ => false,
        })
    }

    fn any(&self, test: &dyn Fn(&Ast) -> bool) -> bool {
        self.ast().is_some_and(|ast| any(&ast, test))
    }
}

/// Whether a part of the pattern passes the test. The parser limits how deep patterns nest.
fn any(ast: &Ast, test: &dyn Fn(&Ast) -> bool) -> bool {
    test(ast)
        || match ast {
            Ast::Repetition(repetition) => any(&repetition.ast, test),
            Ast::Group(group) => any(&group.ast, test),
            Ast::Alternation(list) => list.asts.iter().any(|ast| any(ast, test)),
            Ast::Concat(list) => list.asts.iter().any(|ast| any(ast, test)),
            _ => false,
        }
}

fn meaning(hir: &Hir) -> Meaning {
    let properties = hir.properties();
    if properties.minimum_len() == Some(0) && properties.look_set().is_empty() {
        return Meaning::Everything;
    }
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    // A `^` in front says what holds anyway.
    let parts = match parts.split_first() {
        Some((first, rest)) if is_look(first, Look::Start) => rest,
        _ => parts,
    };
    let needed = parts
        .iter()
        .rposition(|part| !may_be_empty(part))
        .map_or(0, |last| last + 1);
    let parts = &parts[..needed];
    let prefix = parts.first().and_then(literal).unwrap_or_default();
    match parts {
        [] => Meaning::Everything,
        [one] if literal(one).is_some() => Meaning::BeginsWith(prefix),
        [one, end] if literal(one).is_some() && is_look(end, Look::End) => Meaning::Exactly(prefix),
        [one, any, then] if literal(one).is_some() && is_anything(any) => literal(then)
            .map_or(Meaning::Other(prefix.clone()), |then| {
                Meaning::BeginsWithThen(prefix, then)
            }),
        [one, any, then, end]
            if literal(one).is_some() && is_anything(any) && is_look(end, Look::End) =>
        {
            literal(then).map_or(Meaning::Other(prefix.clone()), |then| {
                Meaning::BeginsAndEndsWith(prefix, then)
            })
        }
        _ => Meaning::Other(prefix),
    }
}

fn may_be_empty(hir: &Hir) -> bool {
    hir.properties().minimum_len() == Some(0) && hir.properties().look_set().is_empty()
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

/// `.*`, greedy or not.
fn is_anything(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            repetition.min == 0
                && repetition.max.is_none()
                && *repetition.sub == Hir::dot(regex_syntax::hir::Dot::AnyCharExceptLF)
        }
        _ => false,
    }
}

fn literal(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).ok(),
        HirKind::Capture(capture) => literal(&capture.sub),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_explained() {
        let begins = |text: &str| Meaning::BeginsWith(text.to_owned());
        let other = |text: &str| Meaning::Other(text.to_owned());
        for (pattern, expected) in [
            ("", Meaning::Everything),
            ("!*", Meaning::Everything),
            (".*", Meaning::Everything),
            ("^", Meaning::Everything),
            ("!.*", begins("!")),
            ("@_a_", begins("@_a_")),
            ("@_a_.*", begins("@_a_")),
            ("^@_a_.*?", begins("@_a_")),
            (r"@_a\.b_.*", begins("@_a.b_")),
            ("@_a_*", begins("@_a")),
            ("@a:b$", Meaning::Exactly("@a:b".to_owned())),
            (
                "#a_.*:example",
                Meaning::BeginsWithThen("#a_".to_owned(), ":example".to_owned()),
            ),
            (
                r"#a_.*:example\.org$",
                Meaning::BeginsAndEndsWith("#a_".to_owned(), ":example.org".to_owned()),
            ),
            ("@_a_[0-9]+", other("@_a_")),
            ("@a|#b", other("")),
            ("$", other("")),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().meaning(),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_meaning_holds_for_the_ids_that_it_promises() {
        for (pattern, id) in [
            ("!*", "anything"),
            ("@_a_*", "@_abc:d"),
            ("@_a_.*", "@_a_"),
            ("#a_.*:example", "#a_b:examples"),
        ] {
            assert!(
                Pattern::parse(pattern).unwrap().matches(id),
                "{pattern} on {id}"
            );
        }
    }

    #[test]
    fn repetitions_within_repetitions_are_found() {
        for (pattern, expected) in [
            ("@(a+)+", true),
            ("@(?:a|(?:b*c))*", true),
            ("@(?:a+){2,}", true),
            ("@(?:a+){2}", false),
            ("@[a-z]+:.*", false),
            ("@(ab)*", false),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.has_nested_repetition(), expected, "{pattern:?}");
        }
    }

    #[test]
    fn dots_and_stars_that_look_like_something_else_are_found() {
        for (pattern, dot, star) in [
            ("@_a_.*:example.org", true, false),
            (r"@_a_.*:example\.org", false, false),
            ("@_a_*", false, true),
            ("(?:@_a_*|b)", false, true),
            ("@_a_.*", false, false),
            ("@a.+b", false, false),
            ("@a[._]*", false, false),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.has_unescaped_dot(), dot, "{pattern:?}");
            assert_eq!(pattern.has_glob_star(), star, "{pattern:?}");
        }
    }
}
