//! What a room has to be to be linked. Pure.

use matrix_appservice::ruma::UserId;

use super::refused::{Missing, Refused};
use crate::mapping::{
    levels::Kind,
    powers::{Act, Powers},
    room_state::RoomState,
};

/// What a moderator has: enough to change a room's state, unless the room asks for less.
const MODERATOR: i64 = 50;

/// Whether this room can be that of a resource of this kind.
pub(super) fn check_room(state: &RoomState, kind: Kind) -> Result<(), Refused> {
    let room_type = state
        .content("m.room.create", "")
        .and_then(|create| create.get("type")?.as_str());
    match (kind, room_type == Some("m.space")) {
        (Kind::Space, false) => return Err(Refused::NoSpace),
        (Kind::Room, true) => return Err(Refused::Space),
        _ => {}
    }
    if state.content("m.room.tombstone", "").is_some() {
        return Err(Refused::Replaced);
    }
    // Whatever it says: once it is there, clients encrypt.
    if state.content("m.room.encryption", "").is_some() {
        return Err(Refused::Encrypted);
    }
    if state.is_open() {
        return Err(Refused::Open);
    }
    Ok(())
}

/// Whether the bridge can do its work there.
pub(super) fn check_bridge(state: &RoomState, kind: Kind, bot: &UserId) -> Result<(), Refused> {
    let acts: &[Act] = match kind {
        Kind::Space => &[Act::Invite, Act::Kick, Act::Set("m.space.child")],
        Kind::Room => &[
            Act::Invite,
            Act::Kick,
            Act::Write,
            Act::Set("m.space.parent"),
        ],
    };
    let powers = Powers::of(state);
    let has = powers.of_user(bot);
    let missing: Vec<Missing> = acts
        .iter()
        .map(|act| Missing {
            act: *act,
            needed: powers.needed(*act),
        })
        .filter(|one| has < one.needed)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refused::Powerless {
        user: bot.to_owned(),
        has,
        missing,
    })
}

/// Whether whoever asks could have changed this room without us.
pub(super) fn check_asker(state: &RoomState, asker: &UserId) -> Result<(), Refused> {
    let powers = Powers::of(state);
    let needed = powers
        .needed(Act::Set("m.room.power_levels"))
        .min(MODERATOR);
    let is_there = state.membership(asker) == Some("join");
    match powers.of_user(asker) {
        has if is_there && has >= needed => Ok(()),
        has if is_there => Err(Refused::AskerPowerless { needed, has }),
        // Who isn't there can do nothing there.
        _ => Err(Refused::AskerPowerless { needed, has: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::user_id;
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: &str, key: &str, content: &Value) -> Value {
        json!({"type": kind, "state_key": key, "sender": "@maker:x", "content": content})
    }

    fn room(more: &[(&str, &str, Value)]) -> RoomState {
        let mut events = vec![event("m.room.create", "", &json!({"room_version": "11"}))];
        events.extend(
            more.iter()
                .map(|(kind, key, content)| event(kind, key, content)),
        );
        RoomState::read(events)
    }

    fn levels(users: &Value) -> (&'static str, &'static str, Value) {
        let content = json!({"users": users, "invite": 25, "events": {"m.room.power_levels": 100}});
        ("m.room.power_levels", "", content)
    }

    #[test]
    fn a_care_team_is_a_space_and_a_conversation_a_room_that_can_be_read() {
        let space = RoomState::read(vec![event(
            "m.room.create",
            "",
            &json!({"type": "m.space"}),
        )]);
        assert_eq!(check_room(&space, Kind::Space), Ok(()));
        assert_eq!(check_room(&space, Kind::Room), Err(Refused::Space));
        assert_eq!(check_room(&room(&[]), Kind::Room), Ok(()));
        assert_eq!(check_room(&room(&[]), Kind::Space), Err(Refused::NoSpace));
        let encrypted = room(&[("m.room.encryption", "", json!({}))]);
        assert_eq!(check_room(&encrypted, Kind::Room), Err(Refused::Encrypted));
        for (kind, key, open, closed) in [
            ("m.room.join_rules", "join_rule", "public", "invite"),
            (
                "m.room.history_visibility",
                "history_visibility",
                "world_readable",
                "shared",
            ),
        ] {
            let with = |word: &str| room(&[(kind, "", json!({key: word}))]);
            assert_eq!(check_room(&with(open), Kind::Room), Err(Refused::Open));
            assert_eq!(check_room(&with(closed), Kind::Room), Ok(()));
        }
        let replaced = room(&[("m.room.tombstone", "", json!({}))]);
        assert_eq!(check_room(&replaced, Kind::Room), Err(Refused::Replaced));
    }

    #[test]
    fn the_bridge_is_told_each_power_that_it_lacks() {
        let bot = user_id!("@bot:x");
        let strong = room(&[levels(&json!({"@bot:x": 50}))]);
        assert_eq!(check_bridge(&strong, Kind::Room, bot), Ok(()));
        let weak = room(&[levels(&json!({"@bot:x": 25}))]);
        let refused = check_bridge(&weak, Kind::Room, bot).unwrap_err();
        let expected = "The bridge can't do its work there: it needs power level 50 to remove, \
                        it needs power level 50 to set m.space.parent, and has 25: give @bot:x the power level 50";
        assert_eq!(refused.to_string(), expected);
        let nothing = room(&[levels(&json!({}))]);
        let Err(Refused::Powerless { missing, has, .. }) = check_bridge(&nothing, Kind::Space, bot)
        else {
            panic!("it has no power");
        };
        assert_eq!((missing.len(), has), (3, 0));
    }

    #[test]
    fn whoever_asks_is_there_with_the_power_of_a_moderator() {
        let (asker, joined) = (user_id!("@a:x"), json!({"membership": "join"}));
        let with = |level: i64, membership: &Value| {
            room(&[
                levels(&json!({"@a:x": level})),
                ("m.room.member", "@a:x", membership.clone()),
            ])
        };
        assert_eq!(check_asker(&with(50, &joined), asker), Ok(()));
        let refused = |needed, has| Err(Refused::AskerPowerless { needed, has });
        assert_eq!(check_asker(&with(49, &joined), asker), refused(50, 49));
        let left = json!({"membership": "leave"});
        assert_eq!(check_asker(&with(100, &left), asker), refused(50, 0));
        // A room in which everybody may do everything.
        let open = room(&[
            ("m.room.power_levels", "", json!({"state_default": 0})),
            ("m.room.member", "@a:x", joined.clone()),
        ]);
        assert_eq!(check_asker(&open, asker), Ok(()));
    }
}
