use ruma::{event_id, owned_room_id, owned_user_id, room_id, user_id};
use serde_json::json;

use super::*;

const ROOM: &str = "!room";

fn memory() -> Memory {
    Memory::new(
        4,
        Box::new(|user: &UserId| user.localpart().starts_with("_ghost")),
    )
}

fn room() -> &'static RoomId {
    room_id!("!room")
}

fn ghost() -> &'static UserId {
    user_id!("@_ghost_1:hs.test")
}

const AT_MS: u64 = 1_700_000_000_000;

fn see(memory: &Memory, kind: &str, key: &str, content: &Value) {
    let event = json!({
        "type": kind, "state_key": key, "sender": "@_ghost_1:hs.test", "room_id": ROOM,
        "event_id": event_id!("$1"), "origin_server_ts": AT_MS, "content": content,
    });
    memory.observe(event.to_string().as_bytes());
}

fn member(memory: &Memory, membership: &str) {
    let content = json!({"membership": membership, "displayname": "Jansen"});
    see(memory, "m.room.member", ghost().as_str(), &content);
}

fn levels() -> Arc<RoomPowerLevels> {
    let rules = ruma::room_version_rules::AuthorizationRules::V12;
    let source = ruma::events::room::power_levels::RoomPowerLevelsSource::None;
    Arc::new(RoomPowerLevels::new(source, &rules, [ghost().to_owned()]))
}

#[test]
fn who_comes_and_goes_is_seen_in_the_events_that_pass_by() {
    let memory = memory();
    assert!(!memory.is_joined(room(), ghost()));
    member(&memory, "join");
    assert!(memory.is_joined(room(), ghost()));
    for gone in ["leave", "ban", "invite", "knock"] {
        member(&memory, "join");
        member(&memory, gone);
        assert!(!memory.is_joined(room(), ghost()), "{gone}");
    }
    // People are none of our business.
    let content = json!({"membership": "join"});
    see(&memory, "m.room.member", "@arts:hs.test", &content);
    assert!(!memory.is_joined(room(), user_id!("@arts:hs.test")));
    // A message that speaks of it is none, nor what can't be read.
    let content = json!({"body": "m.room.member", "membership": "join"});
    see(&memory, "m.room.message", ghost().as_str(), &content);
    memory.observe(b"m.room.member");
    assert!(!memory.is_joined(room(), ghost()));
}

#[test]
fn a_room_that_was_replaced_is_forgotten() {
    let memory = memory();
    member(&memory, "join");
    see(&memory, "m.room.tombstone", "", &json!({}));
    assert!(!memory.is_joined(room(), ghost()));
}

#[test]
fn power_levels_are_forgotten_when_others_pass_by_also_while_they_are_read() {
    let memory = memory();
    let pass = || see(&memory, "m.room.power_levels", "", &json!({}));
    member(&memory, "join");
    memory.remember_levels(room(), memory.levels_as_of(), &levels());
    assert!(memory.levels(room()).is_some());
    pass();
    assert!(memory.levels(room()).is_none());

    let as_of = memory.levels_as_of();
    pass();
    memory.remember_levels(room(), as_of, &levels());
    assert!(memory.levels(room()).is_none(), "what was read may be old");
}

#[test]
fn power_levels_are_remembered_only_where_one_of_us_would_see_them_change() {
    let memory = memory();
    memory.remember_levels(room(), memory.levels_as_of(), &levels());
    assert!(memory.levels(room()).is_none());
    member(&memory, "join");
    memory.remember_levels(room(), memory.levels_as_of(), &levels());
    member(&memory, "leave");
    member(&memory, "join");
    assert!(memory.levels(room()).is_none());
}

#[test]
fn how_our_rooms_were_made_is_seen_and_others_are_not_kept() {
    let memory = memory();
    let content = json!({"room_version": "12", SOURCE_KEY: "source",
        "additional_creators": ["@arts:hs.test"]});
    see(&memory, "m.room.create", "", &content);
    let expected = Creation {
        sender: ghost().to_owned(),
        at_ms: AT_MS,
        additional_creators: vec![owned_user_id!("@arts:hs.test")],
        version: RoomVersionId::V12,
        source: Some("source".to_owned()),
    };
    assert_eq!(memory.creation(room()).as_deref(), Some(&expected));
    let foreign = json!({"type": "m.room.create", "state_key": "", "sender": "@arts:hs.test",
        "room_id": "!other", "content": {}});
    memory.observe(foreign.to_string().as_bytes());
    assert!(memory.creation(room_id!("!other")).is_none());
}

#[test]
fn a_profile_that_looks_different_in_a_room_is_looked_up_again() {
    let memory = memory();
    let name = json!("Jansen");
    memory.remember_field(ghost(), "displayname", Some(&name));
    member(&memory, "join");
    assert!(memory.has_field(ghost(), "displayname", &name));
    assert!(!memory.has_field(ghost(), "displayname", &json!("other")));
    let content = json!({"membership": "join", "displayname": "set by somebody else"});
    see(&memory, "m.room.member", ghost().as_str(), &content);
    assert!(!memory.has_field(ghost(), "displayname", &name));
}

#[test]
fn no_more_rooms_and_members_are_remembered_than_allowed() {
    let memory = memory();
    for nth in 0..100 {
        let room = RoomId::parse(format!("!{nth}")).unwrap();
        memory.remember_joined(&room, ghost());
    }
    assert!(memory.lock().rooms.len() <= 4);
    assert!(memory.is_joined(room_id!("!99"), ghost()));
    for nth in 0..MEMBERS_PER_ROOM + 10 {
        let user = UserId::parse(format!("@_ghost_{nth}:hs.test")).unwrap();
        memory.remember_joined(&owned_room_id!("!99"), &user);
    }
    let mut inner = memory.lock();
    let known = inner.rooms.get(room_id!("!99")).unwrap();
    assert!(known.joined.len() <= MEMBERS_PER_ROOM);
}
