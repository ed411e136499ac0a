//! Events of rooms, messages and state.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{super::MATRIX, NewEntry, Split, malformed};
use crate::journal::intake::{Intake, RoomFilter};

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    event_id: Cow<'a, str>,
    #[serde(borrow)]
    room_id: Cow<'a, str>,
}

/// What tells who is a member.
#[derive(Deserialize)]
struct Member<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    state_key: Cow<'a, str>,
}

pub(super) fn split(events: &[&RawValue], intake: &Intake, split: &mut Split) {
    let mut wanted: HashMap<Arc<str>, bool> = HashMap::new();
    for event in events {
        let entry = entry(event);
        if let Some(rooms) = intake.rooms.as_ref().filter(|_| entry.dead.is_none()) {
            let wanted = match wanted.get(&entry.lane) {
                Some(wanted) => *wanted,
                None => *wanted
                    .entry(entry.lane.clone())
                    .or_insert_with(|| intake.wants(&entry.lane)),
            };
            if !wanted && !is_about_us(event, rooms) {
                split.unwanted += 1;
                continue;
            }
        }
        split.waiting.push(entry);
    }
}

fn entry(event: &RawValue) -> NewEntry {
    // A list would be read like an object with its values in order.
    let head = event
        .get()
        .starts_with('{')
        .then(|| serde_json::from_str::<Head<'_>>(event.get()).ok())
        .flatten()
        // No id has it, and not every database can store it.
        .filter(|head| !head.event_id.contains('\0') && !head.room_id.contains('\0'));
    match head {
        Some(head) => NewEntry::new(MATRIX, head.event_id, head.room_id, event.get().as_bytes()),
        None => malformed(MATRIX, event, "event without event_id or room_id"),
    }
}

/// Whether one of our users is invited, joins, leaves or is thrown out: the way into a room that
/// isn't wanted yet.
fn is_about_us(event: &RawValue, rooms: &RoomFilter) -> bool {
    serde_json::from_str::<Member<'_>>(event.get())
        .is_ok_and(|member| member.kind == "m.room.member" && rooms.is_ours(&member.state_key))
}
