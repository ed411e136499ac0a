//! What is allowed in a registration, but hardly meant.

mod explain;
mod fields;
mod file;
mod finding;
mod namespaces;
mod overlap;
mod tokens;

use std::fmt;

pub use self::{
    explain::{Explained, Explanation, Match, Sample},
    finding::{Code, Finding, Severity},
};
use super::{Meaning, NamespaceKind, Registration};

/// What [`Registration::lint`] found. `Display` gives one line for each namespace and each finding, and
/// never a token.
#[derive(Debug, Clone)]
pub struct Lint<'a> {
    registration: &'a Registration,
    findings: Vec<Finding>,
}

impl<'a> Lint<'a> {
    pub(super) fn of(registration: &'a Registration) -> Self {
        let mut findings = Vec::new();
        let mut tell = |finding: Finding| findings.push(finding.placed(registration));
        tokens::check(registration, &mut tell);
        fields::check(registration, &mut tell);
        namespaces::check(registration, &mut tell);
        overlap::check(registration, &mut tell);
        file::check(registration, &mut tell);
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Self {
            registration,
            findings,
        }
    }

    /// What was found, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The worst of the findings' severities; `None` when there are none.
    #[must_use]
    pub fn worst(&self) -> Option<Severity> {
        self.findings.first().map(|finding| finding.severity)
    }

    /// What each namespace means, in the file's order.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Explained> {
        self.registration
            .namespaces
            .iter()
            .map(|(kind, index, namespace)| Explained {
                kind,
                index,
                exclusive: namespace.is_exclusive(),
                pattern: namespace.pattern().to_owned(),
                meaning: namespace.pattern.meaning(),
            })
            .collect()
    }

    /// Which namespace takes which of these ids, and how: matched as the homeserver matches them.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("irc", "_irc_bot").ghosts("_irc_").build()?;
    /// let explanation = registration.lint().explain(["@_irc_alice:example.org", "@bob:example.org"]);
    /// assert!(explanation.samples[0].is_exclusive());
    /// assert!(explanation.samples[1].matches.is_empty());
    /// println!("{explanation}");
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    #[must_use]
    pub fn explain<I>(&self, ids: I) -> Explanation
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Explanation {
            samples: ids
                .into_iter()
                .map(|id| Sample::of(self.registration, id.as_ref()))
                .collect(),
        }
    }
}

impl fmt::Display for Lint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for namespace in self.namespaces() {
            writeln!(f, "{namespace}")?;
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        Ok(())
    }
}

/// Text of the file in a line of its own: no control character breaks out of it.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let plain = !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}');
            plain
                .then_some(c)
                .into_iter()
                .chain((!plain).then(|| c.escape_default()).into_iter().flatten())
        })
        .collect()
}

/// "every user id", or what is left of them.
fn ids(meaning: &Meaning, kind: NamespaceKind) -> String {
    match meaning {
        Meaning::Everything => format!("every {}, whatever it is", kind.one()),
        meaning if meaning.is_all_of(kind) => format!("every {}", kind.one()),
        meaning => meaning.to_string(),
    }
}
