//! What is written is what is read again, and holds to the specification's schema.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that can't go on fails"
)]

use std::path::Path;

use matrix_appservice::{
    Registration,
    registration::{Namespace, NamespaceKind, Token, YamlValue},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// Text that a careless writer would break.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
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
            "\\",
            "\"",
            "é",
            "\u{85}\u{2028}\u{feff}\u{7f}",
            "\u{1f600}",
            "<<",
            "- a",
            "[a",
            "? a",
            "a\r\nb",
        ])
        .prop_map(str::to_owned),
        "[ -~]{1,20}",
        "\\PC{1,8}",
        any::<String>(),
    ]
}

fn value() -> impl Strategy<Value = YamlValue> {
    let leaf = prop_oneof![
        Just(YamlValue::Null),
        any::<bool>().prop_map(YamlValue::from),
        any::<i64>().prop_map(YamlValue::from),
        any::<u64>().prop_map(YamlValue::from),
        any::<f64>().prop_map(YamlValue::from),
        text().prop_map(YamlValue::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(YamlValue::from),
            // `<<` isn't a key but an order to merge.
            vec(
                (text().prop_filter("merge", |key| key != "<<"), inner),
                0..3
            )
            .prop_map(|fields| {
                YamlValue::Mapping(
                    fields
                        .into_iter()
                        .map(|(key, value)| (YamlValue::from(key), value))
                        .collect(),
                )
            }),
        ]
    })
}

fn namespace() -> impl Strategy<Value = (NamespaceKind, Namespace)> {
    let pattern = prop_oneof![
        select(vec![
            "!*",
            "",
            "@_a_.*",
            r"@_a\.b_.*",
            "#é.*",
            "a'b",
            "\"",
            "\t",
            " "
        ])
        .prop_map(str::to_owned),
        text().prop_filter("a pattern", |text| Namespace::parse(true, text).is_ok()),
    ];
    (select(NamespaceKind::ALL.to_vec()), any::<bool>(), pattern).prop_map(
        |(kind, exclusive, pattern)| (kind, Namespace::parse(exclusive, &pattern).unwrap()),
    )
}

prop_compose! {
    fn registration()(
        id in text().prop_filter("an id", |id| !id.trim().is_empty() && !id.contains('|')),
        url in option::of("http://[a-z]{1,8}(:[1-9][0-9]{0,3})?(/[a-z]{1,4})?"),
        tokens in ("[!-~]{16,80}", "[!-~]{16,80}").prop_filter("two", |(one, other)| one != other),
        sender in "[a-z0-9._=/-]{1,10}",
        namespaces in vec(namespace(), 0..5),
        flags in any::<[Option<bool>; 4]>(),
        receive_ephemeral in any::<bool>(),
        lists in (vec(text(), 0..3), vec(text(), 0..3), vec(text(), 0..3)),
        proxy in (option::of("[a-z/]{1,9}"), option::of(text().prop_filter("text", |text| !text.trim().is_empty()))),
        unknown in vec(("[a-z]{1,4}\\.[ -~]{0,9}", value()), 0..4),
        lost in vec(("[a-z]{1,4}\\.[ -~]{0,9}", value()), 0..2),
    ) -> Registration {
        let mut builder = Registration::generate(id, sender);
        if let Some(url) = url {
            builder = builder.url(url);
        }
        for (kind, namespace) in &namespaces {
            builder = builder.namespace(*kind, namespace.is_exclusive(), namespace.pattern());
        }
        let mut registration = builder.build().unwrap();
        registration.as_token = Token::parse(tokens.0).unwrap();
        registration.hs_token = Token::parse(tokens.1).unwrap();
        registration.rate_limited = flags[0];
        registration.receive_ephemeral = receive_ephemeral;
        let unstable = &mut registration.unstable;
        (unstable.msc2409_push_ephemeral, unstable.msc3202, unstable.msc4190) = (flags[1], flags[2], flags[3]);
        (registration.protocols, unstable.msc4502_scopes, unstable.ip_range_whitelist) = lists;
        (unstable.msc4512_proxy_prefix, unstable.msc4512_proxy_url) = proxy;
        for (name, value) in unknown {
            registration.unknown.insert(name, value);
        }
        for (name, value) in lost {
            registration.namespaces.unknown.insert(name, value);
        }
        registration
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn what_is_written_is_what_is_read_again(registration in registration()) {
        let read = Registration::parse(&registration.expose_yaml());
        prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(registration));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(id: a\n|url: |null\n|hs_token: |namespaces:\n|  users:\n|    - |exclusive: |regex: |yes\n|'|\"|\\{|\\}|\\[|#|- |a{20}\n|\\PC){0,24}") {
        let _ = Registration::parse(&text);
    }
}

#[test]
fn everything_in_a_file_is_kept_when_it_is_written_again() {
    let text = r#"
id: a
url: null
as_token: an-example-as-token-of-some-length
hs_token: an-example-hs-token-of-some-length
sender_localpart: a
org.example.mine: {b: [1, two, 3.5, null], 4: true}
namespaces:
  users:
    - {exclusive: true, regex: "@_a_.*", group_id: "+a:b", org.example.more: 1}
  uk.half-shot.msc4417.preview_urls:
    - {exclusive: false, regex: "https://example\\.org/.*"}
  org.example.things: [x]
io.element.msc4190: yes
5: five
"#;
    let registration = Registration::parse(text).unwrap();
    let users: Vec<_> = registration.namespaces.users.iter().collect();
    assert_eq!(users[0].group_id(), Some("+a:b"));
    assert_eq!(
        users[0].unknown().get("org.example.more"),
        Some(&YamlValue::from(1))
    );
    assert!(
        registration
            .namespaces
            .preview_urls
            .matches("https://example.org/x")
    );
    assert!(
        registration
            .namespaces
            .unknown
            .get("org.example.things")
            .is_some()
    );
    assert_eq!(registration.unstable.msc4190, Some(true));
    let written = registration.expose_yaml();
    assert!(written.contains("\n5: 'five'\n"), "{written}");
    assert_eq!(Registration::parse(&written).unwrap(), registration);
}

/// Holds a document against the part of JSON Schema that the specification's registration uses.
fn check(schema: &YamlValue, value: &YamlValue, at: &str, faults: &mut Vec<String>) {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_bool(),
        "array" => value.is_sequence(),
        "object" => value.is_mapping(),
        other => panic!("the schema has a new type: {other}"),
    };
    let right = match schema.get("type") {
        None => true,
        Some(YamlValue::String(name)) => is(name),
        Some(names) => names
            .as_sequence()
            .is_some_and(|names| names.iter().filter_map(YamlValue::as_str).any(is)),
    };
    if !right {
        faults.push(format!("{at} has another type"));
    }
    for name in schema
        .get("required")
        .and_then(YamlValue::as_sequence)
        .into_iter()
        .flatten()
    {
        if value.get(name).is_none() {
            faults.push(format!("{at} lacks {name:?}"));
        }
    }
    for (name, schema) in schema
        .get("properties")
        .and_then(YamlValue::as_mapping)
        .into_iter()
        .flatten()
    {
        if let Some(value) = value.get(name) {
            check(
                schema,
                value,
                &format!("{at}.{}", name.as_str().unwrap()),
                faults,
            );
        }
    }
    if let (Some(schema), Some(items)) = (schema.get("items"), value.as_sequence()) {
        for (index, value) in items.iter().enumerate() {
            check(schema, value, &format!("{at}[{index}]"), faults);
        }
    }
    for part in schema
        .get("allOf")
        .and_then(YamlValue::as_sequence)
        .into_iter()
        .flatten()
    {
        if part.get("$ref").and_then(YamlValue::as_str) == Some("namespace_list.yaml") {
            check(&namespace_list(), value, at, faults);
        }
    }
}

/// The file that the schema refers to, in its own words.
fn namespace_list() -> YamlValue {
    serde_yaml::from_str(
        "{type: array, items: {type: object, required: [exclusive, regex],
          properties: {exclusive: {type: boolean}, regex: {type: string}}}}",
    )
    .unwrap()
}

#[test]
fn generated_files_hold_to_the_specifications_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/matrix-spec/registration.schema.yaml");
    let Ok(schema) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: the schema isn't at {}", path.display());
        return;
    };
    let schema: YamlValue = serde_yaml::from_str(&schema).unwrap();
    let faults = |text: &str| {
        let mut faults = Vec::new();
        check(
            &schema,
            &serde_yaml::from_str(text).unwrap(),
            "",
            &mut faults,
        );
        faults
    };
    let least = Registration::generate("a", "a").build().unwrap();
    let most = Registration::generate("a", "a")
        .url("http://127.0.0.1:1")
        .ghosts("_a_")
        .aliases("_a_")
        .namespace(NamespaceKind::Rooms, false, "!.*")
        .receive_ephemeral()
        .rate_limited(false)
        .protocol("irc")
        .build()
        .unwrap();
    for registration in [least, most] {
        assert_eq!(faults(&registration.expose_yaml()), [""; 0]);
    }
    // The check itself does see faults.
    assert_eq!(
        faults("{id: 1, url: null, as_token: a, hs_token: b, namespaces: {users: [{regex: a}]}}"),
        [
            " lacks String(\"sender_localpart\")",
            ".id has another type",
            ".namespaces.users[0] lacks String(\"exclusive\")"
        ]
    );
}

#[cfg(unix)]
#[test]
fn a_written_file_is_for_its_owner_only_and_never_overwritten_unasked() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let one = Registration::generate("one", "a").build().unwrap();
    let two = Registration::generate("two", "a").build().unwrap();
    one.write_new(&path).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let error = two.write_new(&path).unwrap_err();
    assert!(
        error.to_string().contains("there is a file already"),
        "{error}"
    );
    assert_eq!(Registration::load(&path).unwrap(), one);
    two.replace_file(&path).unwrap();
    assert_eq!(Registration::load(&path).unwrap(), two);

    let mut broken = one;
    broken.id = "a|b".to_owned();
    assert_eq!(broken.replace_file(&path).unwrap_err().field(), Some("id"));
    assert_eq!(
        Registration::load(&path).unwrap(),
        two,
        "the old file stays"
    );
}
