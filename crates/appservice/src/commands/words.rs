//! What people type, word by word. Pure.

/// The end of a quoted part is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OpenQuote;

/// Cuts the first word off `text`: up to the next space, or what stands between quotes (those of phones
/// too). In straight quotes, `\"` and `\\` are a quote and a backslash.
pub(super) fn first(text: &mut &str) -> Result<Option<String>, OpenQuote> {
    let rest = text.trim_start();
    let mut characters = rest.char_indices();
    let close = match characters.next() {
        None => {
            *text = "";
            return Ok(None);
        }
        Some((_, '"')) => '"',
        Some((_, '“' | '„')) => '”',
        Some(_) => {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            *text = behind;
            return Ok(Some(word.to_owned()));
        }
    };
    let mut word = String::new();
    while let Some((at, character)) = characters.next() {
        if character == close || (close == '”' && character == '“') {
            *text = &rest[at + character.len_utf8()..];
            return Ok(Some(word));
        }
        match (close, character) {
            ('"', '\\') => word.extend(characters.next().map(|(_, character)| character)),
            _ => word.push(character),
        }
    }
    Err(OpenQuote)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(mut text: &str) -> Result<Vec<String>, OpenQuote> {
        let mut words = Vec::new();
        while let Some(word) = first(&mut text)? {
            words.push(word);
        }
        Ok(words)
    }

    #[test]
    fn words_are_cut_at_spaces_and_quotes_keep_them_together() {
        for (text, expected) in [
            ("", &[][..]),
            ("  \t\n", &[]),
            ("one", &["one"]),
            (" one\u{a0}two\nthree ", &["one", "two", "three"]),
            (r#"say "two words" now"#, &["say", "two words", "now"]),
            (r#""a \"b\" \\ c" d"#, &[r#"a "b" \ c"#, "d"]),
            (r#""" x"#, &["", "x"]),
            (r#"it's 5" long"#, &["it's", "5\"", "long"]),
            ("“two words” „und zwei“", &["two words", "und zwei"]),
            (r#""a"b"#, &["a", "b"]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        assert_eq!(words(r#"say "two words"#), Err(OpenQuote));
        assert_eq!(words(r#""\"#), Err(OpenQuote));
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_comes_back(word in ".*") {
            let quoted = word.replace('\\', r"\\").replace('"', "\\\"");
            let text = format!("a \"{quoted}\" b");
            prop_assert_eq!(words(&text).unwrap(), ["a", &word, "b"]);
        }

        #[test]
        fn any_text_ends(text in ".*") {
            let _ = words(&text);
        }
    }
}
