//! What was checked, one line each: for people, or as JSON.

use std::{fmt, process::ExitCode};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Not looked at, because of what was found before.
    Skipped,
    /// As it should be.
    Ok,
    /// It works, and hardly as it was meant.
    Warning,
    /// It does not work.
    Failed,
}

impl Outcome {
    fn word(self) -> (&'static str, Style) {
        let colour = |colour: AnsiColor| colour.on_default().bold();
        match self {
            Self::Skipped => ("skip", AnsiColor::BrightBlack.on_default()),
            Self::Ok => ("ok", colour(AnsiColor::Green)),
            Self::Warning => ("warn", colour(AnsiColor::Yellow)),
            Self::Failed => ("FAIL", colour(AnsiColor::Red)),
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What was looked at, in a few words.
    #[serde(rename = "check")]
    subject: String,
    outcome: Outcome,
    /// What was seen.
    seen: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// All checks of a command. They are printed as they come; as JSON, one object in a line.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    checks: Vec<Check>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            checks: Vec::new(),
        }
    }

    pub(crate) fn ok(&mut self, check: &str, seen: impl fmt::Display) {
        self.add(check, Outcome::Ok, &seen, None);
    }

    pub(crate) fn skip(&mut self, check: &str, why: impl fmt::Display) {
        self.add(check, Outcome::Skipped, &why, None);
    }

    pub(crate) fn warn(&mut self, check: &str, seen: impl fmt::Display, advice: &str) {
        self.add(check, Outcome::Warning, &seen, Some(advice));
    }

    pub(crate) fn fail(&mut self, check: &str, seen: impl fmt::Display, advice: &str) {
        self.add(check, Outcome::Failed, &seen, Some(advice));
    }

    pub(crate) fn add(
        &mut self,
        check: &str,
        outcome: Outcome,
        seen: &dyn fmt::Display,
        advice: Option<&str>,
    ) {
        let check = Check {
            subject: check.to_owned(),
            outcome,
            seen: seen.to_string(),
            advice: advice.map(str::to_owned),
        };
        if self.json {
            // A value of this type is always JSON.
            anstream::println!("{}", serde_json::to_string(&check).unwrap_or_default());
        } else {
            let (word, style) = outcome.word();
            anstream::println!(
                "{style}{word:<4}{style:#}  {}: {}",
                check.subject,
                check.seen
            );
            if let Some(advice) = &check.advice {
                anstream::println!("      → {advice}");
            }
        }
        self.checks.push(check);
    }

    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.checks
            .iter()
            .filter(|check| check.outcome == outcome)
            .count()
    }

    /// The last line, and how the program ends: with 1 when anything failed.
    pub(crate) fn end(self) -> ExitCode {
        let (failed, warnings) = (self.count(Outcome::Failed), self.count(Outcome::Warning));
        if !self.json {
            match (failed, warnings) {
                (0, 0) => anstream::println!("\nAll is well."),
                _ => anstream::println!("\n{failed} failed, {warnings} to look at."),
            }
        }
        ExitCode::from(u8::from(failed > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_1_when_something_failed_and_with_0_when_something_is_to_be_looked_at() {
        let mut report = Report::new(true);
        report.ok("a", "b");
        report.warn("c", "d", "e");
        report.skip("f", "g");
        assert_eq!(report.count(Outcome::Warning), 1);
        assert_eq!(
            format!("{:?}", report.end()),
            format!("{:?}", ExitCode::SUCCESS)
        );
        let mut report = Report::new(true);
        report.fail("a", "b", "c");
        assert_eq!(
            format!("{:?}", report.end()),
            format!("{:?}", ExitCode::FAILURE)
        );
    }
}
