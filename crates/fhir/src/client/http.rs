use std::{error::Error as _, time::Duration};

use fhir_sdk::time::{OffsetDateTime, format_description::well_known::Rfc2822};
use reqwest::{
    Method,
    header::{
        ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
        RETRY_AFTER,
    },
};
use serde_json::Value;
use tracing::{Instrument as _, field::Empty};

use super::{FhirClient, correlation, outcome};
use crate::{Call, Error, Instant, Unavailable, measures};

/// The longest wait that a server may ask for with `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// How much of an error is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A request that is about to be made.
pub(super) struct Request {
    method: Method,
    url: String,
    call: Call,
    headers: HeaderMap,
    /// Its media type, FHIR's when there is none, and what it holds.
    body: Option<(Option<HeaderValue>, Vec<u8>)>,
}

/// The whole answer, whatever its status.
pub(super) struct Answer {
    pub(super) call: Call,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

impl FhirClient {
    /// `path` goes into the URL, `name` into errors and logs: the same with ids and queries left
    /// out.
    pub(super) fn request(&self, method: Method, path: &str, name: &str) -> Request {
        let call = self.call(&method, name);
        Request {
            method,
            url: self.inner.base.join(path),
            call,
            headers: correlation::headers(),
            body: None,
        }
    }

    pub(super) fn call(&self, method: &Method, name: &str) -> Call {
        Call {
            method: match *method {
                Method::GET => "GET",
                Method::PUT => "PUT",
                Method::DELETE => "DELETE",
                _ => "POST",
            },
            path: name.to_owned(),
            origin: self.inner.base.origin(),
        }
    }

    pub(super) async fn send(&self, request: Request) -> Result<Answer, Error> {
        let call = request.call.clone();
        let started = std::time::Instant::now();
        let answer = self.exchange(request).await;
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &answer {
            Ok(answer) => {
                tracing::debug!(method = call.method, path = %call.path, status = answer.status, millis, "FHIR request");
            }
            Err(error) => tracing::debug!(%error, millis, "FHIR request failed"),
        }
        answer
    }

    /// Sends it, and once more when the token was refused and there is another one.
    async fn exchange(&self, request: Request) -> Result<Answer, Error> {
        let inner = &self.inner;
        let shown = inner.tokens.shown(&inner.http, &inner.base, None).await?;
        let number = shown.as_ref().map(|shown| shown.number);
        let answer = self
            .exchange_once(&request, shown.map(|shown| shown.header))
            .await?;
        if answer.status != 401 || number.is_none() || !inner.tokens.can_be_replaced() {
            return Ok(answer);
        }
        match inner.tokens.shown(&inner.http, &inner.base, number).await? {
            Some(shown) => self.exchange_once(&request, Some(shown.header)).await,
            None => Ok(answer),
        }
    }

    /// Sends it and takes the time until the answer's head.
    pub(super) async fn timed(
        &self,
        call: &Call,
        request: reqwest::RequestBuilder,
    ) -> reqwest::Result<reqwest::Response> {
        // For programs that trace. The path is without ids and searches.
        let span = tracing::debug_span!(
            "fhir.request",
            otel.name = format!("{} {}", call.method, call.path),
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = call.method,
            http.route = call.path,
            http.response.status_code = Empty,
        );
        let began = std::time::Instant::now();
        let response = request.send().instrument(span.clone()).await;
        let status = response.as_ref().ok().map(|one| one.status().as_u16());
        measures::request(&self.inner.name, began.elapsed(), status);
        if let Some(status) = status {
            span.record("http.response.status_code", status);
        }
        if !status.is_some_and(|status| (200..300).contains(&status)) {
            span.record("otel.status_code", "error");
        }
        response
    }

    async fn exchange_once(
        &self,
        request: &Request,
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, Error> {
        let call = request.call.clone();
        let mut http = self
            .inner
            .http
            .request(request.method.clone(), &request.url)
            .header(ACCEPT, self.inner.media_type.clone())
            // HAPI answers a search from one of the last minute unless it is asked not to.
            .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
            .headers(request.headers.clone());
        if let Some(authorization) = authorization {
            http = http.header(AUTHORIZATION, authorization);
        }
        if let Some((content_type, body)) = &request.body {
            let content_type = content_type.as_ref().unwrap_or(&self.inner.media_type);
            http = http
                .header(CONTENT_TYPE, content_type.clone())
                .body(body.clone());
        }
        let response = self.timed(&call, http).await;
        let mut response = response.map_err(|e| transport(&call, &e))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| transport(&call, &e))? {
            if body.len() + chunk.len() > self.inner.max_body_bytes {
                if !response.status().is_success() {
                    // An error page: its status says enough.
                    body.clear();
                    break;
                }
                return Err(Error::BadAnswer {
                    call,
                    what: TOO_LARGE,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            call,
            status,
            headers,
            body,
        })
    }
}

/// What a failed exchange means. Only the cause of a failed connection is kept: it was found before
/// anything was sent, so it can't hold anything of ours.
pub(super) fn transport(call: &Call, error: &reqwest::Error) -> Error {
    let reason = if error.is_timeout() {
        Unavailable::Timeout
    } else if error.is_connect() {
        Unavailable::Connect(root_cause(error))
    } else if error.is_builder() {
        return Error::Invalid {
            call: call.clone(),
            what: "no HTTP request can be made of it",
        };
    } else {
        Unavailable::Interrupted
    };
    Error::Unavailable {
        call: call.clone(),
        reason,
        retry_after: None,
    }
}

/// What an answer of another status than success means, where the answer is not read as a whole.
pub(super) async fn status_error(call: Call, mut response: reqwest::Response) -> Error {
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > MAX_ERROR_BYTES {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Answer {
        call,
        status,
        headers,
        body,
    }
    .into_error()
}

/// The innermost cause, in its own words, or none.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map(ToString::to_string).unwrap_or_default()
}

impl Request {
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn json(mut self, body: Vec<u8>) -> Self {
        self.body = Some((None, body));
        self
    }

    pub(super) fn form<'a>(mut self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.body = Some((Some(FORM), body.into_bytes()));
        self
    }

    /// Replaces the URL by one that the server gave; the caller has checked it.
    pub(super) fn at(mut self, url: String) -> Self {
        self.url = url;
        self
    }
}

impl Answer {
    /// Goes on with an answer of success.
    pub(super) fn success(self) -> Result<Self, Error> {
        if (200..300).contains(&self.status) {
            Ok(self)
        } else {
            Err(self.into_error())
        }
    }

    pub(super) fn into_error(self) -> Error {
        let (call, status) = (self.call, self.status);
        match status {
            300..=399 => Error::BadAnswer {
                call,
                what: "it redirects elsewhere; set the FHIR base URL to the server's final address",
            },
            401 | 403 => Error::Unauthorized { call, status },
            404 if !self.body.is_empty() && !outcome::is_outcome(&self.body) => Error::BadAnswer {
                call,
                what: FOREIGN_404,
            },
            404 | 410 => Error::NotFound { call, status },
            409 | 412 => Error::VersionConflict { call, status },
            408 | 425 | 429 | 500 | 502..=599 => Error::Unavailable {
                call,
                reason: Unavailable::Status(status),
                retry_after: retry_after_of(&self.headers),
            },
            400..=499 | 501 => Error::Rejected {
                call,
                status,
                issues: outcome::issues(&self.body),
            },
            _ => Error::BadAnswer {
                call,
                what: "its status is not one of HTTP's for this request",
            },
        }
    }

    pub(super) fn body(&self) -> &[u8] {
        // Some servers write a byte order mark.
        self.body
            .strip_prefix(b"\xEF\xBB\xBF")
            .unwrap_or(&self.body)
    }

    pub(super) fn json(&self) -> Result<Value, Error> {
        serde_json::from_slice(self.body()).map_err(|_| self.bad(NOT_JSON))
    }

    pub(super) fn bad(&self, what: &'static str) -> Error {
        Error::BadAnswer {
            call: self.call.clone(),
            what,
        }
    }

    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub(super) const TOO_LARGE: &str =
    "it is larger than the limit for an answer; raise the limit if it is right";

pub(super) const NOT_JSON: &str = "it is not JSON; check that the FHIR base URL is right and that no login page or proxy answers in its place";

/// A proxy's or servlet container's page, often while the server behind it starts: not the FHIR
/// server's word that there is nothing.
pub(super) const FOREIGN_404: &str = "a 404 page that is not the FHIR server's own; it may be starting, or the FHIR base URL is wrong";

/// How long a server asks us to wait.
pub(super) fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER).and_then(retry_after)
}

fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Duration::try_from(until - OffsetDateTime::now_utc()).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Reads an HTTP date such as `Last-Modified` has.
pub(super) fn http_date(text: &str) -> Option<Instant> {
    let at = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    Instant::from_unix_millis(u64::try_from(at.unix_timestamp()).ok()?.checked_mul(1000)?)
}
