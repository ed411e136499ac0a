//! All that the homeserver knows. Whatever changes a room goes through [`World::set_state`] and
//! [`World::send`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::OwnedServerName;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{call::Call, faults::Faults, media::File, push::Push, room::Room, steps::Steps};
use crate::registration::Registration;

/// The time of the first event. Each comes a millisecond after the one before.
const FIRST_EVENT_MS: u64 = 1_700_000_000_000;

/// An account.
#[derive(Debug, Default)]
pub(super) struct User {
    /// What people see: `displayname`, `avatar_url` and other fields.
    pub(super) profile: Map<String, Value>,
}

/// What the homeserver knows.
pub(super) struct World {
    pub(super) server_name: OwnedServerName,
    pub(super) registration: Registration,
    pub(super) users: BTreeMap<String, User>,
    pub(super) rooms: Rooms,
    /// Rooms by their whole alias.
    pub(super) aliases: HashMap<String, String>,
    /// The event that a send became, by room, type and transaction id. In memory only: a restart
    /// forgets it.
    pub(super) sent: HashMap<[String; 3], String>,
    /// What was uploaded, by media id; `None` while it is only reserved.
    pub(super) files: BTreeMap<String, Option<File>>,
    pub(super) faults: Faults,
    pub(super) calls: Vec<Call>,
    /// Who types, by room.
    pub(super) typing: HashMap<String, BTreeSet<String>>,
    /// Whether accounts are kept by Matrix Authentication Service.
    pub(super) mas: bool,
    pub(super) push: Push,
    pub(super) steps: Arc<Steps>,
    events: u64,
    /// How many rooms each user has made.
    made: HashMap<String, u64>,
}

impl World {
    pub(super) fn new(server_name: OwnedServerName, registration: Registration) -> Self {
        Self {
            server_name,
            registration,
            users: BTreeMap::new(),
            rooms: Rooms::default(),
            aliases: HashMap::new(),
            sent: HashMap::new(),
            files: BTreeMap::new(),
            faults: Faults::default(),
            calls: Vec::new(),
            typing: HashMap::new(),
            mas: false,
            push: Push::default(),
            steps: Arc::default(),
            events: 0,
            made: HashMap::new(),
        }
    }

    /// The application service's own user.
    pub(super) fn sender(&self) -> String {
        self.full_user(&self.registration.sender_localpart)
    }

    pub(super) fn full_user(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.server_name)
    }

    pub(super) fn full_alias(&self, localpart: &str) -> String {
        format!("#{localpart}:{}", self.server_name)
    }

    /// Whether this is the application service's own user or may be one of its ghosts.
    pub(super) fn is_ours(&self, user: &str) -> bool {
        user == self.sender()
            || (user.ends_with(&format!(":{}", self.server_name))
                && self.registration.namespaces.users.matches(user))
    }

    /// Returns whether it is new.
    pub(super) fn add_user(&mut self, user: &str) -> bool {
        let new = !self.users.contains_key(user);
        self.users.entry(user.to_owned()).or_default();
        new
    }

    /// The room with this id. A test that names another has failed; calls are checked before.
    pub(super) fn room(&self, room: &str) -> &Room {
        self.rooms.get(room).expect("no room with this id")
    }

    /// Makes a room that holds nothing but its `m.room.create`.
    pub(super) fn add_room(&mut self, creator: &str, content: Value) -> String {
        let made = self.made.entry(creator.to_owned()).or_default();
        *made += 1;
        let name = format!("{} {creator} {made}", self.server_name);
        // Of version 12: the id of the create event, and no server name.
        let room_id = format!("!{}", hash(&name));
        self.rooms.insert(room_id.clone(), Room::new());
        self.emit(&room_id, creator, "m.room.create", Some(""), content);
        room_id
    }

    /// Sets a state event, unless it has this content already. Returns the id of the one that counts.
    pub(super) fn set_state(
        &mut self,
        room: &str,
        sender: &str,
        kind: &str,
        key: &str,
        content: Value,
    ) -> String {
        if let Some(event) = self.room(room).state(kind, key)
            && event["content"] == content
            && event["sender"] == sender
        {
            return event["event_id"].as_str().unwrap_or_default().to_owned();
        }
        self.emit(room, sender, kind, Some(key), content)
    }

    /// Adds an event that is no state. Returns its id.
    pub(super) fn send(&mut self, room: &str, sender: &str, kind: &str, content: Value) -> String {
        self.emit(room, sender, kind, None, content)
    }

    /// The time of the newest event.
    pub(super) fn now_ms(&self) -> u64 {
        FIRST_EVENT_MS + self.events
    }

    /// Redacts an event: it keeps its place and loses its content. Returns the redaction's id.
    pub(super) fn redact(
        &mut self,
        room: &str,
        sender: &str,
        event_id: &str,
        reason: Option<&str>,
    ) -> String {
        let mut content = json!({"redacts": event_id});
        if let Some(reason) = reason {
            content["reason"] = json!(reason);
        }
        let redaction = self.emit(room, sender, "m.room.redaction", None, content);
        let room = self.rooms.get_mut(room).expect("no room with this id");
        room.redact(event_id);
        redaction
    }

    fn emit(
        &mut self,
        room_id: &str,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> String {
        self.events += 1;
        let now = self.now_ms();
        let room = self.rooms.get_mut(room_id).expect("no room with this id");
        let event_id = room.next_event_id(room_id);
        let mut event = json!({
            "type": kind, "event_id": event_id, "room_id": room_id, "sender": sender,
            "origin_server_ts": now, "unsigned": {},
        });
        if kind == "m.room.redaction" {
            event["redacts"] = content["redacts"].clone();
        }
        event["content"] = content;
        if let Some(key) = state_key {
            event["state_key"] = json!(key);
            if let Some(before) = room.state(kind, key) {
                event["unsigned"] = json!({
                    "prev_content": before["content"], "prev_sender": before["sender"],
                    "replaces_state": before["event_id"],
                });
            }
        }
        if kind == "m.room.member" && event["content"]["membership"] == "invite" {
            event["unsigned"]["invite_room_state"] = room.stripped();
        }
        room.add(event);
        self.queue_event(room_id);
        event_id
    }
}

/// What ids look like in room version 12: 43 letters that say nothing. The same in each run.
pub(super) fn hash(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(name))
}

/// Rooms by their id, oldest first.
#[derive(Default)]
pub(super) struct Rooms {
    order: Vec<String>,
    by_id: HashMap<String, Room>,
}

impl Rooms {
    pub(super) fn insert(&mut self, id: String, room: Room) {
        self.order.push(id.clone());
        self.by_id.insert(id, room);
    }

    pub(super) fn get(&self, id: &str) -> Option<&Room> {
        self.by_id.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Room> {
        self.by_id.get_mut(id)
    }

    pub(super) fn contains_key(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.order.iter()
    }
}
