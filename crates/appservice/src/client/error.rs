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
    /// The alias belongs to a room that somebody else made, so nothing is sent there.
    #[error("the alias is taken by a room that this user did not create")]
    ForeignAlias,
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    errcode: String,
    retry_after_ms: Option<u64>,
}

impl Error {
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
        matches!(self, Self::Refused { errcode, .. } if errcode == code)
    }

    /// What now: whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } => Retry::WhenAvailable,
            Self::Refused {
                status,
                retry_after,
                ..
            } => match *status {
                StatusCode::TOO_MANY_REQUESTS => {
                    retry_after.map_or(Retry::WhenAvailable, Retry::After)
                }
                StatusCode::UNAUTHORIZED
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => Retry::WhenAvailable,
                // Room state may change in our favour (an invitation, a power level); others won't.
                StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Retry::Never,
                _ => Retry::Backoff,
            },
            Self::Answer { .. } => Retry::Backoff,
            Self::Request(_) | Self::ForeignAlias => Retry::Never,
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
}
