//! Mistakes in the file's shape, told so that one knows what to write instead.

/// How much of a key may be otherwise for it to be taken for another one: `0.0` all of it, `1.0` nothing.
const LIKENESS: f64 = 0.75;

/// What is wrong in the file, in the words of the YAML library, but for keys that are not known: all that may stand there
/// is a long list, so the one that was probably meant is told in its place.
pub(super) fn tell(error: &str) -> String {
    let Some((before, rest)) = error.split_once("unknown field `") else {
        return error.to_owned();
    };
    let Some((key, rest)) = rest.split_once('`') else {
        return error.to_owned();
    };
    let (known, place) = match rest.rfind(" at line ") {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let nearest = known
        .iter()
        .map(|one| (strsim::jaro_winkler(one, key), *one))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness >= LIKENESS);
    let advice = match nearest {
        Some((_, nearest)) => format!("did you mean `{nearest}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    format!("{before}unknown key `{key}`{place}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_the_one_that_was_probably_meant() {
        for (error, told) in [
            (
                "fhir: unknown field `pol_interval_seconds`, expected one of `name`, `url`, `poll_interval_seconds` at line 4 column 3",
                "fhir: unknown key `pol_interval_seconds` at line 4 column 3; did you mean `poll_interval_seconds`?",
            ),
            (
                "unknown field `zzz`, expected `name` or `url` at line 1 column 1",
                "unknown key `zzz` at line 1 column 1; known here: name, url",
            ),
            (
                "audit: unknown field `snk`, expected `sink`",
                "audit: unknown key `snk`; did you mean `sink`?",
            ),
            ("missing field `data`", "missing field `data`"),
            ("unknown field `half", "unknown field `half"),
        ] {
            assert_eq!(tell(error), told);
        }
    }
}
