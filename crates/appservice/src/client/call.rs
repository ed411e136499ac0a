//! One call to the homeserver, before it is put on the wire.

use std::fmt::Write as _;

use axum::body::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};

use super::Error;

/// What stands in a path or a query as it is. Ids stay readable; everything that means something to a
/// URL is encoded.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b':')
    .remove(b'@');

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// The second one changes nothing.
    Always,
    /// Only when the first one surely never reached the homeserver.
    Unsent,
}

/// What is sent with a call.
pub(crate) enum Body {
    Empty,
    Bytes(Bytes),
    /// It can be sent once; then it is gone.
    Stream(Option<reqwest::Body>),
}

impl Body {
    /// Whether it can't be sent any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Stream(None))
    }

    /// For one attempt.
    pub(super) fn take(&mut self) -> Option<reqwest::Body> {
        match self {
            Self::Empty => None,
            Self::Bytes(bytes) => Some(bytes.clone().into()),
            Self::Stream(stream) => stream.take(),
        }
    }
}

/// A call: its parts in the order of the wire.
pub(crate) struct Call {
    pub(super) method: Method,
    /// The route's pattern: all that errors and logs say of the URL.
    pub(super) route: &'static str,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Body,
    pub(super) repeat: Repeat,
    /// An upload or a download, which may take longer.
    pub(super) is_media: bool,
}

impl Call {
    /// `route` is the path with `{…}` where `args` stand.
    pub(crate) fn new(method: Method, route: &'static str, args: &[&str]) -> Result<Self, Error> {
        let repeat = if method == Method::POST {
            Repeat::Unsent
        } else {
            Repeat::Always
        };
        Ok(Self {
            method,
            route,
            target: fill(route, args)?,
            headers: Vec::new(),
            body: Body::Empty,
            repeat,
            is_media: false,
        })
    }

    pub(crate) fn get(route: &'static str, args: &[&str]) -> Result<Self, Error> {
        Self::new(Method::GET, route, args)
    }

    pub(crate) fn put(route: &'static str, args: &[&str]) -> Result<Self, Error> {
        Self::new(Method::PUT, route, args)
    }

    pub(crate) fn post(route: &'static str, args: &[&str]) -> Result<Self, Error> {
        Self::new(Method::POST, route, args)
    }

    pub(crate) fn delete(route: &'static str, args: &[&str]) -> Result<Self, Error> {
        Self::new(Method::DELETE, route, args)
    }

    /// A request of ruma's, whose URI has no host.
    pub(super) fn from_http(route: &'static str, request: http::Request<Vec<u8>>) -> Self {
        let (parts, body) = request.into_parts();
        let repeat = if parts.method == Method::POST {
            Repeat::Unsent
        } else {
            Repeat::Always
        };
        let headers = parts.headers.iter();
        Self {
            method: parts.method,
            route,
            target: parts.uri.to_string(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            body: if body.is_empty() {
                Body::Empty
            } else {
                Body::Bytes(body.into())
            },
            repeat,
            is_media: false,
        }
    }

    pub(crate) fn query(mut self, key: &str, value: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        // Writing to a string can't fail.
        let _ = write!(
            self.target,
            "{separator}{key}={}",
            utf8_percent_encode(value, ENCODED)
        );
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Error::Request("the content can't be put into JSON"))?;
        self.body = Body::Bytes(body.into());
        Ok(self.header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn media(mut self) -> Self {
        self.is_media = true;
        self
    }

    pub(crate) fn repeat(mut self, repeat: Repeat) -> Self {
        self.repeat = repeat;
        self
    }

    /// Says that the second one changes nothing, although it is a POST.
    pub(crate) fn repeatable(self) -> Self {
        self.repeat(Repeat::Always)
    }
}

/// A success.
pub(crate) struct Answer {
    pub(super) route: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|_| Error::Answer { route: self.route })
    }

    pub(crate) fn read_with<T>(
        &self,
        read: impl FnOnce(&str) -> serde_json::Result<T>,
    ) -> Result<T, Error> {
        str::from_utf8(&self.body)
            .ok()
            .and_then(|body| read(body).ok())
            .ok_or(Error::Answer { route: self.route })
    }
}

/// Puts `args` where the pattern has `{…}`.
fn fill(route: &'static str, args: &[&str]) -> Result<String, Error> {
    // Empty, and dots that a URL resolves: it would be another endpoint.
    if args.iter().any(|arg| matches!(*arg, "" | "." | "..")) {
        return Err(Error::Request("this is no part of a path"));
    }
    let length = args.iter().map(|arg| arg.len()).sum::<usize>();
    let mut path = String::with_capacity(route.len() + 2 * length + 64);
    let mut args = args.iter();
    let mut rest = route;
    while let Some((before, behind)) = rest.split_once('{') {
        path.push_str(before);
        let (_, behind) = behind.split_once('}').unwrap_or((behind, ""));
        let arg = args
            .next()
            .ok_or(Error::Request("a part of the path is missing"))?;
        path.extend(utf8_percent_encode(arg, ENCODED));
        rest = behind;
    }
    path.push_str(rest);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "/rooms/{roomId}/state/{eventType}/{stateKey}";

    #[test]
    fn what_means_something_to_a_url_is_encoded() {
        let call = Call::get(ROUTE, &["!a:hs.test", "m.x/y?z#w", "@é %{}:hs"])
            .unwrap()
            .query("ts", "1")
            .query("user_id", "@a&b=c+d:hs");
        assert_eq!(
            call.target,
            "/rooms/!a:hs.test/state/m.x%2Fy%3Fz%23w/@%C3%A9%20%25%7B%7D:hs?ts=1&user_id=@a%26b%3Dc%2Bd:hs"
        );
    }

    #[test]
    fn nothing_leads_to_another_endpoint() {
        for arg in ["", ".", ".."] {
            assert!(Call::get(ROUTE, &["!a:hs.test", "m.x", arg]).is_err());
        }
        let url = url::Url::parse("http://hs.test").unwrap();
        let call = Call::get(ROUTE, &["!a:hs.test", "m.x", "../../x"]).unwrap();
        assert_eq!(url.join(&call.target).unwrap().path(), call.target);
    }

    #[test]
    fn what_changes_something_each_time_is_not_repeated() {
        let repeat = |method| Call::new(method, "/x", &[]).unwrap().repeat;
        assert_eq!(repeat(Method::GET), Repeat::Always);
        assert_eq!(repeat(Method::PUT), Repeat::Always);
        assert_eq!(repeat(Method::DELETE), Repeat::Always);
        assert_eq!(repeat(Method::POST), Repeat::Unsent);
    }
}
