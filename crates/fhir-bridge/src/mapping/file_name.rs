//! What a file is called: names come from strangers.

/// The most characters of a name.
const LONGEST: usize = 100;

/// A name that can be shown and saved: no path, nothing invisible, nothing that turns the direction of
/// reading (`exe.fdp` that looks like `pdf.exe` and the other way round), not too long. What is left of
/// nothing is called after its type.
#[must_use]
pub fn clean(name: &str, content_type: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let cleaned: String = last
        .chars()
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .map(|c| match c {
            '<' | '>' | ':' | '"' | '|' | '?' | '*' => '_',
            c if c.is_whitespace() => ' ',
            c => c,
        })
        .collect();
    let cleaned = cleaned.trim_matches(|c: char| c == '.' || c == ' ');
    if cleaned.is_empty() {
        return format!("attachment{}", extension_of(content_type));
    }
    shorten(cleaned)
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.chars().count() <= 10 => {
            (stem, format!(".{extension}"))
        }
        _ => (name, String::new()),
    };
    let room = LONGEST.saturating_sub(extension.chars().count());
    let stem: String = stem.chars().take(room).collect();
    format!("{}{extension}", stem.trim_end_matches([' ', '.']))
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

fn extension_of(content_type: &str) -> &'static str {
    match content_type {
        "application/pdf" => ".pdf",
        "image/png" => ".png",
        "image/jpeg" => ".jpg",
        "image/gif" => ".gif",
        "text/plain" => ".txt",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_path_and_nothing_invisible_is_left_of_a_name() {
        for (name, clean_name) in [
            ("uitslag.pdf", "uitslag.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\x\\foto 1.png", "foto 1.png"),
            ("..", "attachment.pdf"),
            ("", "attachment.pdf"),
            ("a\u{202E}fdp.exe", "afdp.exe"),
            ("a\0b\n\u{7}.txt", "ab.txt"),
            ("röntgen 日本.png", "röntgen 日本.png"),
            ("a:b?.pdf", "a_b_.pdf"),
        ] {
            assert_eq!(clean(name, "application/pdf"), clean_name, "{name:?}");
        }
        let long = clean(&format!("{}.pdf", "x".repeat(500)), "application/pdf");
        assert!(long.ends_with("x.pdf") && long.chars().count() == 100);
    }

    proptest! {
        #[test]
        fn every_name_becomes_a_harmless_one(name in ".{0,200}") {
            let name = clean(&name, "text/plain");
            prop_assert!(!name.is_empty() && name.chars().count() <= 100);
            let is_odd = name.contains(['/', '\\', '\0', '\n', '\u{202E}']) || name.starts_with('.');
            prop_assert!(!is_odd);
        }
    }
}
