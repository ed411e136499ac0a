//! One thing that was found.

use std::{fmt, path::PathBuf};

use super::super::{Registration, error::place};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Good to know.
    Note,
    /// It works, and hardly as it was meant.
    Warning,
    /// A homeserver refuses it, or a stranger gets in.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What was found. `Display` gives a name that stays the same, for scripts: `matches-everything`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// The name that `Display` gives.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// A namespace takes every id, as `!*` and an empty pattern do.
    MatchesEverything = "matches-everything",
    /// A namespace takes every id of its kind and is exclusive.
    ExclusiveForAll = "exclusive-for-all",
    /// A namespace takes no id of its kind, because they all begin otherwise.
    MatchesNothing = "matches-nothing",
    /// A `*` as in a shell: in a pattern it repeats the character before it.
    Glob = "glob",
    /// A dot that stands for any character between two that stand for themselves.
    UnescapedDot = "unescaped-dot",
    /// A pattern that goes on to the server's name and has no end: longer names match as well.
    OpenEnd = "open-end",
    /// A room pattern that wants a server's name, which ids have no more from room version 12 on.
    RoomServer = "room-server",
    /// An exclusive namespace whose ids don't begin with `_` after the sigil, as they should.
    NoUnderscore = "no-underscore",
    /// `[[:alnum:]]`, which Python doesn't know.
    PosixClass = "posix-class",
    /// A pattern that Python and Rust read differently.
    ReadDifferently = "read-differently",
    /// A pattern that the two read differently for ids beyond ASCII.
    BeyondAscii = "beyond-ascii",
    /// A pattern that Python, and so Synapse, refuses.
    PythonRefuses = "python-refuses",
    /// Repetitions within a repetition, over which Python can brood very long.
    NestedRepetition = "nested-repetition",
    /// `(?i)` at the start of an exclusive user pattern, which Synapse joins with others.
    GlobalFlags = "global-flags",
    /// Two namespaces take the same id.
    Overlap = "overlap",
    /// A namespace has a `group_id`, which does nothing.
    GroupId = "group-id",
    /// The two tokens are the same.
    EqualTokens = "equal-tokens",
    /// A token has less than 32 characters.
    ShortToken = "short-token",
    /// A token that can be guessed: it repeats itself, or is made of words.
    GuessableToken = "guessable-token",
    /// A token that stands in public documentation.
    ExampleToken = "example-token",
    /// A former `hs_token` is still accepted.
    FormerToken = "former-token",
    /// A file with a token that others on this machine can read or write.
    OpenFile = "open-file",
    /// A field that no homeserver is known to read.
    UnknownField = "unknown-field",
    /// The localpart of the sender isn't one that Synapse takes, or has letters that user ids have no more.
    SenderLocalpart = "sender-localpart",
    /// The homeserver pushes nothing.
    NoUrl = "no-url",
    /// The `hs_token` travels unencrypted to another machine.
    PlainHttp = "plain-http",
    /// Only one of the two names of the ephemeral switch is set.
    EphemeralNames = "ephemeral-names",
    /// No namespaces: only what concerns the sender is pushed.
    NoNamespaces = "no-namespaces",
    /// An entry of `ip_range_whitelist` that is no address range.
    IpRange = "ip-range",
    /// Only one half of the proxy fields is set.
    ProxyHalf = "proxy-half",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was found. `Display` gives it in one line, and never shows a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The field, as in `hs_token` or `namespaces.users[0]`; `None` when it is about the file.
    pub field: Option<String>,
    /// The file, where there is one.
    pub file: Option<PathBuf>,
    /// The line in the file, counted from 1, where it is known.
    pub line: Option<usize>,
    /// What that means.
    pub explanation: String,
    /// What to do about it.
    pub advice: String,
}

impl Finding {
    pub(super) fn new(code: Code, severity: Severity, field: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            field: Some(field.into()),
            file: None,
            line: None,
            explanation: String::new(),
            advice: String::new(),
        }
    }

    pub(super) fn of_file(code: Code, severity: Severity, file: PathBuf) -> Self {
        Self {
            field: None,
            file: Some(file),
            ..Self::new(code, severity, "")
        }
    }

    pub(super) fn says(mut self, explanation: impl Into<String>) -> Self {
        self.explanation = explanation.into();
        self
    }

    pub(super) fn advises(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// With file and line, where they are known.
    pub(super) fn placed(mut self, registration: &Registration) -> Self {
        if let Some(field) = &self.field {
            self.line = registration.origin.line(field);
            self.file = registration.origin.file().map(ToOwned::to_owned);
        }
        self
    }
}

/// `registration.yaml:14: warning[glob]: namespaces.users[0] …; …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}[{}]: ",
            place(self.file.as_deref(), self.line),
            self.severity,
            self.code
        )?;
        if let Some(field) = &self.field {
            write!(f, "`{}` ", super::shown(field))?;
        }
        write!(f, "{}; {}", self.explanation, self.advice)
    }
}
