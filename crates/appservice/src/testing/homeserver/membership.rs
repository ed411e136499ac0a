//! Who comes and goes.

use serde_json::json;

use super::{
    call::{Call, Reply},
    world::World,
};

/// `GET /joined_rooms`
pub(super) fn joined_rooms(world: &World, call: &Call) -> Reply {
    let rooms: Vec<_> = world
        .rooms
        .keys()
        .filter(|room| world.room(room).has(&call.acting_as))
        .collect();
    Reply::ok(json!({"joined_rooms": rooms}))
}

/// `GET /rooms/{roomId}/joined_members`
pub(super) fn joined_members(world: &World, room: &str) -> Reply {
    let joined: serde_json::Map<_, _> = world
        .room(room)
        .state_of_kind("m.room.member")
        .filter(|event| event["content"]["membership"] == "join")
        .map(|event| {
            let user = event["state_key"].as_str().unwrap_or_default().to_owned();
            (
                user,
                json!({"display_name": event["content"]["displayname"]}),
            )
        })
        .collect();
    Reply::ok(json!({"joined": joined}))
}

/// `POST /rooms/{roomId}/leave`
pub(super) fn leave(world: &mut World, call: &Call, room: &str) -> Reply {
    let me = &call.acting_as;
    if matches!(world.room(room).membership(me), "leave" | "ban") {
        return Reply::error(403, "M_FORBIDDEN");
    }
    let content = json!({"membership": "leave"});
    world.set_state(room, me, "m.room.member", me, content);
    Reply::ok(json!({}))
}

/// `POST /rooms/{roomId}/kick`, `…/ban` and `…/unban`. Power isn't looked at.
pub(super) fn change(world: &mut World, call: &Call, room: &str, what: &str) -> Reply {
    let Some(user) = call.body["user_id"].as_str() else {
        return Reply::error(400, "M_MISSING_PARAM");
    };
    let (from, to): (&[&str], _) = match what {
        "kick" => (&["join", "invite", "knock"], "leave"),
        "unban" => (&["ban"], "leave"),
        _ => (&["join", "invite", "knock", "leave", "ban"], "ban"),
    };
    if !from.contains(&world.room(room).membership(user)) {
        return Reply::error(403, "M_FORBIDDEN");
    }
    let content = json!({"membership": to});
    world.set_state(room, &call.acting_as, "m.room.member", user, content);
    Reply::ok(json!({}))
}
