//! The lint finds what is hardly meant, says where it stands, and never shows a token.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on fails"
)]

use matrix_appservice::{
    Registration,
    registration::{Code, NamespaceKind, RegistrationFile, Severity, Token, YamlValue},
};

const AS_TOKEN: &str = "6db10d4bd2a4c1b38e4f5ee2f0b6f53e1c6a9f6a0a6d9a2a3b0f7f1c1e9d7c55";
const HS_TOKEN: &str = "0a9de37f16e2c0a35be86c4d5a3f1f7092f7a1e3be4cd5f8796a1b2c3d4e5f60";

fn with_tokens(as_token: &str, hs_token: &str) -> Registration {
    let mut registration = Registration::generate("irc bridge", "_irc")
        .url("http://127.0.0.1:1")
        .ghosts("_irc_")
        .build()
        .unwrap();
    registration.as_token = Token::parse(as_token).unwrap();
    registration.hs_token = Token::parse(hs_token).unwrap();
    registration
}

fn codes(registration: &Registration) -> Vec<Code> {
    let mut codes: Vec<_> = registration
        .lint()
        .findings()
        .iter()
        .map(|finding| finding.code)
        .collect();
    codes.sort();
    codes
}

#[test]
fn nothing_is_said_about_a_good_registration() {
    assert_eq!(codes(&with_tokens(AS_TOKEN, HS_TOKEN)), []);
    for _ in 0..200 {
        let new = Registration::generate("irc", "_irc")
            .url("https://a")
            .ghosts("_irc_")
            .build();
        assert_eq!(
            codes(&new.unwrap()),
            [],
            "a new token is never called guessable"
        );
    }
}

#[test]
fn patterns_that_are_hardly_meant_are_found() {
    use NamespaceKind::{Aliases, Rooms, Users};
    for (kind, exclusive, pattern, expected) in [
        (Rooms, false, "!*", &[Code::MatchesEverything][..]),
        (Rooms, false, "", &[Code::MatchesEverything]),
        (Rooms, false, ".*", &[Code::MatchesEverything]),
        (Rooms, false, "!.*", &[]),
        (Rooms, true, "!.*", &[Code::ExclusiveForAll]),
        (
            Users,
            true,
            "@*",
            &[Code::MatchesEverything, Code::ExclusiveForAll],
        ),
        (Users, true, "@.*", &[Code::ExclusiveForAll]),
        (Users, false, "@.*", &[]),
        (Users, true, "_irc_.*", &[Code::MatchesNothing]),
        (Aliases, false, "@_irc_.*", &[Code::MatchesNothing]),
        (Users, true, "@_irc_*", &[Code::Glob]),
        (Users, true, "@_irc_.*:example.org", &[Code::UnescapedDot]),
        (Users, true, r"@_irc_.*:example\.org", &[]),
        (Aliases, true, r"#_irc_.*:example\.org", &[Code::OpenEnd]),
        (Aliases, true, r"#_irc_.*:example\.org$", &[]),
        (Rooms, false, r"!.*:example\.org$", &[Code::RoomServer]),
        (Users, true, "@irc_.*", &[Code::NoUnderscore]),
        (Users, false, "@irc_.*", &[]),
        (Users, true, "@_irc_[[:alnum:]]+", &[Code::PosixClass]),
        (Users, true, "@_irc_[a-z&&[^b]]", &[Code::ReadDifferently]),
        (Users, true, r"@_irc_\w+", &[Code::BeyondAscii]),
        (Users, true, r"@_irc_\pL", &[Code::PythonRefuses]),
        (Users, true, "@_irc_(a+)+", &[Code::NestedRepetition]),
        (Users, true, "(?s)@_irc_.*", &[Code::GlobalFlags]),
        (Users, false, "(?s)@_irc_.*", &[]),
    ] {
        let mut registration = Registration::generate("a", "_a")
            .url("http://localhost:1")
            .namespace(kind, exclusive, pattern)
            .build()
            .unwrap();
        registration.as_token = Token::parse(AS_TOKEN).unwrap();
        let mut found = codes(&registration);
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{kind} {pattern}");
    }
}

#[test]
fn namespaces_that_take_the_same_id_are_found_and_the_id_is_shown() {
    let found = |one: (bool, &str), other: (bool, &str)| {
        let registration = Registration::generate("a", "_a")
            .url("http://localhost:1")
            .namespace(NamespaceKind::Users, one.0, one.1)
            .namespace(NamespaceKind::Users, other.0, other.1)
            .build()
            .unwrap();
        let lint = registration.lint();
        let overlap = lint
            .findings()
            .iter()
            .find(|finding| finding.code == Code::Overlap);
        overlap.map(|finding| (finding.severity, finding.explanation.clone()))
    };
    let (severity, text) = found((true, "@_a_.*"), (true, "@_a_b_.*")).unwrap();
    assert_eq!(severity, Severity::Note);
    assert!(
        text.contains("`@_a_b_`") && text.contains("`namespaces.users[0]`"),
        "{text}"
    );
    let (severity, _) = found((false, "@_a_.*"), (true, "@_a_b_.*")).unwrap();
    assert_eq!(severity, Severity::Warning, "the second is never exclusive");
    assert_eq!(found((true, "@_a_.*"), (true, "@_b_.*")), None);
    assert_eq!(found((true, "@_a_[0-9]+:"), (true, "@_a_[a-z]+:")), None);
}

#[test]
fn weak_tokens_are_found_and_never_shown() {
    let canaries = [
        "Zq7canary".repeat(5),
        "canary-token-of-some-length-0a1b2c3d4e5f".to_owned(),
        "canarycanarycanarycanarycanarycanary".to_owned(),
        "canary0123abcdef".to_owned(),
        "canary-irc bridge-0123456789abcdefghij".replace(' ', "-"),
    ];
    for (token, expected) in [
        (canaries[0].as_str(), Code::GuessableToken),
        (&canaries[1], Code::GuessableToken),
        (&canaries[2], Code::GuessableToken),
        (&canaries[3], Code::ShortToken),
        (
            "30c05ae90a248a4188e620216fa72e349803310ec83e2a77b34fe90be6081f46",
            Code::ExampleToken,
        ),
        (
            "312df522183efd404ec1cd22d2ffa4bbc76a8c1ccf541dd692eef281356bb74e",
            Code::ExampleToken,
        ),
        (AS_TOKEN, Code::EqualTokens),
    ] {
        let registration = with_tokens(AS_TOKEN, token);
        let lint = registration.lint();
        assert!(
            lint.findings()
                .iter()
                .any(|finding| finding.code == expected),
            "{lint}"
        );
        assert!(
            lint.findings()
                .iter()
                .all(|finding| finding.field.as_deref() == Some("hs_token"))
        );
        let shown = format!("{lint} {lint:?} {registration:?}");
        assert!(
            !shown.contains("canary") && !shown.contains(&token[..8]),
            "{shown}"
        );
    }
}

#[test]
fn a_former_token_is_named_and_checked_but_never_shown() {
    let mut registration = with_tokens(AS_TOKEN, HS_TOKEN);
    registration
        .accept_also(Token::parse("canary-token-word").unwrap())
        .unwrap();
    assert_eq!(
        codes(&registration),
        [Code::ShortToken, Code::GuessableToken, Code::FormerToken]
    );
    let shown = format!("{} {registration:?}", registration.lint());
    assert!(!shown.contains("canary"), "{shown}");
    assert!(
        !registration.expose_yaml().contains("canary"),
        "it stands in no file"
    );
    assert!(
        registration
            .accept_also(Token::parse(AS_TOKEN).unwrap())
            .is_err()
    );
}

#[test]
fn a_finding_is_one_line_with_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    std::fs::write(
        &path,
        format!(
            "id: a\nurl: http://192.0.2.1:1\nas_token: {AS_TOKEN}\nhs_token: {HS_TOKEN}\nsender_localpart: _A\n\
             rate_limitd: false\nnamespaces:\n  users:\n    - exclusive: true\n      regex: \"@_a_*\\n\"\n      \
             group_id: a\n  room: []\nip_range_whitelist: ['10.0.0.0/33']\n"
        ),
    )
    .unwrap();
    let registration = Registration::load(&path).unwrap();
    let lint = registration.lint();
    let place = |code: Code| {
        let finding = lint
            .findings()
            .iter()
            .find(|finding| finding.code == code)
            .unwrap();
        assert_eq!(finding.file.as_deref(), Some(path.as_path()));
        let shown = finding.to_string();
        assert!(!shown.contains('\n'), "{shown}");
        assert!(shown.contains(&format!("[{code}]")), "{shown}");
        finding.line
    };
    assert_eq!(place(Code::PlainHttp), Some(2));
    assert_eq!(place(Code::SenderLocalpart), Some(5));
    assert_eq!(place(Code::UnknownField), Some(6));
    assert_eq!(place(Code::Glob), Some(9));
    assert_eq!(place(Code::GroupId), Some(9));
    assert_eq!(place(Code::IpRange), Some(13));
    assert_eq!(lint.worst(), Some(Severity::Error));
    assert!(
        lint.to_string().contains("did you mean `rate_limited`?"),
        "{lint}"
    );
    let lines = lint.to_string().lines().count();
    assert_eq!(lines, lint.findings().len() + lint.namespaces().len());
}

#[test]
fn both_names_of_the_ephemeral_switch_are_wanted() {
    let mut registration = with_tokens(AS_TOKEN, HS_TOKEN);
    registration.receive_ephemeral = true;
    assert_eq!(codes(&registration), [Code::EphemeralNames]);
    assert!(registration.wants_ephemeral());
    registration.unstable.msc2409_push_ephemeral = Some(true);
    assert_eq!(codes(&registration), []);
    registration.receive_ephemeral = false;
    assert_eq!(codes(&registration), [Code::EphemeralNames]);
    assert!(registration.wants_ephemeral());
}

#[test]
fn a_field_of_somebodys_own_is_left_alone() {
    let mut registration = with_tokens(AS_TOKEN, HS_TOKEN);
    registration
        .unknown
        .insert("org.example.mine", YamlValue::Null);
    assert_eq!(codes(&registration), []);
    registration.unknown.insert("mine", YamlValue::Null);
    assert_eq!(codes(&registration), [Code::UnknownField]);
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_found_also_the_one_of_a_token() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (path, token) = (folder.path().join("a.yaml"), folder.path().join("token"));
    with_tokens(AS_TOKEN, HS_TOKEN).write_new(&path).unwrap();
    std::fs::write(&token, HS_TOKEN).unwrap();
    let found = |mode: u32, token_mode: u32| {
        let set = |path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&path, mode);
        set(&token, token_mode);
        let registration = RegistrationFile::new(&path)
            .hs_token_from_file(&token)
            .load()
            .unwrap();
        let lint = registration.lint();
        lint.findings()
            .iter()
            .map(|finding| {
                assert_eq!(finding.code, Code::OpenFile);
                (finding.severity, finding.file.clone().unwrap())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(found(0o600, 0o640), []);
    assert_eq!(found(0o604, 0o600), [(Severity::Warning, path.clone())]);
    assert_eq!(found(0o600, 0o644), [(Severity::Warning, token.clone())]);
    assert_eq!(found(0o666, 0o600), [(Severity::Error, path.clone())]);
}

#[test]
fn sample_ids_are_explained() {
    let registration = Registration::generate("a", "_bot")
        .namespace(NamespaceKind::Users, false, "@_a_open_.*")
        .namespace(NamespaceKind::Users, true, "@_a_")
        .namespace(NamespaceKind::Rooms, false, "!*")
        .build()
        .unwrap();
    let lint = registration.lint();
    let explained = lint.explain([
        "@_a_open_1:x",
        "@_a_1:x",
        "@bob:x",
        "@_bot:x",
        "!r",
        "bob",
        "\n",
    ]);
    assert_eq!(
        explained.to_string(),
        "@_a_open_1:x: namespaces.users[0] `@_a_open_.*` takes all of it; \
         namespaces.users[1] `@_a_` takes it for its start `@_a_`; not exclusive\n\
         @_a_1:x: namespaces.users[1] `@_a_` takes it for its start `@_a_`; exclusive\n\
         @bob:x: in no namespace of users\n\
         @_bot:x: the sender, if the server is the homeserver; in no namespace of users\n\
         !r: namespaces.rooms[0] `!*` takes it for its start `!`; not exclusive\n\
         bob: no user id, room alias or room id: these begin with @, # and !\n\
         \\n: no user id, room alias or room id: these begin with @, # and !\n"
    );
    for sample in &explained.samples {
        let users = &registration.namespaces.users;
        if sample.kind == Some(NamespaceKind::Users) {
            assert_eq!(sample.is_exclusive(), users.matches_exclusively(&sample.id));
        }
    }
}
