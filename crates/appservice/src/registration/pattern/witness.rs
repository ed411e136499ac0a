//! Ids that a pattern takes, made from the pattern itself: proof that two namespaces overlap.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::Pattern;

/// More examples than this of one pattern prove nothing new.
const MOST: usize = 16;
/// Longer examples than this are not made: `a{1000000}` is a short pattern.
const LONGEST: usize = 255;

impl Pattern {
    /// Some texts that the pattern takes, each checked against it. Empty when none is found.
    pub(in super::super) fn witnesses(&self) -> Vec<String> {
        let mut found = self.hir().map_or_else(Vec::new, |hir| examples(&hir));
        found.retain(|text| self.matches(text));
        found
    }
}

fn examples(hir: &Hir) -> Vec<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).into_iter().collect(),
        HirKind::Class(class) => one_of(class).map(String::from).into_iter().collect(),
        HirKind::Repetition(repetition) => {
            let times = usize::try_from(repetition.min).unwrap_or(usize::MAX);
            let mut found = Vec::new();
            if times == 0 {
                found.push(String::new());
            }
            for one in examples(&repetition.sub) {
                if one.len().saturating_mul(times) <= LONGEST && found.len() < MOST {
                    found.push(one.repeat(times.max(1)));
                }
            }
            found
        }
        HirKind::Capture(capture) => examples(&capture.sub),
        HirKind::Alternation(branches) => branches.iter().flat_map(examples).take(MOST).collect(),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |starts, part| {
            let ends = examples(part);
            starts
                .iter()
                .flat_map(|start| ends.iter().map(move |end| format!("{start}{end}")))
                .filter(|text| text.len() <= LONGEST)
                .take(MOST)
                .collect()
        }),
    }
}

/// A character of the class, one that people can read where there is one.
fn one_of(class: &Class) -> Option<char> {
    let Class::Unicode(class) = class else {
        return None;
    };
    let within = |wanted: char| {
        class
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&wanted))
    };
    ['a', '1', '_', '.', ':']
        .into_iter()
        .find(|wanted| within(*wanted))
        .or_else(|| {
            class
                .iter()
                .next()
                .map(regex_syntax::hir::ClassUnicodeRange::start)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_gives_ids_that_it_takes() {
        for pattern in [
            "@_a_.*",
            "!*",
            "@(a|b)[0-9]{3}:x$",
            "#a_.*:example\\.org$",
            "@_[^a]+",
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            let found = pattern.witnesses();
            assert!(!found.is_empty(), "{pattern:?}");
            for id in found {
                assert!(pattern.matches(&id), "{pattern:?} on {id}");
            }
        }
    }

    #[test]
    fn a_pattern_that_takes_nothing_gives_none() {
        assert!(Pattern::parse("a^").unwrap().witnesses().is_empty());
    }

    #[test]
    fn a_short_pattern_for_long_ids_costs_little() {
        let pattern = Pattern::parse("(?:(?:a|b){0,9}(?:c|d|e){0,9}){0,9}x{300}").unwrap();
        assert!(pattern.witnesses().len() <= MOST);
    }
}
