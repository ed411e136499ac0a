//! Namespaces match as a homeserver matches them: the same answers as Python's own `re.match`.
//!
//! Needs `python3`, as the testbed does; without it the tests say so and pass.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on fails"
)]

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use matrix_appservice::{
    Registration,
    registration::{Code, Namespace, NamespaceKind, Severity},
};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

/// Reads `[[pattern, [id, …]], …]`, answers `[[bool, …] or null, …]`. A pattern over which Python would
/// brood for ever is answered as far as it got.
const MATCH: &str = "
import json, re, signal, sys, warnings
warnings.simplefilter('ignore')
class Slow(Exception):
    pass
def slow(*_):
    raise Slow
signal.signal(signal.SIGALRM, slow)
def answers(pattern, ids):
    try:
        regex = re.compile(pattern)
    except Exception:
        return None
    found = []
    signal.setitimer(signal.ITIMER_REAL, 1)
    try:
        for id in ids:
            found.append(regex.match(id) is not None)
    except Slow:
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    return found
json.dump([answers(*one) for one in json.load(sys.stdin)], sys.stdout)
";

/// Runs a script; `None` when there is no python3.
fn python(script: &str, input: &Value) -> Option<Value> {
    let child = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: there is no python3");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 failed");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// What the lint says about a pattern and the two engines.
fn differences(pattern: &str) -> Vec<Code> {
    let registration = Registration::generate("a", "a")
        .namespace(NamespaceKind::Users, false, pattern)
        .build()
        .unwrap();
    registration
        .lint()
        .findings()
        .iter()
        .map(|finding| finding.code)
        .filter(|code| {
            matches!(
                code,
                Code::PosixClass | Code::ReadDifferently | Code::BeyondAscii | Code::PythonRefuses
            )
        })
        .collect()
}

/// Asks Python about all of them, and holds the library against it. Gives how many patterns both read.
fn agree(patterns: &[String], ids: &[String]) -> Option<usize> {
    let question: Vec<_> = patterns
        .iter()
        .map(|pattern| json!([pattern, ids]))
        .collect();
    let answers = python(MATCH, &Value::Array(question))?;
    let mut both = 0;
    for (pattern, answer) in patterns.iter().zip(answers.as_array().unwrap()) {
        let Ok(namespace) = Namespace::parse(false, pattern) else {
            continue;
        };
        let differences = differences(pattern);
        let Some(answer) = answer.as_array() else {
            assert!(
                differences.iter().any(|code| *code != Code::BeyondAscii),
                "Python refuses {pattern:?}, and the lint doesn't say so: {differences:?}"
            );
            continue;
        };
        both += 1;
        for (id, expected) in ids.iter().zip(answer) {
            let told = differences.iter().any(|code| match code {
                // Also `\B` in an empty text, which is no id.
                Code::BeyondAscii => {
                    id.is_empty() || !id.is_ascii() || id.contains(char::is_control)
                }
                _ => true,
            });
            assert!(
                told || namespace.matches(id) == expected.as_bool().unwrap(),
                "{pattern:?} on {id:?}: Python says {expected}, and the lint nothing"
            );
        }
    }
    Some(both)
}

const PATTERNS: [&str; 61] = [
    "",
    "!*",
    "!.*",
    ".*",
    "@_a_.*",
    "@_a_*",
    "@_a_",
    "^@_a_.*$",
    "@a|@b",
    "(?:@a|@b)_.*",
    "(@a|@b)_",
    "@_x_.*:one",
    "@_x_.*:example.org",
    r"@_x_.*:example\.org",
    r"@_x_.*:example\.org$",
    r"#irc_.*:x",
    "@[a-z0-9._=/-]+:.*",
    "@[^:]+:x",
    "[]a]",
    "[^]a]",
    "[a-]",
    "[-a]",
    r"[\]a]",
    r"[\[a]",
    "@a{2}",
    "@a{2,}",
    "@a{1,2}?",
    "@a+?",
    "@a??b",
    "(?i)@A_.*",
    "(?i:@A)_.*",
    "(?i)@a|@B",
    "(?s)@a.b",
    "(?m)^@a$",
    "(?P<who>@a)_",
    r"\A@a",
    r"@\w+",
    r"@\d+",
    r"@\S+:",
    r"@a\b",
    r"@a\B",
    r"\x40a",
    r"\u0040a",
    "@é.*",
    "@[é-ü]+",
    r"\@a\_b",
    "@a.b",
    "@a#b",
    "@ a",
    "}",
    "]",
    "(|@a)_",
    "@(a*)*",
    "@(?:a|b)*c",
    "(((@a)))",
    "@_a_(?-i:b)",
    "$",
    "^",
    "@a/b",
    "@a&&b",
    "@a~~b--c",
];

const REFUSED_HERE: [&str; 11] = [
    "(?!x)@a",
    "(?=@a)",
    "(?<=@)a",
    "(?<!@)a",
    r"(@a)\1",
    r"@a\Z",
    "@_a_{id}.*",
    "@a{,2}b",
    "@a{x",
    "(?>@a)",
    "@a(?#note)",
];

const TOLD: [&str; 26] = [
    "@[[:alnum:]]+",
    "@[[:^alnum:]]",
    "@[a-z&&[^b]]",
    "@[a-z--b]",
    "@[a~~b]",
    "@[--a]",
    "@[]-a]",
    "@[^--a]",
    "@[a[b]]",
    r"@\pL",
    r"@[\p{L}]",
    r"@a\z",
    r"@\x{61}",
    r"@[\u{61}]",
    "(?<who>@a)",
    "@a**",
    "@a*+a",
    "@a{2}+",
    "^*@a",
    "@a(?i)b",
    "(?U)@a+",
    "(?x)@ a",
    r"@\<a",
    r"@\b{start}a",
    "@a{ 2 }",
    "(?-s)@a",
];

const IDS: [&str; 31] = [
    "",
    "@",
    "@a",
    "@a:b",
    "@A_x:y",
    "@a_x:y",
    "@aa:x",
    "@aab",
    "@b_1:x",
    "@_a_1:vvt",
    "@_a:x",
    "@_abc:x",
    "@_a_b",
    "x@_a_1:vvt",
    "@_x_1:one",
    "@_x_1:two",
    "@_x_1:example.org",
    "@_x_1:exampleXorg",
    "@_x_1:example.orgEVIL",
    "#irc_rust:x",
    "!room:vvt",
    "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM",
    "anything",
    "@é:x",
    "@e\u{301}:x",
    "@½:x",
    "@ſ:x",
    "@ a",
    "@a.b",
    "@a/b",
    "@a&&b",
];

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn patterns_that_both_engines_read_alike_match_alike() {
    for pattern in PATTERNS {
        let told = differences(pattern);
        assert!(
            told.iter().all(|code| *code == Code::BeyondAscii),
            "{pattern:?}: {told:?}"
        );
    }
    if let Some(both) = agree(&owned(&PATTERNS), &owned(&IDS)) {
        assert_eq!(both, PATTERNS.len(), "Python reads them all");
    }
}

#[test]
fn patterns_that_the_engines_read_differently_are_told_of() {
    for pattern in TOLD {
        let told = differences(pattern);
        assert!(
            told.iter().any(|code| *code != Code::BeyondAscii),
            "{pattern:?}: {told:?}"
        );
    }
    agree(&owned(&TOLD), &owned(&IDS));
}

#[test]
fn patterns_that_only_python_reads_are_refused() {
    for pattern in REFUSED_HERE {
        assert!(Namespace::parse(false, pattern).is_err(), "{pattern}");
    }
    let question: Vec<_> = REFUSED_HERE
        .iter()
        .map(|pattern| json!([pattern, []]))
        .collect();
    if let Some(answers) = python(MATCH, &Value::Array(question)) {
        for (pattern, answer) in REFUSED_HERE.iter().zip(answers.as_array().unwrap()) {
            assert!(answer.is_array(), "Python reads {pattern:?}");
        }
    }
}

/// Patterns out of the pieces that patterns are made of, most of them readable.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(vec![
            "@", "#", "!", "a", "b", "_", ":", ".", "-", ".*", ".+", r"\.", "ab", "é", " ", "&&", "--", "~~",
        ]).prop_map(str::to_owned),
        2 => proptest::sample::select(vec![
            "*", "+", "?", "{2}", "{1,2}", "{,2}", "{ 2 }", "*?", "|", "^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", r"\w",
            r"\d", r"\s", r"\S", r"\pL", r"\<", r"\x61", r"\_", "(?i)", "(?s)", "(?m)", "(?x)", "(?U)", "(?-i)", "{",
            "}", "]", "(?!a)", r"\1",
        ]).prop_map(str::to_owned),
        2 => "\\[\\^?(\\]|--|-)?(a|b|-|_|é|a-z|\\\\w|\\\\.|\\[|&&|--|~~|\\|\\||\\[:alpha:\\]|0-9){0,4}\\]",
    ];
    let some = proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat());
    some.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("{one}|{other}")),
            (
                proptest::sample::select(vec![
                    "(", "(?:", "(?i:", "(?-s:", "(?P<n>", "(?<n>", "(?u:"
                ]),
                inner.clone(),
                proptest::sample::select(vec!["", "*", "+", "?", "{2}"]),
                inner,
            )
                .prop_map(|(open, one, times, other)| format!("{open}{one}){times}{other}")),
        ]
    })
}

#[test]
fn patterns_nobody_thought_of_match_alike_or_are_told_of() {
    // The same each time: what another seed would find must not fail somebody else's change.
    const PATTERNS: usize = 3000;
    let mut runner = TestRunner::deterministic();
    let strategy = pattern();
    let patterns: Vec<String> = (0..PATTERNS)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    let id = "[@#!]?[abAé_:.\\-& ~]{0,8}";
    let ids: Vec<String> = (0..60)
        .map(|_| id.new_tree(&mut runner).unwrap().current())
        .chain(owned(&IDS).into_iter().filter(|id| id.len() < 15))
        .collect();
    if let Some(both) = agree(&patterns, &ids) {
        assert!(both > PATTERNS / 4, "only {both} were read by both");
    }
}

/// `type(value)` of what `PyYAML` reads, which is what Synapse reads registrations with.
const YAML: &str = "
import json, sys
try:
    import yaml
except ImportError:
    json.dump(None, sys.stdout)
    sys.exit()
json.dump([yaml.safe_load(text) for text in json.load(sys.stdin)], sys.stdout)
";

#[test]
fn what_is_written_is_read_by_the_homeservers_yaml_as_it_was_meant() {
    let nasty = [
        "yes",
        "null",
        "~",
        "1_000",
        "0x1f",
        "2026-01-01",
        "12:30",
        " a ",
        "a: b",
        "# a",
        "it's",
        "a\\b",
        "\"a\"",
        "tab\tline\n",
        "é",
        "\u{85}\u{2028}\u{feff}\u{7f}",
        "\u{1f600}",
        "=",
        "<<",
        "- a",
        "{a",
        "%a",
        "@a",
        "!a",
    ];
    let written: Vec<_> = nasty
        .iter()
        .map(|text| {
            let mut registration = Registration::generate(*text, "_a")
                .ghosts("_a.b_")
                .receive_ephemeral()
                .protocol(*text)
                .build()
                .unwrap();
            registration.unknown.insert(*text, *text);
            registration.unknown.insert("float", 1e21);
            registration.expose_yaml()
        })
        .collect();
    let Some(Value::Array(read)) = python(YAML, &json!(written)) else {
        eprintln!("skipped: python3 has no yaml");
        return;
    };
    for (text, read) in nasty.iter().zip(read) {
        assert_eq!(read["id"], json!(text));
        assert_eq!(read["protocols"], json!([text]));
        assert_eq!(read[*text], json!(text));
        assert_eq!(read["float"], json!(1e21));
        assert_eq!(read["url"], Value::Null);
        assert_eq!(read["as_token"].as_str().unwrap().len(), 64);
        assert_eq!(
            read["namespaces"],
            json!({"users": [{"exclusive": true, "regex": r"@_a\.b_.*"}]})
        );
        assert_eq!(read["de.sorunome.msc2409.push_ephemeral"], json!(true));
    }
}

/// Loads registrations as Synapse does; answers `null`, or the words with which it refuses.
const SYNAPSE: &str = "
import json, sys
from synapse.config.appservice import load_appservices
from synapse.storage.databases.main.appservice import _make_exclusive_regex
def load(path):
    try:
        services = load_appservices('example.org', [path])
        _make_exclusive_regex(services + services[:0])
    except Exception as error:
        return type(error).__name__
json.dump([load(path) for path in json.load(sys.stdin)], sys.stdout)
";

#[test]
fn synapse_loads_what_is_accepted_here_without_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let base = |id: &str| Registration::generate(id, "_a").ghosts("_a_");
    let builders = [
        base("plain"),
        base("whole")
            .url("http://127.0.0.1:1")
            .aliases("_a.b_")
            .receive_ephemeral()
            .rate_limited(false)
            .protocol("x")
            .unstable(|unstable| {
                unstable.msc3202 = Some(true);
                unstable.msc4190 = Some(false);
                unstable.ip_range_whitelist = vec!["10.0.0.0/8".to_owned(), "::1".to_owned()];
            }),
        base("flags").namespace(NamespaceKind::Users, true, "(?i)@_b_.*"),
        base("class").namespace(NamespaceKind::Rooms, false, r"!\pL+"),
        Registration::generate("sender", "_a=b"),
        base("range").unstable(|unstable| unstable.ip_range_whitelist = vec!["ten".to_owned()]),
        base("half").unstable(|unstable| unstable.msc4512_proxy_url = Some("http://x".to_owned())),
    ];
    let mut paths = Vec::new();
    let mut refused = Vec::new();
    for builder in builders {
        let registration = builder.build().unwrap();
        let path = folder.path().join(&registration.id);
        registration.write_new(&path).unwrap();
        paths.push(path);
        refused.push(registration.lint().worst() == Some(Severity::Error));
    }
    assert_eq!(refused, [false, false, true, true, true, true, true]);

    // The testbed's Synapse, where a test has installed it already.
    let installed = std::fs::read_dir(testbed::root())
        .into_iter()
        .flatten()
        .flatten()
        // Beside it are the tools that check formats, in a Python of their own.
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("venv-"))
        .map(|entry| entry.path().join("bin/python"))
        .find(|path| path.exists());
    let Some(python) = installed else {
        eprintln!("skipped: the testbed's Synapse isn't installed yet");
        return;
    };
    let mut child = Command::new(python)
        .args(["-c", SYNAPSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(json!(paths).to_string().as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let theirs: Vec<bool> = answers.iter().map(|answer| !answer.is_null()).collect();
    assert_eq!(theirs, refused, "{answers:?}");
}
