//! What entries are remembered by.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// What an entry is remembered by: opaque, and of the same length whatever it stands for: 22 ASCII letters, digits,
/// `-` and `_`. Two entries with the same key are one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; Self::BYTES]);

impl Key {
    /// How long a key is.
    pub const BYTES: usize = 22;

    /// A key from the beginning of a hash.
    pub(crate) fn from_hash(hash: [u8; 16]) -> Self {
        let mut key = [b'A'; Self::BYTES];
        // Sixteen bytes are always 22 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(hash, &mut key);
        Self(key)
    }

    /// The key as text, to be stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // There is nothing but ASCII in it.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// Of what is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKey;

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not a key: those have {} letters, digits, `-` and `_`",
            Key::BYTES
        )
    }
}

impl std::error::Error for NoKey {}

impl TryFrom<&[u8]> for Key {
    type Error = NoKey;

    fn try_from(bytes: &[u8]) -> Result<Self, NoKey> {
        let key = bytes.try_into().map_err(|_| NoKey)?;
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        if bytes.iter().all(allowed) {
            Ok(Self(key))
        } else {
            Err(NoKey)
        }
    }
}

impl FromStr for Key {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        text.as_bytes().try_into()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // It is a hash itself: a part of it tells them apart as well as all of it.
        let (head, _) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        state.write_u64(u64::from_ne_bytes(*head));
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_text_that_was_stored_before_there_was_a_type_for_it() {
        let key = Key::from_hash([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 250, 251, 252, 253, 254, 255]);
        assert_eq!(key.as_str(), "AAECAwQFBgcICfr7_P3-_w");
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(Key::try_from(&key.as_bytes()[..]), Ok(key));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "short",
            "twenty-two_bytes_and_o",
            "twenty two bytes and o",
        ] {
            assert_eq!(
                text.parse::<Key>().is_ok(),
                text == "twenty-two_bytes_and_o"
            );
        }
    }
}
