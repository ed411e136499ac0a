use std::{fmt, time::Duration};

/// What went wrong between us and the FHIR server, by what to do about it.
///
/// No variant holds a resource, a name, an identifier, a searched value, a token or a URL with a
/// query, so errors may be logged and shown as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server can't be reached, is too slow, or has too much to do. Try again later.
    #[error("{call}: the FHIR server is unavailable: {reason}")]
    Unavailable {
        /// The request.
        call: Call,
        /// In what way.
        reason: Unavailable,
        /// How long the server asks us to wait.
        retry_after: Option<Duration>,
    },
    /// 401 or 403. Mend the token or the server's rules for it.
    #[error(
        "{call}: the FHIR server refuses us with status {status}: check the token and what it is allowed to do"
    )]
    Unauthorized {
        /// The request.
        call: Call,
        /// 401 or 403.
        status: u16,
    },
    /// What we show who we are with can't be read: a file or a variable is not what it should be. Mend it; nothing was
    /// sent.
    #[error("{call}: nothing was sent, because {what}")]
    Credentials {
        /// The request that was not made.
        call: Call,
        /// What is wrong, with the place and without what is there.
        what: String,
    },
    /// There is nothing there (404 or 410). When every request says so, the base URL is wrong.
    #[error("{call}: the FHIR server has nothing there (status {status})")]
    NotFound {
        /// The request.
        call: Call,
        /// 404 or 410.
        status: u16,
    },
    /// Someone else changed the resource meanwhile, or was writing at the same moment. Read again
    /// and repeat.
    #[error("{call}: the resource was changed by someone else meanwhile (status {status})")]
    VersionConflict {
        /// The request.
        call: Call,
        /// 409 or 412.
        status: u16,
    },
    /// A conditional create found several resources that match: the thing is stored more than once,
    /// and was not stored again. Search for them and go on with the oldest; a person has to remove
    /// the others.
    #[error(
        "{call}: the FHIR server already holds several resources with this key; nothing was stored"
    )]
    SeveralMatch {
        /// The request.
        call: Call,
    },
    /// The server understood and refuses for good. Repeating it doesn't help.
    #[error("{call}: the FHIR server refuses the request with status {status}{issues}")]
    Rejected {
        /// The request.
        call: Call,
        /// The HTTP status.
        status: u16,
        /// What the server's `OperationOutcome` objects to.
        issues: Issues,
    },
    /// The server answered something that we can't work with. Usually a setting of the server, or a
    /// proxy in between.
    #[error("{call}: the FHIR server's answer is not usable: {what}")]
    BadAnswer {
        /// The request.
        call: Call,
        /// What is wrong with it, and what to mend.
        what: &'static str,
    },
    /// A file is larger than the caller allowed.
    #[error("{call}: the file is larger than is allowed")]
    TooLarge {
        /// The request.
        call: Call,
    },
    /// What we were about to send is not valid FHIR R4; nothing was sent. It is a mistake in the
    /// caller.
    #[error("{call}: not sent, because {what}")]
    Invalid {
        /// The request that was not made.
        call: Call,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Whether repeating a failed call can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It can't: someone has to change something first.
    Never,
    /// It can, after this long when the server said so, else after the caller's own back-off.
    Later(Option<Duration>),
}

impl Error {
    /// Whether to repeat the call.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unavailable { retry_after, .. } => Retry::Later(*retry_after),
            // A conflict passes. So do a token that is being rotated and a server that starts
            // behind its proxy, and no message must be given up for them.
            Self::VersionConflict { .. }
            | Self::Unauthorized { .. }
            | Self::Credentials { .. }
            | Self::BadAnswer { .. } => Retry::Later(None),
            Self::NotFound { .. }
            | Self::SeveralMatch { .. }
            | Self::Rejected { .. }
            | Self::TooLarge { .. }
            | Self::Invalid { .. } => Retry::Never,
        }
    }

    /// The request that failed.
    #[must_use]
    pub fn call(&self) -> &Call {
        match self {
            Self::Unavailable { call, .. }
            | Self::Unauthorized { call, .. }
            | Self::Credentials { call, .. }
            | Self::NotFound { call, .. }
            | Self::VersionConflict { call, .. }
            | Self::SeveralMatch { call }
            | Self::Rejected { call, .. }
            | Self::BadAnswer { call, .. }
            | Self::TooLarge { call }
            | Self::Invalid { call, .. } => call,
        }
    }
}

/// In what way a server is unavailable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// No connection; the cause in the words of the network or TLS library.
    Connect(String),
    /// No complete answer in time.
    Timeout,
    /// The connection broke before the answer was complete.
    Interrupted,
    /// A status that says so: 429, or 5xx.
    Status(u16),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) if cause.is_empty() => f.write_str("no connection"),
            Self::Connect(cause) => write!(f, "no connection ({cause})"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Interrupted => f.write_str("the connection broke"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// A request, as errors and logs name it: `POST Communication/_search at https://fhir.example.org`.
/// Never an id, a searched value or a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) origin: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.method, self.path, self.origin)
    }
}

/// The codes and places that an `OperationOutcome` names; its free text is left out, because
/// servers quote values in it.
///
/// Spec: <http://hl7.org/fhir/R4/operationoutcome.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Issues(pub Vec<Issue>);

/// One issue of an `OperationOutcome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its code, such as `structure`, from <http://hl7.org/fhir/R4/valueset-issue-type.html>.
    pub code: &'static str,
    /// Where in the resource, when the server says so with a plain element path such as
    /// `Communication.payload[0]`.
    pub expression: Option<String>,
}

impl Issues {
    /// Whether one of them has this code.
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.0.iter().any(|issue| issue.code == code)
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, issue) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { ": " } else { ", " })?;
            f.write_str(issue.code)?;
            if let Some(expression) = &issue.expression {
                write!(f, " at {expression}")?;
            }
        }
        Ok(())
    }
}

/// A resource that can't be read: what is odd, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {resource} can't be read: {what}")]
pub struct Odd {
    /// The type that was expected.
    pub resource: &'static str,
    /// What is odd.
    pub what: &'static str,
}
