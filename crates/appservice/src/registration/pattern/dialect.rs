//! Where Python's `re` and Rust's regex engine read one pattern differently.
//!
//! Both accept most patterns and mean the same by them. What is told here is the rest, from the pattern's
//! own text; `tests/registration_python.rs` holds it against a real Python: a pattern without a
//! difference is accepted by both, and both give the same answers.

use regex_syntax::ast::{
    Assertion, AssertionKind, Ast, ClassBracketed, ClassSet, ClassSetItem, Flag, Flags,
    FlagsItemKind, Group, GroupKind, HexLiteralKind, Literal, LiteralKind, Repetition,
};

use super::Pattern;

/// One thing that the engines don't agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Difference {
    /// `[[:alnum:]]`: a class of characters here, something else and mostly nothing in Python.
    PosixClass,
    /// Both accept it, and mean different things.
    Otherwise(&'static str),
    /// Python refuses it, and with it the whole registration.
    PythonRefuses(&'static str),
    /// They agree on ASCII, and not on everything beyond.
    BeyondAscii(&'static str),
}

impl Pattern {
    /// What the engines don't agree on, each once.
    pub(in super::super) fn differences(&self) -> Vec<Difference> {
        let mut reader = Reader {
            text: &self.text,
            found: Vec::new(),
        };
        if let Some(ast) = self.ast() {
            reader.read(&ast);
        }
        reader.found.sort_unstable();
        reader.found.dedup();
        reader.found
    }

    /// Whether it begins with flags for the whole pattern, as in `(?i)@_a_.*`.
    pub(in super::super) fn has_global_flags(&self) -> bool {
        self.ast().is_some_and(|ast| begins_with_flags(&ast))
    }
}

fn begins_with_flags(ast: &Ast) -> bool {
    let first = match ast {
        Ast::Flags(_) => return true,
        Ast::Concat(all) => all.asts.first(),
        Ast::Alternation(any) => any.asts.first(),
        _ => None,
    };
    first.is_some_and(begins_with_flags)
}

/// Walks down a pattern. The parser limits how deep patterns nest, so recursion ends.
struct Reader<'a> {
    text: &'a str,
    found: Vec<Difference>,
}

impl Reader<'_> {
    fn otherwise(&mut self, what: &'static str) {
        self.found.push(Difference::Otherwise(what));
    }

    fn refused(&mut self, what: &'static str) {
        self.found.push(Difference::PythonRefuses(what));
    }

    fn beyond_ascii(&mut self, what: &'static str) {
        self.found.push(Difference::BeyondAscii(what));
    }

    fn read(&mut self, ast: &Ast) {
        match ast {
            Ast::Empty(_) | Ast::Dot(_) => {}
            Ast::Flags(flags) => {
                if flags.span.start.offset > 0 {
                    self.refused("flags that don't stand at the start (`a(?i)b`)");
                }
                self.flags(&flags.flags, true);
            }
            Ast::Literal(literal) => self.literal(literal),
            Ast::Assertion(assertion) => self.assertion(assertion),
            Ast::ClassUnicode(_) => self.refused(r"`\p`"),
            Ast::ClassPerl(_) => self.beyond_ascii(r"`\d`, `\w` or `\s`"),
            Ast::ClassBracketed(class) => self.class(class),
            Ast::Repetition(repetition) => self.repetition(repetition),
            Ast::Group(group) => self.group(group),
            Ast::Alternation(any) => any.asts.iter().for_each(|ast| self.read(ast)),
            Ast::Concat(all) => all.asts.iter().for_each(|ast| self.read(ast)),
        }
    }

    fn flags(&mut self, flags: &Flags, global: bool) {
        let mut negated = false;
        for item in &flags.items {
            match item.kind {
                FlagsItemKind::Negation => negated = true,
                FlagsItemKind::Flag(flag) => match flag {
                    Flag::CaseInsensitive => self.beyond_ascii("`(?i)`"),
                    Flag::MultiLine | Flag::DotMatchesNewLine => {}
                    Flag::Unicode => self.refused("the flag `u` within a pattern"),
                    Flag::IgnoreWhitespace => self.otherwise("the flag `x`"),
                    Flag::SwapGreed | Flag::CRLF => self.refused("the flags `U` and `R`"),
                },
            }
        }
        if global && negated {
            self.refused("switching a flag off for the whole pattern");
        }
    }

    fn literal(&mut self, literal: &Literal) {
        if let LiteralKind::HexBrace(kind) = &literal.kind {
            match kind {
                HexLiteralKind::X => self.refused(r"`\x{…}`"),
                HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong => {
                    self.refused(r"`\u{…}`");
                }
            }
        }
    }

    fn assertion(&mut self, assertion: &Assertion) {
        match assertion.kind {
            AssertionKind::StartLine | AssertionKind::EndLine | AssertionKind::StartText => {}
            AssertionKind::EndText => self.refused(r"`\z` (before version 3.14)"),
            AssertionKind::WordBoundary | AssertionKind::NotWordBoundary => {
                self.beyond_ascii(r"`\b` or `\B`");
            }
            _ => self.otherwise(r"`\<`, `\>` and `\b{…}`"),
        }
    }

    fn class(&mut self, class: &ClassBracketed) {
        let text = self.slice(class.span.start.offset, class.span.end.offset);
        let inner = text.strip_prefix('[').unwrap_or(text);
        let inner = inner.strip_prefix('^').unwrap_or(inner);
        if inner.starts_with("--") || inner.starts_with("]-") {
            self.otherwise("`--` or `]-` at the start of a class");
        }
        self.set(&class.kind);
    }

    fn set(&mut self, set: &ClassSet) {
        match set {
            ClassSet::BinaryOp(_) => self.otherwise("`&&`, `--` and `~~` within a class"),
            ClassSet::Item(item) => self.item(item),
        }
    }

    fn item(&mut self, item: &ClassSetItem) {
        match item {
            ClassSetItem::Empty(_) => {}
            ClassSetItem::Literal(literal) => self.literal(literal),
            ClassSetItem::Range(range) => {
                self.literal(&range.start);
                self.literal(&range.end);
            }
            ClassSetItem::Ascii(_) => self.found.push(Difference::PosixClass),
            ClassSetItem::Unicode(_) => self.refused(r"`\p`"),
            ClassSetItem::Perl(_) => self.beyond_ascii(r"`\d`, `\w` or `\s`"),
            ClassSetItem::Bracketed(_) => self.otherwise("a class within a class"),
            ClassSetItem::Union(union) => union.items.iter().for_each(|item| self.item(item)),
        }
    }

    fn repetition(&mut self, repetition: &Repetition) {
        match repetition.ast.as_ref() {
            Ast::Repetition(_) => {
                self.refused(
                    "two quantifiers in a row (`a**`, or `a*+`, which means something else)",
                );
            }
            Ast::Assertion(_) => self.refused("a quantifier behind `^`, `$` or `\\b`"),
            _ => {}
        }
        let op = repetition.op.span;
        if self
            .slice(op.start.offset, op.end.offset)
            .contains(char::is_whitespace)
        {
            self.otherwise("spaces within `{…}`");
        }
        self.read(&repetition.ast);
    }

    fn group(&mut self, group: &Group) {
        match &group.kind {
            GroupKind::CaptureIndex(_) => {}
            GroupKind::CaptureName {
                starts_with_p,
                name,
            } => {
                let plain = name
                    .name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                if !starts_with_p || !plain {
                    self.refused("a group's name written `(?<name>…)`, or with more than letters");
                }
            }
            GroupKind::NonCapturing(flags) => self.flags(flags, false),
        }
        self.read(&group.ast);
    }

    fn slice(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(pattern: &str) -> String {
        Pattern::parse(pattern)
            .unwrap()
            .differences()
            .iter()
            .map(|difference| match difference {
                Difference::PosixClass => 'P',
                Difference::Otherwise(_) => 'O',
                Difference::PythonRefuses(_) => 'R',
                Difference::BeyondAscii(_) => 'A',
            })
            .collect()
    }

    #[test]
    fn what_the_engines_read_differently_is_found() {
        for (pattern, expected) in [
            ("@_a_.*", ""),
            ("!*", ""),
            (r"@_a\.b_[a-z0-9._=/-]+:example\.org$", ""),
            ("(?i)@_a_.*", "A"),
            ("(?:@_a|@_b)_.{1,3}", ""),
            ("(?P<who>@_a).*", ""),
            ("@[[:alnum:]]+", "P"),
            (r"@\w+", "A"),
            ("@[a-z&&[^b]]", "O"),
            ("@[a-z--b]", "O"),
            ("@[--a]", "O"),
            ("@[]-a]", "O"),
            ("@[^]-a]", "O"),
            ("@[a[b]]", "O"),
            (r"@\p{L}", "R"),
            (r"@a\z", "R"),
            (r"@\x{41}", "R"),
            ("(?<who>@_a).*", "R"),
            ("@_a**", "R"),
            ("@_a*+", "R"),
            ("^*@a", "R"),
            ("@a(?i)b", "RA"),
            ("(?U)@a+", "R"),
            ("(?x)@ a", "O"),
            (r"@\<a", "O"),
            (r"@a{ 2 }", "O"),
        ] {
            assert_eq!(kinds(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn flags_for_the_whole_pattern_are_found() {
        for (pattern, expected) in [
            ("(?i)@a", true),
            ("(?i)@a|@b", true),
            ("(?i)", true),
            ("(?i:@a)", false),
            ("@a", false),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(pattern.has_global_flags(), expected, "{pattern:?}");
        }
    }
}
