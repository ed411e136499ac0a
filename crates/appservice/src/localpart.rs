//! Names of another network as localparts of user ids and aliases, and back.
//!
//! A localpart has small letters, digits and `.`, `_`, `=`, `-`, `/` and `+` only. [`encode`] writes any text in these, so
//! that two different texts are two different localparts, and [`decode`] reads it back:
//!
//! ```
//! use matrix_appservice::localpart;
//!
//! assert_eq!(localpart::encode("ferris"), "ferris");
//! assert_eq!(localpart::encode("Ferris_42"), "_ferris__42");
//! assert_eq!(localpart::encode("zoë|away"), "zo=c3=ab=7caway");
//! assert_eq!(localpart::decode("zo=c3=ab=7caway").as_deref(), Some("zoë|away"));
//! ```
//!
//! This is what the [specification](https://spec.matrix.org/v1.17/appendices/#mapping-from-other-character-sets) suggests,
//! in the form that tells capitals from small letters, and what other bridges write.

use std::fmt::Write;

/// Writes any text as a localpart, or as a part of one: a capital becomes `_` and its small letter, `_` becomes `__`, and
/// each byte of what else may not be there becomes `=` and its two digits.
///
/// Put your bridge's prefix before it. The whole user id, from `@` to the end of the server's name, must not be longer than 255
/// bytes; [`UserId::parse`](ruma::UserId::parse) says so when it is.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut localpart = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'/' | b'+' => {
                localpart.push(char::from(byte));
            }
            b'A'..=b'Z' | b'_' => {
                localpart.push('_');
                localpart.push(char::from(byte.to_ascii_lowercase()));
            }
            _ => {
                // A `String` takes everything.
                let _ = write!(localpart, "={byte:02x}");
            }
        }
    }
    localpart
}

/// Reads back what [`encode`] has written (without your bridge's prefix); `None` for what it never writes.
#[must_use]
pub fn decode(localpart: &str) -> Option<String> {
    let mut text = Vec::with_capacity(localpart.len());
    let mut rest = localpart.bytes();
    while let Some(byte) = rest.next() {
        text.push(match byte {
            b'_' => rest.next()?.to_ascii_uppercase(),
            b'=' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            _ => byte,
        });
    }
    let text = String::from_utf8(text).ok()?;
    (encode(&text) == localpart).then_some(text)
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::UserId;

    use super::*;

    #[test]
    fn the_specifications_rules_hold() {
        for (text, localpart) in [
            ("", ""),
            ("a.b-c/d+e", "a.b-c/d+e"),
            ("Aa", "_aa"),
            ("a_b", "a__b"),
            ("=", "=3d"),
            ("@a:b", "=40a=3ab"),
            ("ÆØ", "=c3=86=c3=98"),
            ("\u{1f980}", "=f0=9f=a6=80"),
        ] {
            assert_eq!(encode(text), localpart);
            assert_eq!(decode(localpart).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_never_written_is_not_read() {
        for localpart in [
            "A", "_", "a_", "_1", "_A", "=", "=4", "=4g", "=41", "=C3=86", "=c3", "é", "a b", "=61",
        ] {
            assert_eq!(decode(localpart), None, "{localpart}");
        }
    }

    proptest! {
        #[test]
        fn every_text_makes_a_user_id_of_its_own(text in ".{0,40}", other in ".{0,40}") {
            let localpart = encode(&text);
            prop_assert_eq!(decode(&localpart), Some(text.clone()));
            prop_assert_eq!(localpart == encode(&other), text == other);
            if localpart.len() < 200 {
                let user = UserId::parse(format!("@_irc_{localpart}:example.org")).unwrap();
                prop_assert!(!user.is_historical());
            }
        }

        #[test]
        fn nothing_breaks_the_reading(localpart in ".{0,40}") {
            if let Some(text) = decode(&localpart) {
                prop_assert_eq!(encode(&text), localpart);
            }
        }
    }
}
