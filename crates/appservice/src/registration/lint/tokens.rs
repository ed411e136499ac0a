//! Tokens that others know or can guess. What is said here never shows a part of one.

use std::collections::BTreeSet;

use super::{
    super::{Registration, Token},
    finding::{Code, Finding, Severity},
};

/// Tokens of the Matrix specification's example, copied into many a file.
const EXAMPLE_TOKENS: [&str; 2] = [
    "30c05ae90a248a4188e620216fa72e349803310ec83e2a77b34fe90be6081f46",
    "312df522183efd404ec1cd22d2ffa4bbc76a8c1ccf541dd692eef281356bb74e",
];
/// Words that stand in templates, or are the first that come to mind.
const WORDS: [&str; 12] = [
    "token",
    "secret",
    "password",
    "example",
    "change",
    "replace",
    "insert",
    "generate",
    "random",
    "string",
    "qwerty",
    "123456789",
];
/// 128 bits, as hexadecimal digits.
const SHORT: usize = 32;
/// A random text of 32 hexadecimal digits has fewer different ones than this once in a million times.
const FEW_CHARACTERS: usize = 8;

pub(super) fn check(registration: &Registration, tell: &mut dyn FnMut(Finding)) {
    const ADVICE: &str = "make a new one with `openssl rand -hex 32`";
    let former = registration
        .accepted_too
        .iter()
        .map(|token| ("hs_token", token, "the former one "));
    let current = [
        ("as_token", &registration.as_token, ""),
        ("hs_token", &registration.hs_token, ""),
    ];
    for (field, token, which) in current.into_iter().chain(former) {
        let mut say = |code, severity, what: String| {
            tell(
                Finding::new(code, severity, field)
                    .says(format!("{which}{what}"))
                    .advises(ADVICE),
            );
        };
        if EXAMPLE_TOKENS.iter().any(|known| token.matches(known)) {
            say(
                Code::ExampleToken,
                Severity::Error,
                "stands in the Matrix specification: everybody knows it".to_owned(),
            );
        }
        if token.expose().len() < SHORT {
            say(
                Code::ShortToken,
                Severity::Warning,
                format!("has less than {SHORT} characters"),
            );
        }
        if let Some(why) = guessable(registration, token) {
            say(Code::GuessableToken, Severity::Warning, why.to_owned());
        }
    }
    if registration.as_token == registration.hs_token {
        tell(
            Finding::new(Code::EqualTokens, Severity::Error, "hs_token")
                .says("is the as_token as well: who is shown the one can act with the other")
                .advises(ADVICE),
        );
    }
    if !registration.accepted_too.is_empty() {
        tell(
            Finding::new(Code::FormerToken, Severity::Note, "hs_token")
                .says("isn't the only one: a former one is accepted as well")
                .advises("stop accepting it when the homeserver shows the new one"),
        );
    }
}

fn guessable(registration: &Registration, token: &Token) -> Option<&'static str> {
    let text = token.expose().to_ascii_lowercase();
    let different: BTreeSet<char> = text.chars().collect();
    if different.len() < FEW_CHARACTERS {
        return Some("has few different characters");
    }
    if repeats(text.as_bytes()) {
        return Some("repeats itself");
    }
    if WORDS.iter().any(|word| text.contains(word)) {
        return Some("is made of words");
    }
    let own = [&registration.id, &registration.sender_localpart];
    own.into_iter()
        .map(|own| own.to_ascii_lowercase())
        .any(|own| own.len() >= 5 && text.contains(&own))
        .then_some("holds the application service's own name")
}

/// Whether it is the same text again and again.
fn repeats(text: &[u8]) -> bool {
    (1..=text.len() / 2).any(|period| text[period..] == text[..text.len() - period])
}
