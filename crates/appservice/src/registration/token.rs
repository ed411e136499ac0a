//! A secret that is compared in constant time and never shown.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::RegistrationError;

/// One of a registration's two tokens. `Debug` shows nothing of it, and `==` takes constant time.
#[derive(Clone)]
pub struct Token(SecretString);

impl Token {
    /// The fewest characters that a token may have. [`Token::generate`] gives 64.
    pub const SHORTEST: usize = 16;

    /// Takes a token over that stands somewhere else, as in a secret store.
    ///
    /// ```
    /// use matrix_appservice::registration::Token;
    ///
    /// let token = Token::parse("taken-from-the-secret-store")?;
    /// assert!(token.matches("taken-from-the-secret-store"));
    /// assert!(Token::parse("null").is_err(), "too short to be a secret");
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it is shorter than [`Token::SHORTEST`], or holds anything but printable ASCII without
    /// spaces: it travels in an HTTP header.
    pub fn parse(text: impl Into<String>) -> Result<Self, RegistrationError> {
        let text = text.into();
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RegistrationError::new(
                "must be printable ASCII without spaces: it travels in an HTTP header",
            ));
        }
        if text.len() < Self::SHORTEST {
            return Err(RegistrationError::new(format!(
                "has {} characters; at least {}, better 64, make it hard to guess \
                 (`openssl rand -hex 32`)",
                text.len(),
                Self::SHORTEST,
            )));
        }
        Ok(Self(text.into()))
    }

    /// A new token: 256 bits from the operating system, as 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness to give.
    pub fn generate() -> Result<Self, RegistrationError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| {
            RegistrationError::io(
                "the operating system gives no randomness for a token",
                std::io::Error::other(error),
            )
        })?;
        Ok(Self(hex(&bytes).into()))
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

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| DIGITS[usize::from(digit)])
        .collect()
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Token {}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_token_has_256_bits_and_is_new_each_time() {
        let (one, two) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_eq!(one.expose().len(), 64);
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, two);
    }

    #[test]
    fn what_cannot_travel_in_a_header_is_no_token() {
        for text in [
            "fifteen-letters",
            "with a space in it",
            "with-é-beyond-ascii",
            "line\nbreak-in-the-token",
        ] {
            assert!(Token::parse(text).is_err(), "{text}");
        }
        assert!(Token::parse("sixteen-letters!").is_ok());
    }
}
