//! Events: reading one, taking one back, what relates to one.

use serde_json::{Value, json};

use super::{
    call::{Call, Reply},
    world::World,
};

/// `GET /rooms/{roomId}/event/{eventId}`
pub(super) fn get(world: &World, room: &str, event: &str) -> Reply {
    match world.room(room).event(event) {
        Some(event) => Reply::ok(event.clone()),
        None => Reply::error(404, "M_NOT_FOUND"),
    }
}

/// `PUT /rooms/{roomId}/redact/{eventId}/{txnId}`
pub(super) fn redact(world: &mut World, call: &Call, room: &str, event: &str, txn: &str) -> Reply {
    let key = [room, "m.room.redaction", txn].map(ToOwned::to_owned);
    if let Some(event_id) = world.sent.get(&key) {
        return Reply::ok(json!({"event_id": event_id}));
    }
    let reason = call.body["reason"].as_str();
    let event_id = world.redact(room, &call.acting_as, event, reason);
    world.sent.insert(key, event_id.clone());
    Reply::ok(json!({"event_id": event_id}))
}

/// `GET /rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`: all on one page.
pub(super) fn relations(world: &World, room: &str, event: &str, rel: &str, kind: &str) -> Reply {
    let relates = |other: &&Value| {
        let relation = &other["content"]["m.relates_to"];
        other["type"] == kind && relation["rel_type"] == rel && relation["event_id"] == event
    };
    let chunk: Vec<_> = world
        .room(room)
        .timeline
        .iter()
        .rev()
        .filter(relates)
        .collect();
    Reply::ok(json!({"chunk": chunk}))
}
