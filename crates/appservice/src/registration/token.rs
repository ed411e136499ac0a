//! A secret that is compared in constant time and never shown.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// One of a registration's two tokens. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    pub(super) fn new(text: String) -> Self {
        Self(text.into())
    }

    /// Whether `candidate` is this token. The time taken depends on neither's content; both are
    /// hashed first, so that it doesn't depend on their lengths either.
    #[must_use]
    pub fn matches(&self, candidate: &str) -> bool {
        let ours = Sha256::digest(self.0.expose_secret().as_bytes());
        let theirs = Sha256::digest(candidate.as_bytes());
        ours.ct_eq(&theirs).into()
    }

    /// The token itself, to be sent in an `Authorization` header and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}
