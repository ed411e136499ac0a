//! Rooms: making them, finding them, who is in them, their state.

use serde_json::{Value, json};

use super::{
    call::{Call, Reply},
    world::World,
};

/// `POST /createRoom`
pub(super) fn create(world: &mut World, call: &Call) -> Reply {
    if let Some(alias) = call.body["room_alias_name"].as_str()
        && world.aliases.contains_key(&world.full_alias(alias))
    {
        return Reply::error(400, "M_ROOM_IN_USE");
    }
    let room_id = world.make_room(&call.acting_as, &call.body);
    Reply::ok(json!({"room_id": room_id}))
}

impl World {
    /// Makes a room as `createRoom` does, in the order in which its events come.
    pub(super) fn make_room(&mut self, creator: &str, options: &Value) -> String {
        let room = self.begin_room(creator, options);
        self.finish_room(&room, creator, options);
        room
    }

    /// The first half of it: who asks finds the alias, and the creator in the room.
    pub(super) fn begin_room(&mut self, creator: &str, options: &Value) -> String {
        let mut content = options["creation_content"].clone();
        if !content.is_object() {
            content = json!({});
        }
        content["room_version"] = json!("12");
        let room = self.add_room(creator, content);
        if let Some(alias) = options["room_alias_name"].as_str() {
            let alias = self.full_alias(alias);
            self.aliases.insert(alias, room.clone());
        }
        let join = json!({"membership": "join"});
        self.set_state(&room, creator, "m.room.member", creator, join);
        room
    }

    /// The second half: the room's state and its guests.
    pub(super) fn finish_room(&mut self, room: &str, creator: &str, options: &Value) {
        let mut levels = json!({"users": {}, "users_default": 0, "events_default": 0,
            "state_default": 50, "invite": 0, "kick": 50, "ban": 50, "redact": 50});
        if let Some(changes) = options["power_level_content_override"].as_object() {
            for (key, value) in changes {
                levels[key] = value.clone();
            }
        }
        self.set_state(room, creator, "m.room.power_levels", "", levels);
        if let Some(alias) = options["room_alias_name"].as_str() {
            let content = json!({"alias": self.full_alias(alias)});
            self.set_state(room, creator, "m.room.canonical_alias", "", content);
        }
        let public = options["preset"] == "public_chat" || options["visibility"] == "public";
        let rule = if public { "public" } else { "invite" };
        let content = json!({"join_rule": rule});
        self.set_state(room, creator, "m.room.join_rules", "", content);
        let content = json!({"history_visibility": "shared"});
        self.set_state(room, creator, "m.room.history_visibility", "", content);
        for state in options["initial_state"].as_array().into_iter().flatten() {
            let kind = state["type"].as_str().unwrap_or_default();
            let key = state["state_key"].as_str().unwrap_or_default();
            self.set_state(room, creator, kind, key, state["content"].clone());
        }
        for (kind, field) in [("m.room.name", "name"), ("m.room.topic", "topic")] {
            if options[field].is_string() {
                let content = json!({field: options[field]});
                self.set_state(room, creator, kind, "", content);
            }
        }
        for user in options["invite"].as_array().into_iter().flatten() {
            let content = json!({"membership": "invite"});
            let user = user.as_str().unwrap_or_default();
            self.set_state(room, creator, "m.room.member", user, content);
        }
    }
}

/// `GET /directory/room/{roomAlias}`
pub(super) fn find_alias(world: &World, alias: &str) -> Reply {
    match world.aliases.get(alias) {
        Some(room) => Reply::ok(json!({"room_id": room, "servers": [world.server_name]})),
        None => Reply::error(404, "M_NOT_FOUND"),
    }
}

/// `DELETE /directory/room/{roomAlias}`
pub(super) fn delete_alias(world: &mut World, call: &Call, alias: &str) -> Reply {
    if !world.is_ours(&call.acting_as) {
        return Reply::error(403, "M_FORBIDDEN");
    }
    match world.aliases.remove(alias) {
        Some(_) => Reply::ok(json!({})),
        None => Reply::error(404, "M_NOT_FOUND"),
    }
}

/// `POST /rooms/{roomId}/join`
pub(super) fn join(world: &mut World, call: &Call, room: &str) -> Reply {
    let me = &call.acting_as;
    let there = world.room(room);
    let public = there
        .state("m.room.join_rules", "")
        .is_some_and(|rules| rules["content"]["join_rule"] == "public");
    match there.membership(me) {
        "join" => {}
        "invite" => {
            let content = json!({"membership": "join"});
            world.set_state(room, me, "m.room.member", me, content);
        }
        "leave" if public => {
            let content = json!({"membership": "join"});
            world.set_state(room, me, "m.room.member", me, content);
        }
        _ => return Reply::error(403, "M_FORBIDDEN"),
    }
    Reply::ok(json!({"room_id": room}))
}

/// `GET /rooms/{roomId}/state/{eventType}/{stateKey}`
pub(super) fn state(world: &World, call: &Call, room: &str, kind: &str, key: &str) -> Reply {
    let Some(event) = world.room(room).state(kind, key) else {
        return Reply::error(404, "M_NOT_FOUND");
    };
    let whole = call.query.get("format").is_some_and(|as_| as_ == "event");
    Reply::ok(if whole {
        event.clone()
    } else {
        event["content"].clone()
    })
}

/// `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`
pub(super) fn set_state(
    world: &mut World,
    call: &Call,
    room: &str,
    kind: &str,
    key: &str,
) -> Reply {
    let invites = kind == "m.room.member" && call.body["membership"] == "invite";
    if invites && matches!(world.room(room).membership(key), "join" | "ban") {
        return Reply::error(403, "M_FORBIDDEN");
    }
    let content = call.body.clone();
    let event_id = world.set_state(room, &call.acting_as, kind, key, content);
    Reply::ok(json!({"event_id": event_id}))
}
