//! A room: its events and what is true in it now.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::world::hash;

/// A room of version 12.
#[derive(Debug)]
pub(super) struct Room {
    /// All events, oldest first, as `/messages` shows them.
    pub(super) timeline: Vec<Value>,
    /// Where in the timeline the event is that counts, by type and state key.
    current: BTreeMap<(String, String), usize>,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            timeline: Vec::new(),
            current: BTreeMap::new(),
        }
    }

    /// The id of the event that comes next. Of the first it is the room's own, as in version 12.
    pub(super) fn next_event_id(&self, room_id: &str) -> String {
        match self.timeline.len() {
            0 => room_id.replacen('!', "$", 1),
            number => format!("${}", hash(&format!("{room_id} {number}"))),
        }
    }

    /// Takes an event's content away, by the redaction that is the last event.
    pub(super) fn redact(&mut self, event_id: &str) {
        let redaction = self.timeline.last().cloned().unwrap_or_default();
        let Some(event) = self.event_mut(event_id) else {
            return;
        };
        let kept = match event["type"].as_str() {
            Some("m.room.member") => json!({"membership": event["content"]["membership"]}),
            _ => json!({}),
        };
        event["content"] = kept;
        // What the homeserver knows besides the content stays, such as the sender's transaction id.
        if !event["unsigned"].is_object() {
            event["unsigned"] = json!({});
        }
        event["unsigned"]["redacted_by"] = redaction["event_id"].clone();
        event["unsigned"]["redacted_because"] = redaction;
    }

    /// Adds an event, as the last.
    pub(super) fn add(&mut self, event: Value) {
        if let (Some(kind), Some(key)) = (event["type"].as_str(), event["state_key"].as_str()) {
            let key = (kind.to_owned(), key.to_owned());
            self.current.insert(key, self.timeline.len());
        }
        self.timeline.push(event);
    }

    /// The state event that counts.
    pub(super) fn state(&self, kind: &str, key: &str) -> Option<&Value> {
        let at = self.current.get(&(kind.to_owned(), key.to_owned()))?;
        self.timeline.get(*at)
    }

    /// The state events of one type that count, by state key.
    pub(super) fn state_of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.current
            .iter()
            .filter(move |((of, _), _)| of == kind)
            .filter_map(|(_, at)| self.timeline.get(*at))
    }

    /// What somebody who is invited gets to see of the room.
    pub(super) fn stripped(&self) -> Value {
        [
            "m.room.create",
            "m.room.join_rules",
            "m.room.canonical_alias",
            "m.room.avatar",
            "m.room.name",
            "m.room.topic",
        ]
        .into_iter()
        .filter_map(|kind| self.state(kind, ""))
        .map(|event| {
            json!({"type": event["type"], "sender": event["sender"], "state_key": "",
                "content": event["content"]})
        })
        .collect()
    }

    /// `leave` also for those who were never there.
    pub(super) fn membership(&self, user: &str) -> &str {
        self.state("m.room.member", user)
            .and_then(|event| event["content"]["membership"].as_str())
            .unwrap_or("leave")
    }

    /// Whether `user` is in the room.
    pub(super) fn has(&self, user: &str) -> bool {
        self.membership(user) == "join"
    }

    /// An event by its id.
    pub(super) fn event(&self, id: &str) -> Option<&Value> {
        self.timeline.iter().find(|event| event["event_id"] == id)
    }

    /// Says when a state event was sent.
    pub(super) fn set_time(&mut self, kind: &str, at: Duration) {
        let key = (kind.to_owned(), String::new());
        let event = self.current.get(&key).copied();
        if let Some(event) = event.and_then(|at| self.timeline.get_mut(at)) {
            event["origin_server_ts"] = json!(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// An event by its id, to be changed.
    pub(super) fn event_mut(&mut self, id: &str) -> Option<&mut Value> {
        let mut events = self.timeline.iter_mut();
        events.find(|event| event["event_id"] == id)
    }
}
