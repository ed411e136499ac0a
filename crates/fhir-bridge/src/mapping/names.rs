//! What rooms are called.

use serde_json::Value;

/// What every space is called.
pub const SPACE: &str = "Care team";
/// What a room is called whose subject line is not shown.
pub const ROOM: &str = "Conversation";
/// The most characters that a room's name has.
const LONGEST: usize = 50;

/// The name of a conversation's room from its subject line: at most 50 characters, in one line. Where the line names
/// the client (a part of the name, the birth date, a number that may be a BSN), it is not shown.
#[must_use]
pub fn room(subject_line: Option<&str>, client: Option<&Value>) -> String {
    let line = subject_line
        .unwrap_or_default()
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if line.is_empty() || has_number(&line) || client.is_some_and(|client| names(&line, client)) {
        return ROOM.to_owned();
    }
    if line.chars().count() <= LONGEST {
        return line;
    }
    let mut short: String = line.chars().take(LONGEST - 1).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// Eight or nine digits, however they are grouped: a BSN, or a birth date in digits.
fn has_number(line: &str) -> bool {
    let mut digits = 0;
    for c in line.chars().chain(['x', 'x']) {
        match c {
            c if c.is_ascii_digit() => digits += 1,
            '.' | '-' | ' ' | '/' => {}
            _ => {
                if digits >= 8 {
                    return true;
                }
                digits = 0;
            }
        }
    }
    false
}

fn names(line: &str, client: &Value) -> bool {
    let line = line.to_lowercase();
    let mut words = Vec::new();
    texts(client.get("name"), &mut words);
    texts(client.get("birthDate"), &mut words);
    words
        .iter()
        .flat_map(|text| text.split_whitespace())
        // Particles such as "de" and initials say nothing alone.
        .filter(|word| word.chars().count() > 2)
        .any(|word| line.contains(&word.to_lowercase()))
}

fn texts<'a>(value: Option<&'a Value>, into: &mut Vec<&'a str>) {
    match value {
        Some(Value::String(text)) => into.push(text),
        Some(Value::Array(items)) => items.iter().for_each(|item| texts(Some(item), into)),
        Some(Value::Object(fields)) => fields
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "use" | "period" | "extension" | "prefix"))
            .for_each(|(_, value)| texts(Some(value), into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_subject_line_is_one_line_of_at_most_fifty_characters() {
        assert_eq!(
            room(Some(" Medicatie\n en  dosering "), None),
            "Medicatie en dosering"
        );
        let long = room(Some(&"é".repeat(80)), None);
        assert_eq!(long.chars().count(), 50);
        for none in [None, Some(""), Some(" \n")] {
            assert_eq!(room(none, None), ROOM);
        }
    }

    #[test]
    fn a_subject_line_that_names_the_client_is_not_shown() {
        let client = json!({
            "name": [{"use": "official", "family": "de Voorbeeldcliënt", "given": ["Testina"]}], "birthDate": "1940-01-01",
        });
        for line in [
            "Medicatie mevrouw voorbeeldcliënt",
            "Testina heeft pijn",
            "geboren 1940-01-01",
            "BSN 999911120",
            "bsn 9999.11.120",
            "01-01-1940",
        ] {
            assert_eq!(room(Some(line), Some(&client)), ROOM, "{line}");
        }
        for line in ["Medicatie", "de dosering", "om 10:30 op 21-11", "official"] {
            assert_eq!(room(Some(line), Some(&client)), line);
        }
    }
}
