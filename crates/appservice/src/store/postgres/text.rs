//! Text as PostgreSQL can store it: it refuses NUL, which JSON's `\u0000` and a path's `%00` bring in.

use std::borrow::Cow;

/// `\0` for NUL, `\\` for `\`; everything else stays as it is.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if text.contains(['\0', '\\']) {
        text.replace('\\', r"\\").replace('\0', r"\0").into()
    } else {
        text.into()
    }
}

/// What [`stored`] was given.
pub(super) fn read(stored: String) -> String {
    if !stored.contains('\\') {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut rest = stored.chars();
    while let Some(char) = rest.next() {
        text.push(match char {
            '\\' => match rest.next() {
                Some('0') => '\0',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back_and_none_is_stored_with_nul(text in r"[\\\x000a!:$]{0,12}", other in r"[\\\x000]{0,4}") {
            let as_stored = stored(&text).into_owned();
            prop_assert!(!as_stored.contains('\0'));
            prop_assert_eq!(as_stored == stored(&other), text == other);
            prop_assert_eq!(read(as_stored), text);
        }
    }

    #[test]
    fn an_ordinary_id_is_stored_as_it_is() {
        assert!(matches!(
            stored("!room:example.org"),
            Cow::Borrowed("!room:example.org")
        ));
    }
}
