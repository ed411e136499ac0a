//! Messages: sending them and reading them back.

use serde_json::{Value, json};

use super::{
    call::{Call, Reply},
    world::World,
};

/// How many events a page of `/messages` looks through. Few, so that reading back has to turn pages.
const PAGE: usize = 10;

/// `PUT /rooms/{roomId}/send/{eventType}/{txnId}`
pub(super) fn send(world: &mut World, call: &Call, room: &str, kind: &str, txn_id: &str) -> Reply {
    // The user is no part of it, as in Synapse: two ghosts with one id are one message.
    let key = [room, kind, txn_id].map(ToOwned::to_owned);
    if kind == "m.reaction" && !world.sent.contains_key(&key) && has_reacted(world, call, room) {
        return Reply::error(400, "M_DUPLICATE_ANNOTATION");
    }
    if let Some(event_id) = world.sent.get(&key) {
        return Reply::ok(json!({"event_id": event_id}));
    }
    let event_id = world.send(room, &call.acting_as, kind, call.body.clone());
    // Kept with the event: the sender sees it also after a restart.
    if let Some(event) = world
        .rooms
        .get_mut(room)
        .and_then(|room| room.event_mut(&event_id))
    {
        event["unsigned"]["transaction_id"] = json!(txn_id);
    }
    world.sent.insert(key, event_id.clone());
    Reply::ok(json!({"event_id": event_id}))
}

/// `GET /rooms/{roomId}/messages`: backwards only. Events are filtered afterwards, so a page can be
/// empty and not be the last.
pub(super) fn list(world: &World, call: &Call, room: &str) -> Reply {
    if call.query.get("dir").is_none_or(|dir| dir != "b") {
        return Reply::error(400, "M_INVALID_PARAM");
    }
    let filter: Value = call
        .query
        .get("filter")
        .and_then(|filter| serde_json::from_str(filter).ok())
        .unwrap_or_default();
    let allowed =
        |list: &Value, value: &Value| list.as_array().is_none_or(|list| list.contains(value));
    let from: usize = match call.query.get("from").map(|from| from.parse()) {
        None => 0,
        Some(Ok(from)) => from,
        Some(Err(_)) => return Reply::error(400, "M_INVALID_PARAM"),
    };
    let timeline = &world.room(room).timeline;
    let chunk: Vec<_> = timeline
        .iter()
        .rev()
        .skip(from)
        .take(PAGE)
        .filter(|event| {
            allowed(&filter["senders"], &event["sender"])
                && allowed(&filter["types"], &event["type"])
        })
        .collect();
    let mut page = json!({"start": from.to_string(), "chunk": chunk});
    let end = from + PAGE;
    if end < timeline.len() {
        page["end"] = json!(end.to_string());
    }
    Reply::ok(page)
}

/// Whether this user has reacted to that event with that key before.
fn has_reacted(world: &World, call: &Call, room: &str) -> bool {
    world.room(room).timeline.iter().any(|event| {
        event["type"] == "m.reaction"
            && event["sender"] == call.acting_as.as_str()
            && event["content"]["m.relates_to"] == call.body["m.relates_to"]
    })
}
