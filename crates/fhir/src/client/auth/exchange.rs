//! The talk with a token endpoint.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::{Host, Url};

use super::{ClientCredentials, Proof, assertion};
use crate::{
    BaseUrl, Call, Error, Unavailable,
    client::http::{retry_after_of, transport},
};

/// How much an answer may hold.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// How long a token holds when the server doesn't say.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(5);

/// The errors of <https://www.rfc-editor.org/rfc/rfc6749#section-5.2>; other words are not repeated.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];

/// A token that was fetched.
pub(super) struct Fetched {
    pub(super) token: SecretString,
    pub(super) lifetime: Duration,
}

/// The token endpoint that a FHIR server names: `.well-known/smart-configuration`.
///
/// Spec: <https://hl7.org/fhir/smart-app-launch/conformance.html>
pub(super) async fn discover(http: &reqwest::Client, base: &BaseUrl) -> Result<Url, Error> {
    let call = Call {
        method: "GET",
        path: ".well-known/smart-configuration".to_owned(),
        origin: base.origin(),
    };
    let request = http
        .get(base.join(".well-known/smart-configuration"))
        .header(ACCEPT, HeaderValue::from_static("application/json"));
    let (status, json) = exchange(request, &call).await?;
    let bad = |what| Error::BadAnswer {
        call: call.clone(),
        what,
    };
    if !(200..300).contains(&status) {
        return Err(bad(
            "the server doesn't say where tokens are to be had; set the token endpoint in the configuration",
        ));
    }
    let url = json["token_endpoint"]
        .as_str()
        .and_then(|url| Url::parse(url).ok());
    url.filter(is_safe).ok_or_else(|| {
        bad("it names no token endpoint that is reached by https; set it in the configuration")
    })
}

/// Whether secrets may be sent there: encrypted, or within this machine.
pub(super) fn is_safe(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_local)
}

/// Fetches a token.
///
/// Spec: <https://www.rfc-editor.org/rfc/rfc6749#section-4.4>
pub(super) async fn fetch(
    http: &reqwest::Client,
    credentials: &ClientCredentials,
    token_url: &Url,
) -> Result<Fetched, Error> {
    let call = Call {
        method: "POST",
        path: "the token endpoint".to_owned(),
        origin: token_url.origin().ascii_serialization(),
    };
    let request = request(http, credentials, token_url).map_err(|what| Error::Credentials {
        call: call.clone(),
        what,
    })?;
    let (status, json) = exchange(request, &call).await?;
    if !(200..300).contains(&status) {
        let code = json["error"].as_str();
        let code = code.and_then(|code| ERRORS.into_iter().find(|known| *known == code));
        tracing::warn!(origin = %call.origin, status, code, "the token endpoint refuses us");
        return Err(Error::Unauthorized { call, status });
    }
    let token = json["access_token"].as_str().unwrap_or_default();
    if super::bearer(token).is_err() {
        return Err(Error::BadAnswer {
            call,
            what: "it holds no access token that a header can carry",
        });
    }
    // Some write it as a text.
    let seconds = &json["expires_in"];
    let seconds = seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok());
    Ok(Fetched {
        token: token.to_owned().into(),
        lifetime: seconds.map_or(DEFAULT_LIFETIME, Duration::from_secs),
    })
}

/// The request for a token. `Err` says what can't be read, and where.
fn request(
    http: &reqwest::Client,
    credentials: &ClientCredentials,
    token_url: &Url,
) -> Result<reqwest::RequestBuilder, String> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &credentials.scope {
        form.append_pair("scope", scope);
    }
    let mut request = http
        .post(token_url.clone())
        .header(ACCEPT, HeaderValue::from_static("application/json"));
    let id = credentials.client_id.as_str();
    match &credentials.proof {
        Proof::Basic(secret) => {
            let secret = secret.read().map_err(|error| error.to_string())?;
            let [id, secret] = [id, secret.expose_secret()].map(|part| {
                url::form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>()
            });
            let pair = STANDARD.encode(format!("{id}:{secret}"));
            let mut value = HeaderValue::try_from(format!("Basic {pair}"))
                .map_err(|_| "the client's id or secret can't be sent".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Proof::Post(secret) => {
            let secret = secret.read().map_err(|error| error.to_string())?;
            form.append_pair("client_id", id);
            form.append_pair("client_secret", secret.expose_secret());
        }
        Proof::SignedJwt { key, key_id } => {
            let signed = assertion::signed(key, key_id.as_deref(), id, token_url.as_str())
                .map_err(|error| error.to_string())?;
            form.append_pair(
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            );
            form.append_pair("client_assertion", &signed);
        }
    }
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    Ok(request.header(CONTENT_TYPE, form_type).body(form.finish()))
}

/// The status and, where it is JSON, the body.
async fn exchange(request: reqwest::RequestBuilder, call: &Call) -> Result<(u16, Value), Error> {
    let mut response = request
        .send()
        .await
        .map_err(|error| transport(call, &error))?;
    let status = response.status().as_u16();
    if status == 429 || status >= 500 {
        return Err(Error::Unavailable {
            call: call.clone(),
            reason: Unavailable::Status(status),
            retry_after: retry_after_of(response.headers()),
        });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| transport(call, &error))?
    {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Error::BadAnswer {
                call: call.clone(),
                what: "it is too long for what it should be",
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}
