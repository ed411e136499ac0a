//! `m.room.power_levels` of spaces and rooms.
//!
//! The FHIR server is the source of who may do what: the keys of the templates and the levels of members are kept
//! as it says, whoever changed them in Matrix. Levels of people it does not know, and events that the templates do
//! not name, are left as they are. What is above the bridge's own level can't be changed and is left, too.
//!
//! Beyond what the care networks' specification lists, the templates let each user state its own
//! `custom.user_mappings`, and leave to the lead what would open a room to the world or keep the bridge out of it.

use matrix_appservice::ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value, json};

use super::{
    phase::Phase,
    roles::{CLIENT, LEAD},
};

/// The bridge's own level in rooms whose version does not give the creator every power.
pub const BRIDGE: i64 = 200;
/// What it takes to write in a room that is frozen: more than anybody has.
pub const FROZEN: i64 = 150;

/// What can open a room to others, or close it to the bridge.
const GUARDED: [&str; 8] = [
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.server_acl",
    "m.room.tombstone",
];

/// Which template a room has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A care team's space.
    Space,
    /// A conversation's room.
    Room,
}

/// The bridge's own user in a room.
#[derive(Debug, Clone)]
pub struct Own {
    /// Its id.
    pub user: OwnedUserId,
    /// Whether it has every power without being listed, as creators have from room version 12 on.
    pub limitless: bool,
}

/// The levels with which a room is made.
#[must_use]
pub fn at_creation(kind: Kind, users: &[(OwnedUserId, i64)], own: &Own) -> Value {
    let mut content = template(kind, Phase::Open);
    let mut listed = Map::new();
    if !own.limitless {
        listed.insert(own.user.to_string(), BRIDGE.into());
    }
    for (user, level) in users {
        if *level != CLIENT {
            listed.insert(user.to_string(), (*level).into());
        }
    }
    content["users"] = Value::Object(listed);
    content
}

/// What the levels of a room have to become; `None` when they are so already.
///
/// `users` are the members, `gone` those who were and are no longer.
#[must_use]
pub fn change(
    current: &Value,
    kind: Kind,
    phase: Phase,
    users: &[(OwnedUserId, i64)],
    gone: &[OwnedUserId],
    own: &Own,
) -> Option<Value> {
    let before = current.as_object().cloned().unwrap_or_default();
    let most = if own.limitless {
        i64::MAX
    } else {
        level_of(&before, &own.user)
    };
    let mut after = before.clone();
    let template = template(kind, phase);
    let fields = template.as_object().into_iter().flatten();
    for (key, wanted) in fields {
        match wanted {
            Value::Object(wanted) => {
                let mut inner = object(before.get(key));
                for (name, wanted) in wanted {
                    set(&mut inner, name, wanted.as_i64().unwrap_or(LEAD), most);
                }
                after.insert(key.clone(), Value::Object(inner));
            }
            wanted => set(&mut after, key, wanted.as_i64().unwrap_or(LEAD), most),
        }
    }
    let mut listed = object(before.get("users"));
    let may_change = |user: &UserId| *user != *own.user && level_of(&before, user) < most;
    for user in gone.iter().filter(|user| may_change(user)) {
        listed.remove(user.as_str());
    }
    for (user, level) in users.iter().filter(|(user, _)| may_change(user)) {
        if *level == CLIENT {
            listed.remove(user.as_str());
        } else {
            listed.insert(user.to_string(), (*level).min(most).into());
        }
    }
    after.insert("users".to_owned(), Value::Object(listed));
    (after != before).then_some(Value::Object(after))
}

/// A level may be neither changed from above the bridge's own nor set above it.
fn set(fields: &mut Map<String, Value>, name: &str, wanted: i64, most: i64) {
    let current = fields.get(name).and_then(Value::as_i64);
    if current.is_none_or(|current| current <= most) {
        fields.insert(name.to_owned(), wanted.min(most).into());
    }
}

fn object(value: Option<&Value>) -> Map<String, Value> {
    value
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn level_of(content: &Map<String, Value>, user: &UserId) -> i64 {
    let listed = content
        .get("users")
        .and_then(|users| users.get(user.as_str()));
    listed
        .or_else(|| content.get("users_default"))
        .and_then(Value::as_i64)
        .unwrap_or(0)
}

fn template(kind: Kind, phase: Phase) -> Value {
    let mut content = match kind {
        Kind::Space => json!({
            "users_default": 25, "events_default": 100, "state_default": 100,
            "invite": 75, "kick": 100, "ban": 100, "redact": 100,
            "events": {
                "m.space.child": 50, "m.room.member": 75, "m.room.name": 100, "m.room.topic": 100,
                "custom.user_mappings": 25,
            },
            "notifications": {"room": 75},
        }),
        Kind::Room => json!({
            "users_default": 25, "events_default": 75, "state_default": 75,
            "invite": 50, "kick": 75, "ban": 100, "redact": 50,
            "events": {
                "m.room.message": 25, "m.reaction": 25, "m.room.name": 75, "m.room.topic": 75,
                "m.room.member": 50, "custom.user_mappings": 25,
            },
            "notifications": {"room": 50},
        }),
    };
    for guarded in GUARDED {
        content["events"][guarded] = LEAD.into();
    }
    if phase != Phase::Open {
        content["events_default"] = FROZEN.into();
        if kind == Kind::Space {
            content["events"]["m.space.child"] = FROZEN.into();
        } else {
            content["events"]["m.room.message"] = FROZEN.into();
            content["events"]["m.reaction"] = FROZEN.into();
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::owned_user_id;

    use super::*;

    fn own(limitless: bool) -> Own {
        Own {
            user: owned_user_id!("@bot:vvt"),
            limitless,
        }
    }

    #[test]
    fn a_space_and_a_room_begin_as_the_specification_says() {
        let space = at_creation(Kind::Space, &[], &own(true));
        for (pointer, level) in [
            ("/users_default", 25),
            ("/invite", 75),
            ("/kick", 100),
            ("/ban", 100),
            ("/redact", 100),
            ("/state_default", 100),
            ("/events_default", 100),
            ("/events/m.space.child", 50),
            ("/events/m.room.member", 75),
            ("/events/m.room.name", 100),
            ("/events/m.room.topic", 100),
            ("/notifications/room", 75),
        ] {
            assert_eq!(space.pointer(pointer), Some(&json!(level)), "{pointer}");
        }
        let room = at_creation(Kind::Room, &[], &own(true));
        for (pointer, level) in [
            ("/users_default", 25),
            ("/events_default", 75),
            ("/state_default", 75),
            ("/invite", 50),
            ("/kick", 75),
            ("/ban", 100),
            ("/redact", 50),
            ("/events/m.room.message", 25),
            ("/events/m.reaction", 25),
            ("/events/m.room.name", 75),
            ("/events/m.room.topic", 75),
            ("/events/m.room.member", 50),
            ("/notifications/room", 50),
        ] {
            assert_eq!(room.pointer(pointer), Some(&json!(level)), "{pointer}");
        }
    }

    #[test]
    fn the_bridge_is_listed_only_where_it_is_not_above_all_anyway() {
        let users = [
            (owned_user_id!("@lead:x"), 100),
            (owned_user_id!("@client:x"), 25),
        ];
        assert_eq!(
            at_creation(Kind::Room, &users, &own(true))["users"],
            json!({"@lead:x": 100})
        );
        assert_eq!(
            at_creation(Kind::Room, &users, &own(false))["users"],
            json!({"@lead:x": 100, "@bot:vvt": BRIDGE})
        );
    }

    #[test]
    fn what_is_so_already_is_not_sent_again() {
        let users = [(owned_user_id!("@lead:x"), 100)];
        for own in [own(true), own(false)] {
            let current = at_creation(Kind::Room, &users, &own);
            assert_eq!(
                change(&current, Kind::Room, Phase::Open, &users, &[], &own),
                None
            );
        }
    }

    #[test]
    fn members_follow_the_care_team_and_others_are_left_alone() {
        let mut current = at_creation(
            Kind::Room,
            &[
                (owned_user_id!("@a:x"), 100),
                (owned_user_id!("@gone:x"), 75),
            ],
            &own(true),
        );
        current["users"]["@guest:x"] = json!(10);
        current["org.other"] = json!(1);
        current["events"]["org.other"] = json!(1);
        let users = [(owned_user_id!("@a:x"), 50), (owned_user_id!("@b:x"), 75)];
        let gone = [owned_user_id!("@gone:x")];
        let after = change(&current, Kind::Room, Phase::Open, &users, &gone, &own(true)).unwrap();
        assert_eq!(
            after["users"],
            json!({"@a:x": 50, "@b:x": 75, "@guest:x": 10})
        );
        assert_eq!(after["org.other"], 1);
        assert_eq!(after["events"]["org.other"], 1);
    }

    #[test]
    fn frozen_nobody_writes_and_it_thaws_again() {
        for kind in [Kind::Space, Kind::Room] {
            let open = at_creation(kind, &[], &own(false));
            let frozen = change(&open, kind, Phase::Held, &[], &[], &own(false)).unwrap();
            assert!(frozen["events_default"].as_i64() > Some(LEAD));
            if kind == Kind::Room {
                assert!(frozen["events"]["m.room.message"].as_i64() > Some(LEAD));
            }
            assert_eq!(
                change(&frozen, kind, Phase::Open, &[], &[], &own(false)),
                Some(open)
            );
        }
    }

    #[test]
    fn the_bridge_lowers_neither_itself_nor_its_equals_and_sets_nothing_above_itself() {
        let current = json!({
            "users": {"@bot:vvt": 100, "@equal:x": 100}, "users_default": 0, "ban": 150,
        });
        let users = [
            (owned_user_id!("@equal:x"), 25),
            (owned_user_id!("@bot:vvt"), 25),
        ];
        let gone = [owned_user_id!("@bot:vvt"), owned_user_id!("@equal:x")];
        let after = change(
            &current,
            Kind::Room,
            Phase::Held,
            &users,
            &gone,
            &own(false),
        )
        .unwrap();
        assert_eq!(after["users"], current["users"]);
        assert_eq!(after["ban"], 150);
        assert_eq!(after["events_default"], 100);
    }
}
