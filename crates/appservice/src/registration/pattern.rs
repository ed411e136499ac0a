//! A namespace's regular expression: how it matches, what it means, where engines read it otherwise.

pub(super) mod dialect;
pub(super) mod meaning;
pub(super) mod witness;

use std::fmt;

use regex_automata::{Anchored, Input, meta::Regex};
use regex_syntax::{ast, hir::Hir};

use super::RegistrationError;

/// A regular expression that is matched from an id's first character on, as Python's `re.match` does.
#[derive(Clone)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, RegistrationError> {
        let regex = Regex::new(text).map_err(|_| unreadable(text))?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, id: &str) -> bool {
        self.regex.is_match(Input::new(id).anchored(Anchored::Yes))
    }

    /// How many bytes from the id's start on the pattern takes up.
    pub(super) fn matched_len(&self, id: &str) -> Option<usize> {
        self.regex
            .find(Input::new(id).anchored(Anchored::Yes))
            .map(|found| found.end())
    }

    /// The pattern as it was written; never `None` for one that was parsed.
    fn ast(&self) -> Option<ast::Ast> {
        ast::parse::Parser::new().parse(&self.text).ok()
    }

    /// The pattern as it is understood; never `None` for one that was parsed.
    fn hir(&self) -> Option<Hir> {
        regex_syntax::parse(&self.text).ok()
    }
}

fn unreadable(text: &str) -> RegistrationError {
    let reason = match regex_syntax::parse(text) {
        Err(regex_syntax::Error::Parse(error)) => {
            format!("{} (character {})", error.kind(), error.span().start.column)
        }
        Err(regex_syntax::Error::Translate(error)) => error.kind().to_string(),
        _ => "it takes too much memory".to_owned(),
    };
    RegistrationError::new(format!(
        "has a `regex` that Rust's regex engine can't read: {reason}. Python's `re`, which Synapse \
         uses, may read it, but the two have to agree: write it without look-around, \
         back-references and `\\Z`, and a literal `{{` as `\\{{`"
    ))
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, id: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(id)
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

    #[test]
    fn a_pattern_that_only_python_reads_is_refused_and_both_engines_are_named() {
        for pattern in [
            "(?!x)",
            "(?<=@)a",
            r"(a)\1",
            r"@a\Z",
            "@_fhir_{id}.*",
            "(?(1)a|b)",
            "(?>a)",
            "(",
        ] {
            let error = Pattern::parse(pattern).unwrap_err().to_string();
            assert!(
                error.contains("Rust's regex engine") && error.contains("Python's `re`"),
                "{pattern}: {error}"
            );
        }
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        let error = Pattern::parse("(((.{200}){200}){200}){200}").unwrap_err();
        assert!(error.to_string().contains("memory"), "{error}");
    }
}
