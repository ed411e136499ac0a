//! How the client shows who it is: not at all, with a token that somebody made, or with tokens that it fetches itself.

mod assertion;
mod exchange;
mod secret;
mod tokens;

use std::{fmt, path::PathBuf};

pub use assertion::KeyError;
use reqwest::header::HeaderValue;
pub use secret::{Secret, SecretError};
pub(super) use tokens::Tokens;

use super::SetupError;

/// How to show who we are. `Debug` shows no secret.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Auth {
    /// Not at all, or by the client certificate alone.
    #[default]
    None,
    /// With a token that somebody made.
    Bearer(Secret),
    /// With tokens that we fetch.
    ///
    /// Spec: <https://www.rfc-editor.org/rfc/rfc6749#section-4.4>
    Client(ClientCredentials),
}

/// Fetching access tokens with the client credentials grant.
#[derive(Clone, Debug)]
pub struct ClientCredentials {
    /// The token endpoint. `None`: as `.well-known/smart-configuration` below the base URL says.
    pub token_url: Option<String>,
    /// Who we are.
    pub client_id: String,
    /// How we prove it.
    pub proof: Proof,
    /// The scopes to ask for, such as `system/Communication.cruds`.
    pub scope: Option<String>,
}

/// How a client proves to a token endpoint who it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Proof {
    /// `client_secret_basic`: in the `Authorization` header.
    Basic(Secret),
    /// `client_secret_post`: in the body.
    Post(Secret),
    /// `private_key_jwt`, as SMART Backend Services has it: a signed statement, RS384 or ES384 by the kind of key.
    ///
    /// Spec: <https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html>
    SignedJwt {
        /// The private key as PEM (PKCS#8; for RSA also PKCS#1): RSA of 2048 bits or more, or P-384. It is read each
        /// time that a token is fetched.
        key: PathBuf,
        /// The key's id in the key set that the server knows.
        key_id: Option<String>,
    },
}

/// What is shown with a request.
pub(super) struct Shown {
    pub(super) header: HeaderValue,
    /// Which fetch it came from, so that a refusal is known to be about this one.
    pub(super) number: u64,
}

/// The header that carries a bearer token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, SetupError> {
    let is_plain = token.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if token.is_empty() || !is_plain || token.trim() != token {
        return Err(SetupError::Token);
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| SetupError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
