//! Which command was probably meant. Pure.

/// The name that takes the fewest changes of a letter, at most a third of them.
pub(super) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = typed.chars().take(32).collect();
    names
        .map(|name| (distance(&typed, name), name))
        .filter(|(changes, name)| *changes <= name.chars().count().max(3) / 3)
        .min()
        .map(|(_, name)| name)
}

/// How many letters have to be put in, left out or changed (Levenshtein's distance).
fn distance(typed: &[char], name: &str) -> usize {
    let mut row: Vec<usize> = (0..=typed.len()).collect();
    for (line, letter) in name.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in typed.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[typed.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood_and_another_word_is_not() {
        let names = ["link", "unlink", "list", "help"];
        for (typed, expected) in [
            ("lnk", Some("link")),
            ("linkk", Some("link")),
            ("unlik", Some("unlink")),
            ("hepl", None),
            ("hlp", Some("help")),
            ("lisp", Some("list")),
            ("", None),
            ("delete-everything", None),
            ("ĺink", Some("link")),
        ] {
            assert_eq!(nearest(typed, names.into_iter()), expected, "{typed}");
        }
    }

    #[test]
    fn the_distance_counts_letters() {
        let distance = |typed: &str, name| distance(&typed.chars().collect::<Vec<_>>(), name);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
