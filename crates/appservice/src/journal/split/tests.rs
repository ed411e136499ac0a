use super::*;

#[test]
fn an_odd_event_costs_only_itself() {
    let body = br#"{"events":[
        {"event_id":"$1","room_id":"!a","type":"m.room.message","content":{"body":"x"}},
        17, null, "text", {"event_id":5,"room_id":"!a"}, {"event_id":"$2"},
        {"event_id":"$3","room_id":"!b","\u0074ype":"m"}, ["$4","!b"],
        {"event_id":"$5\u0000","room_id":"!b"}, {"event_id":"$6","room_id":"!b\u0000"}
    ],"unknown":{}}"#;
    let entries = split("1", body, &Intake::default()).unwrap().waiting;
    let good: Vec<_> = entries
        .iter()
        .filter(|entry| entry.dead.is_none())
        .map(|entry| (entry.key.as_deref(), &*entry.lane))
        .collect();
    assert_eq!(good, [(Some("$1"), "!a"), (Some("$3"), "!b")]);
    assert_eq!(entries.len(), 10);
}

#[test]
fn a_body_without_events_is_told_from_one_that_is_no_json() {
    for body in [
        "{}",
        "[]",
        "null",
        "7",
        r#"{"events":{}}"#,
        r#"{"events":null}"#,
    ] {
        assert_eq!(
            split("1", body.as_bytes(), &Intake::default()).map(|_| ()),
            Err(BadBody::NoEvents),
            "{body}"
        );
    }
    for body in [
        "",
        "{",
        "events",
        "{\"events\":[}",
        "\u{0}",
        "{\"events\":[]} x",
    ] {
        assert_eq!(
            split("1", body.as_bytes(), &Intake::default()).map(|_| ()),
            Err(BadBody::NotJson),
            "{body}"
        );
    }
    assert_eq!(
        split("1", b"{\"events\":[\"\xff\"]}", &Intake::default()).map(|_| ()),
        Err(BadBody::NotJson)
    );
}

#[test]
fn of_what_passes_only_what_is_listened_to_is_taken_in() {
    let body = br#"{"events":[],"ephemeral":[
        {"type":"m.presence","sender":"@a:b","content":{"presence":"online"}},
        {"type":"m.typing","room_id":"!a","content":{"user_ids":[]}},
        {"type":"m.receipt","room_id":"!a","content":{"$1":{"m.read":{"@a:b":{}}}}}
    ]}"#;
    let sources = |handled: &[&str]| -> Vec<_> {
        let intake = Intake {
            readers: [(
                String::new(),
                handled.iter().map(ToString::to_string).collect(),
            )]
            .into(),
            rooms: None,
        };
        let latest = split("1", body, &intake).unwrap().latest;
        latest.iter().map(|latest| latest.source).collect()
    };
    assert!(sources(&[]).is_empty());
    for source in [
        super::super::PRESENCE,
        super::super::TYPING,
        super::super::RECEIPT,
    ] {
        assert_eq!(sources(&[source]), [source]);
    }
}
