use serde_yaml::Value;

use super::{super::Registration, Overrides, RegistrationError};

fn parse(text: &str) -> Result<Registration, RegistrationError> {
    super::parse(text, Overrides::default())
}

const GOOD: &str = r##"# The bridge's registration, as a homeserver reads it. List this file in Synapse's homeserver.yaml:
#
#   app_service_config_files:
#     - /data/fhir-bridge.yaml
#
# The two tokens are the Matrix specification's public examples. Replace both before you let anyone in:
#   openssl rand -hex 32
id: FHIR Bridge
url: http://127.0.0.1:1234
as_token: 30c05ae90a248a4188e620216fa72e349803310ec83e2a77b34fe90be6081f46
hs_token: 312df522183efd404ec1cd22d2ffa4bbc76a8c1ccf541dd692eef281356bb74e
sender_localpart: _fhir
namespaces:
  users:
    - exclusive: true
      regex: "@_fhir_bridge_.*"
  aliases:
    - exclusive: false
      regex: "#_fhir_bridge_.*"
  rooms:
    - exclusive: false
      regex: "!*"
"##;

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_example_registration_loads_as_it_is() {
    let registration = parse(GOOD).unwrap();
    assert_eq!(registration.id, "FHIR Bridge");
    assert_eq!(registration.rate_limited, None);
    assert!(
        registration
            .namespaces
            .users
            .matches_exclusively("@_fhir_bridge_a:vvt")
    );
    assert!(
        registration
            .namespaces
            .aliases
            .matches("#_fhir_bridge_a:vvt")
    );
    assert!(
        !registration
            .namespaces
            .aliases
            .matches_exclusively("#_fhir_bridge_a:vvt")
    );
    assert!(registration.namespaces.rooms.matches("!any"));
    assert_eq!(registration.namespaces.rooms.iter().count(), 1);
    assert!(registration.unknown.is_empty());
}

#[test]
fn unknown_fields_are_kept() {
    let registration = parse(&format!("{GOOD}\norg.example.mine: true\n")).unwrap();
    assert_eq!(
        registration.unknown.get("org.example.mine"),
        Some(&Value::Bool(true))
    );
}

#[test]
fn a_fault_is_told_with_line_and_field() {
    for (from, to, line, words) in [
        ("id: FHIR Bridge", "id: a|b", 8, "`id` must not contain"),
        (
            "hs_token: 312",
            "hs_token: null # ",
            11,
            "`hs_token` must be a string, this is null",
        ),
        (
            "as_token: 30c05",
            "as_token: 12345 # ",
            10,
            "`as_token` must be a string, this is a number",
        ),
        (
            "url: http://127.0.0.1:1234",
            "url: localhost",
            9,
            "`url` must start with",
        ),
        (
            "sender_localpart: _fhir",
            "sender_localpart: '@_fhir'",
            12,
            "between `@` and `:`",
        ),
        (
            "exclusive: true",
            "exclusive: 'true'",
            15,
            "`namespaces.users[0]`",
        ),
        (
            "\"#_fhir_bridge_.*\"",
            "\"(?!x)\"",
            19,
            "`namespaces.aliases[0]`",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert_eq!(error.line(), Some(line), "{from}: {error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn an_error_never_shows_a_token() {
    let token = "x-secret-canary-token";
    for text in [
        format!("as_token: {token}\nhs_token: [{token}"),
        format!(
            "id: a\nurl: null\nas_token: {token}\nhs_token: {token}\nsender_localpart: a\nnamespaces: {{}}"
        ),
        format!("id: a\nurl: null\nas_token: [{token}]"),
        format!("id: a\nurl: null\nas_token: \"{token}\u{e9}\""),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

#[test]
fn other_documents_are_refused_in_words() {
    assert!(refused("- a").contains("a list"));
    assert!(refused("").contains("null"));
    assert!(refused("id: [").contains("no YAML"));
    assert!(refused("id: x").contains("`url` is missing"));
}

#[test]
fn booleans_are_read_as_homeservers_read_them() {
    let text = GOOD.replacen("exclusive: true", "exclusive: yes", 1);
    assert!(
        parse(&text)
            .unwrap()
            .namespaces
            .users
            .matches_exclusively("@_fhir_bridge_x:y")
    );
}

#[test]
fn fields_of_proposals_are_read() {
    let registration = parse(&format!(
        "{GOOD}\nde.sorunome.msc2409.push_ephemeral: true\norg.matrix.msc3202: on\n\
         io.element.msc4190: false\nip_range_whitelist: ['::1']\n\
         io.element.msc4502.scopes: [a]\nio.element.msc4512.proxy_prefix: b\n\
         io.element.msc4512.proxy_url: c\n"
    ))
    .unwrap();
    let unstable = &registration.unstable;
    assert!(registration.unknown.is_empty());
    assert!(registration.wants_ephemeral() && !registration.receive_ephemeral);
    assert_eq!(unstable.msc3202, Some(true));
    assert_eq!(unstable.msc4190, Some(false));
    assert_eq!(unstable.ip_range_whitelist, ["::1"]);
    assert_eq!(unstable.msc4502_scopes, ["a"]);
    assert_eq!(unstable.msc4512_proxy_prefix.as_deref(), Some("b"));
    assert_eq!(unstable.msc4512_proxy_url.as_deref(), Some("c"));
}

#[test]
fn what_a_homeserver_reads_as_something_else_is_refused() {
    for (from, to, words) in [
        (
            "id: FHIR Bridge",
            "id: yes",
            "`id` must be a string, homeservers read this as a boolean",
        ),
        ("id: FHIR Bridge", "id: 2026-01-01 # a comment", "as a date"),
        (
            "hs_token: 312",
            "hs_token: 1234_5678_9012_3456 # 312",
            "as a number",
        ),
        (
            "url: http://127.0.0.1:1234",
            "url: http://a/?b=c",
            "`url` must have no",
        ),
        ("exclusive: true", "exclusive: \"yes\"", "without quotes"),
        ("exclusive: true", "exclusive: 'true'", "without quotes"),
        ("\"@_fhir_bridge_.*\"", "!x", "a YAML tag: put it in quotes"),
        ("\"#_fhir_bridge_.*\"", "#x", "null: put it in quotes"),
        ("namespaces:", "id: twice\nnamespaces:", "twice"),
        (
            "namespaces:",
            "rate_limited: 'no'\nnamespaces:",
            "`rate_limited` must be true or false",
        ),
        (
            "namespaces:",
            "org.matrix.msc3202: 1\nnamespaces:",
            "`org.matrix.msc3202`",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = refused(&GOOD.replacen(from, to, 1));
        assert!(error.contains(words), "{to}: {error}");
    }
    let quoted = GOOD.replacen("id: FHIR Bridge", "id: 'yes'", 1);
    assert_eq!(parse(&quoted).unwrap().id, "yes");
    let empty = GOOD.replacen("  rooms:", "  rooms:\nreceive_ephemeral: no\nx:", 1);
    let error = parse(&empty).unwrap_err();
    assert_eq!(error.field(), Some("namespaces.rooms"));
    assert_eq!(error.line(), Some(20));
}

#[test]
fn merged_mappings_are_merged_as_homeservers_do() {
    let text = GOOD.replacen("exclusive: true", "<<: {exclusive: true}", 1);
    assert!(
        parse(&text)
            .unwrap()
            .namespaces
            .users
            .matches_exclusively("@_fhir_bridge_x:y")
    );
}
