//! Which function answers which call.

use super::{
    accounts,
    call::{Call, Reply},
    events, media, membership, messages, rooms,
    world::World,
};

/// Answers a call. `shown` is its `Authorization`.
pub(super) fn answer(world: &mut World, call: &Call, shown: Option<&str>) -> Reply {
    if let Err(refusal) = authorize(world, call, shown) {
        return refusal;
    }
    let segments: Vec<_> = call.segments.iter().map(String::as_str).collect();
    match (call.method.as_str(), segments.as_slice()) {
        ("POST", ["_matrix", "client", "v1", "appservice", id, "ping"]) => {
            accounts::ping(world, id)
        }
        ("GET", ["_matrix", "client", "versions"]) => accounts::versions(),
        ("GET", ["_matrix", "client", "v1", "media", "config"]) => media::config(),
        ("GET", ["_matrix", "client", "v1", "media", "download", _, id]) => {
            media::download(world, id)
        }
        ("POST", ["_matrix", "media", "v3", "upload"]) => media::upload(world, call),
        ("POST", ["_matrix", "media", "v1", "create"]) => media::create(world),
        ("PUT", ["_matrix", "media", "v3", "upload", _, id]) => media::upload_to(world, call, id),
        ("POST", ["register"]) => accounts::register(world, call),
        ("POST", ["login"]) => accounts::login(world, call),
        ("PUT", ["profile", user, field]) => accounts::set_profile(world, call, user, field),
        ("GET", ["profile", user]) => accounts::profile(world, user, None),
        ("GET", ["profile", user, field]) => accounts::profile(world, user, Some(field)),
        ("GET", ["joined_rooms"]) => membership::joined_rooms(world, call),
        ("POST", ["createRoom"]) => rooms::create(world, call),
        ("GET", ["directory", "room", alias]) => rooms::find_alias(world, alias),
        ("DELETE", ["directory", "room", alias]) => rooms::delete_alias(world, call, alias),
        (_, ["rooms", room, ..]) if !world.rooms.contains_key(room) => {
            Reply::error(403, "M_FORBIDDEN")
        }
        ("POST", ["rooms", room, "join"]) => rooms::join(world, call, room),
        ("POST", ["rooms", room, "leave"]) => membership::leave(world, call, room),
        (
            "GET",
            [
                "_matrix",
                "client",
                "v1",
                "rooms",
                room,
                "relations",
                event,
                rel,
                kind,
            ],
        ) if world.rooms.contains_key(room) && world.room(room).has(&call.acting_as) => {
            events::relations(world, room, event, rel, kind)
        }
        (_, ["rooms", room, ..]) if !world.room(room).has(&call.acting_as) => {
            Reply::error(403, "M_FORBIDDEN")
        }
        (method, ["rooms", room, rest @ ..]) => in_room(world, call, method, room, rest),
        _ => Reply::error(404, "M_UNRECOGNIZED"),
    }
}

/// What only members of the room may do.
fn in_room(world: &mut World, call: &Call, method: &str, room: &str, rest: &[&str]) -> Reply {
    match (method, rest) {
        ("GET", ["state", kind]) => rooms::state(world, call, room, kind, ""),
        ("GET", ["state", kind, key]) => rooms::state(world, call, room, kind, key),
        ("PUT", ["state", kind]) => rooms::set_state(world, call, room, kind, ""),
        ("PUT", ["state", kind, key]) => rooms::set_state(world, call, room, kind, key),
        ("PUT", ["send", kind, txn_id]) => messages::send(world, call, room, kind, txn_id),
        ("GET", ["event", event]) => events::get(world, room, event),
        ("PUT", ["redact", event, txn_id]) => events::redact(world, call, room, event, txn_id),
        ("GET", ["joined_members"]) => membership::joined_members(world, room),
        ("POST", [what @ ("kick" | "ban" | "unban")]) => {
            membership::change(world, call, room, what)
        }
        ("GET", ["messages"]) => messages::list(world, call, room),
        _ => Reply::error(404, "M_UNRECOGNIZED"),
    }
}

/// The token must be in the header and nowhere else, and the user one of the application service's
/// that is registered.
fn authorize(world: &World, call: &Call, shown: Option<&str>) -> Result<(), Reply> {
    let Some(shown) = shown else {
        return Err(Reply::error(401, "M_MISSING_TOKEN"));
    };
    let right = shown
        .strip_prefix("Bearer ")
        .is_some_and(|token| world.registration.as_token.matches(token));
    if !right || call.query.contains_key("access_token") {
        return Err(Reply::error(401, "M_UNKNOWN_TOKEN"));
    }
    let me = &call.acting_as;
    let known = *me == world.sender() || (world.is_ours(me) && world.users.contains_key(me));
    if known {
        Ok(())
    } else {
        Err(Reply::error(403, "M_FORBIDDEN"))
    }
}
