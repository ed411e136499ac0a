//! What went wrong with a call to the homeserver, and what now.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use crate::dispatch::Retry;

/// A call to the homeserver failed. The text names the route's pattern and the error code; it never
/// holds ids, content or tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer: not reachable, or too slow.
    #[error("the homeserver gave no answer to {route}")]
    Unreachable {
        /// The route's pattern.
        route: &'static str,
        /// What the HTTP client said, without the URL.
        #[source]
        source: reqwest::Error,
    },
    /// The homeserver said no.
    #[error("the homeserver answered {} {errcode} to {route}", .status.as_u16())]
    Refused {
        /// The route's pattern.
        route: &'static str,
        /// The HTTP status.
        status: StatusCode,
        /// Its `errcode`, such as `M_FORBIDDEN`; empty when the answer had none.
        errcode: String,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
    },
    /// A success that can't be read: something between us and the homeserver answers.
    #[error("the homeserver's answer to {route} can't be read: is its URL right?")]
    Answer {
        /// The route's pattern.
        route: &'static str,
    },
    /// The request could not be made; a fault in the call.
    #[error("{0}")]
    Request(&'static str),
    /// The alias belongs to a room that somebody else made, so nothing is sent there. Or to one of this user's of
    /// which the homeserver has only just the alias: it can't be told apart, so it is worth another try.
    #[error("the alias is taken by a room that this user did not create")]
    ForeignAlias,
    /// The room is being made by an earlier call: its alias is there, and its state isn't yet.
    #[error("the homeserver is still making the room that has this alias")]
    UnfinishedRoom,
    /// The homeserver has no logins for application services: it uses the OAuth 2.0 API (as with Matrix
    /// Authentication Service). Act as the user without one.
    #[error("the homeserver has no logins for application services: act without one")]
    LoginUnsupported,
    /// A file is larger than was allowed, by the homeserver or by the caller.
    #[error("the file has more than {limit} bytes")]
    TooLarge {
        /// The most that was allowed, in bytes.
        limit: u64,
    },
    /// The homeserver speaks no version of Matrix that the application service accepts.
    #[error("the homeserver speaks Matrix up to {newest}, and {wanted} is needed")]
    Versions {
        /// The accepted versions.
        wanted: String,
        /// The newest one that the homeserver speaks.
        newest: String,
    },
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    errcode: String,
    retry_after_ms: Option<u64>,
}

impl Error {
    pub(super) fn unreachable(route: &'static str, source: reqwest::Error) -> Self {
        Self::Unreachable {
            route,
            source: source.without_url(),
        }
    }

    /// A pause that the homeserver asked for before, and that is too long to be waited out here.
    pub(super) fn limited(route: &'static str, pause: Duration) -> Self {
        Self::Refused {
            route,
            status: StatusCode::TOO_MANY_REQUESTS,
            errcode: "M_LIMIT_EXCEEDED".to_owned(),
            retry_after: Some(pause),
        }
    }

    /// What the homeserver would say to a member's question.
    pub(crate) fn not_in_room(route: &'static str) -> Self {
        Self::Refused {
            route,
            status: StatusCode::FORBIDDEN,
            errcode: "M_FORBIDDEN".to_owned(),
            retry_after: None,
        }
    }

    pub(super) fn refused(
        route: &'static str,
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        // An error code is an identifier; anything else that stands there is not repeated.
        let is_code = |text: &str| {
            text.len() <= 64
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
        };
        Self::Refused {
            route,
            status,
            errcode: if is_code(&body.errcode) {
                body.errcode
            } else {
                String::new()
            },
            retry_after: body
                .retry_after_ms
                .map(Duration::from_millis)
                .or(retry_after),
        }
    }

    /// Whether the homeserver answered with this error code.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.errcode() == Some(code)
    }

    /// The homeserver's error code, such as `M_FORBIDDEN`, where it answered with one.
    #[must_use]
    pub fn errcode(&self) -> Option<&str> {
        match self {
            Self::Refused { errcode, .. } if !errcode.is_empty() => Some(errcode),
            _ => None,
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The user may not do that (`M_FORBIDDEN`): it isn't in the room, or its power level is too low.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.is("M_FORBIDDEN")
    }

    /// There is no such thing (`M_NOT_FOUND`).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is("M_NOT_FOUND")
    }

    /// The homeserver wants fewer calls (429).
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.status() == Some(StatusCode::TOO_MANY_REQUESTS)
    }

    /// The pause that the homeserver asked for.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The homeserver is away for a moment: not reachable, too slow, or the proxy before it says so.
    /// What became of the call isn't known.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(
                *status,
                StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            ),
            _ => false,
        }
    }

    /// The call never reached the homeserver: there was no connection.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if source.is_connect())
    }

    /// What now: whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } => Retry::WhenAvailable,
            error if error.is_transient() => Retry::WhenAvailable,
            Self::Refused {
                status,
                retry_after,
                ..
            } => match *status {
                StatusCode::TOO_MANY_REQUESTS => {
                    retry_after.map_or(Retry::WhenAvailable, Retry::After)
                }
                StatusCode::UNAUTHORIZED => Retry::WhenAvailable,
                // Room state may change in our favour (an invitation, a power level); others won't.
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Retry::Never,
                _ => Retry::Backoff,
            },
            Self::Answer { .. } | Self::ForeignAlias | Self::UnfinishedRoom => Retry::Backoff,
            Self::Request(_)
            | Self::LoginUnsupported
            | Self::TooLarge { .. }
            | Self::Versions { .. } => Retry::Never,
        }
    }
}

/// `Retry-After` in whole seconds.
pub(super) fn retry_after_header(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Error {
        Error::refused(
            "/r",
            StatusCode::from_u16(status).unwrap(),
            body.as_bytes(),
            None,
        )
    }

    #[test]
    fn each_refusal_says_what_now() {
        for (status, body, expected) in [
            (
                429,
                r#"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1500}"#,
                Retry::After(Duration::from_millis(1500)),
            ),
            (429, "", Retry::WhenAvailable),
            (502, "<html>", Retry::WhenAvailable),
            (500, "{}", Retry::Backoff),
            (403, r#"{"errcode":"M_FORBIDDEN"}"#, Retry::Backoff),
            (
                401,
                r#"{"errcode":"M_UNKNOWN_TOKEN"}"#,
                Retry::WhenAvailable,
            ),
            (400, r#"{"errcode":"M_BAD_JSON"}"#, Retry::Never),
            (413, r#"{"errcode":"M_TOO_LARGE"}"#, Retry::Never),
        ] {
            assert_eq!(refused(status, body).retry(), expected, "{status} {body}");
        }
    }

    #[test]
    fn an_error_repeats_nothing_that_the_homeserver_wrote_but_the_code() {
        let error = refused(400, r#"{"errcode":"M_CANARY BODY","error":"canary"}"#);
        assert!(!format!("{error} {error:?}").contains("anary"));
        assert!(refused(403, r#"{"errcode":"M_FORBIDDEN"}"#).is("M_FORBIDDEN"));
    }

    #[test]
    fn an_error_can_be_asked_what_it_is() {
        let forbidden = refused(403, r#"{"errcode":"M_FORBIDDEN"}"#);
        assert!(forbidden.is_forbidden() && !forbidden.is_not_found());
        assert_eq!(forbidden.errcode(), Some("M_FORBIDDEN"));
        assert_eq!(forbidden.status(), Some(StatusCode::FORBIDDEN));
        assert!(refused(404, r#"{"errcode":"M_NOT_FOUND"}"#).is_not_found());
        assert_eq!(refused(404, "<html>").errcode(), None);
        let limited = refused(429, r#"{"retry_after_ms":5}"#);
        assert!(limited.is_rate_limited() && !limited.is_transient());
        assert_eq!(limited.retry_after(), Some(Duration::from_millis(5)));
        for status in [502, 503, 504] {
            assert!(refused(status, "").is_transient());
        }
        for status in [400, 401, 403, 404, 413, 500] {
            assert!(!refused(status, "").is_transient());
        }
    }
}
