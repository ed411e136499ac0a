//! What users of the homeserver do.

use ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::{Value, json};

use super::FakeHomeserver;

/// Somebody with a client. What they do happens at once and without asking for permission; the
/// application service hears of it with [`FakeHomeserver::deliver`] or [`FakeHomeserver::settle`].
///
/// ```
/// # use matrix_appservice::{testing::FakeHomeserver, Registration, ruma::server_name};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let registration = Registration::generate("irc", "ircbot").ghosts("_irc_").build()?;
/// let homeserver = FakeHomeserver::start(server_name!("example.org"), &registration).await;
/// let anna = homeserver.person("anna");
/// let bert = homeserver.person("@bert:elsewhere.example");
/// let room = anna.makes_room();
/// anna.invites(&room, bert.id());
/// bert.joins(&room);
/// let said = bert.says(&room, "Hello");
/// anna.reacts(&room, &said, "👋");
/// bert.edits(&room, &said, "Hello, Anna");
/// assert_eq!(homeserver.messages(&room).len(), 2, "an edit is a message, too");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Person {
    homeserver: FakeHomeserver,
    id: OwnedUserId,
}

impl FakeHomeserver {
    /// A user, by localpart, or by whole id when it is one of another homeserver. Made when it isn't
    /// there yet.
    pub fn person(&self, name: &str) -> Person {
        let id = if name.starts_with('@') {
            name.to_owned()
        } else {
            self.lock().full_user(name)
        };
        let id: OwnedUserId = id.as_str().try_into().expect("no user id");
        if id.server_name() == self.lock().server_name {
            self.lock().add_user(id.as_str());
        }
        Person {
            homeserver: self.clone(),
            id,
        }
    }

    /// The application service's own user. What it does here, it does behind the application
    /// service's back, as when somebody logs in with its account.
    pub fn sender(&self) -> Person {
        let sender = self.lock().sender();
        self.person(&sender)
    }
}

impl Person {
    /// Who that is.
    #[must_use]
    pub fn id(&self) -> &UserId {
        &self.id
    }

    /// Makes a private room.
    pub fn makes_room(&self) -> OwnedRoomId {
        self.makes_room_with(&json!({"preset": "private_chat"}))
    }

    /// Makes a room, with the body of a `createRoom` as options.
    pub fn makes_room_with(&self, options: &Value) -> OwnedRoomId {
        let mut world = self.homeserver.lock();
        let room = world.make_room(self.id.as_str(), options);
        room.try_into().expect("rooms have room ids")
    }

    /// Invites somebody.
    pub fn invites(&self, room: &RoomId, user: &UserId) -> OwnedEventId {
        self.sets_membership(room, user, "invite")
    }

    /// Joins, invited or not.
    pub fn joins(&self, room: &RoomId) -> OwnedEventId {
        self.sets_membership(room, &self.id, "join")
    }

    /// Asks to be let in.
    pub fn knocks(&self, room: &RoomId) -> OwnedEventId {
        self.sets_membership(room, &self.id, "knock")
    }

    /// Leaves.
    pub fn leaves(&self, room: &RoomId) -> OwnedEventId {
        self.sets_membership(room, &self.id, "leave")
    }

    /// Removes somebody, or takes an invitation back.
    pub fn kicks(&self, room: &RoomId, user: &UserId) -> OwnedEventId {
        self.sets_membership(room, user, "leave")
    }

    /// Removes somebody for good.
    pub fn bans(&self, room: &RoomId, user: &UserId) -> OwnedEventId {
        self.sets_membership(room, user, "ban")
    }

    fn sets_membership(&self, room: &RoomId, user: &UserId, membership: &str) -> OwnedEventId {
        let mut content = json!({"membership": membership});
        if let Some(name) = self.homeserver.name_of(user.as_str()) {
            content["displayname"] = json!(name);
        }
        self.sets_state(room, "m.room.member", user.as_str(), content)
    }

    /// Says something, `m.text`.
    pub fn says(&self, room: &RoomId, text: &str) -> OwnedEventId {
        let content = json!({"msgtype": "m.text", "body": text});
        self.sends(room, "m.room.message", content)
    }

    /// Answers an event.
    pub fn replies(&self, room: &RoomId, to: &EventId, text: &str) -> OwnedEventId {
        let content = json!({
            "msgtype": "m.text", "body": text,
            "m.relates_to": {"m.in_reply_to": {"event_id": to}},
        });
        self.sends(room, "m.room.message", content)
    }

    /// Says something in the thread that begins with the event `thread`.
    pub fn says_in_thread(&self, room: &RoomId, thread: &EventId, text: &str) -> OwnedEventId {
        let content = json!({
            "msgtype": "m.text", "body": text,
            "m.relates_to": {"rel_type": "m.thread", "event_id": thread},
        });
        self.sends(room, "m.room.message", content)
    }

    /// Changes what was said.
    pub fn edits(&self, room: &RoomId, event: &EventId, text: &str) -> OwnedEventId {
        let content = json!({
            "msgtype": "m.text", "body": format!("* {text}"),
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event},
        });
        self.sends(room, "m.room.message", content)
    }

    /// Puts an emoji to an event.
    pub fn reacts(&self, room: &RoomId, event: &EventId, key: &str) -> OwnedEventId {
        let content = json!({
            "m.relates_to": {"rel_type": "m.annotation", "event_id": event, "key": key},
        });
        self.sends(room, "m.reaction", content)
    }

    /// Sends an event of any type and content.
    pub fn sends(&self, room: &RoomId, kind: &str, content: Value) -> OwnedEventId {
        let mut world = self.homeserver.lock();
        event_id(world.send(room.as_str(), self.id.as_str(), kind, content))
    }

    /// Sets a state event.
    pub fn sets_state(
        &self,
        room: &RoomId,
        kind: &str,
        state_key: &str,
        content: Value,
    ) -> OwnedEventId {
        let mut world = self.homeserver.lock();
        let sender = self.id.as_str();
        event_id(world.set_state(room.as_str(), sender, kind, state_key, content))
    }

    /// Takes an event's content away.
    pub fn redacts(&self, room: &RoomId, event: &EventId) -> OwnedEventId {
        let mut world = self.homeserver.lock();
        event_id(world.redact(room.as_str(), self.id.as_str(), event.as_str(), None))
    }

    /// Chooses the name that people see, here and in all rooms.
    pub fn is_called(&self, name: &str) {
        let mut world = self.homeserver.lock();
        let me = self.id.as_str();
        let user = world.users.entry(me.to_owned()).or_default();
        user.profile.insert("displayname".to_owned(), json!(name));
        let rooms: Vec<_> = world.rooms.keys().cloned().collect();
        for room in rooms {
            if world.room(&room).has(me) {
                let content = json!({"membership": "join", "displayname": name});
                world.set_state(&room, me, "m.room.member", me, content);
            }
        }
    }

    /// Begins to type. Ephemeral: pushed when the registration asks for it.
    pub fn types(&self, room: &RoomId) {
        self.homeserver
            .lock()
            .set_typing(room.as_str(), self.id.as_str(), true);
    }

    /// Stops typing.
    pub fn stops_typing(&self, room: &RoomId) {
        self.homeserver
            .lock()
            .set_typing(room.as_str(), self.id.as_str(), false);
    }

    /// Has read up to an event. Ephemeral, as [`Person::types`].
    pub fn reads(&self, room: &RoomId, event: &EventId) {
        self.homeserver
            .lock()
            .set_read(room.as_str(), self.id.as_str(), event.as_str());
    }

    /// Is `online`, `unavailable` or `offline`. Ephemeral, as [`Person::types`].
    pub fn is_present(&self, presence: &str) {
        self.homeserver
            .lock()
            .set_presence(self.id.as_str(), presence);
    }

    /// Looks for the room that an alias (whole, as `#irc:example.org`) belongs to. When there is none,
    /// the application service is asked, if the alias is in its namespace.
    pub async fn looks_for(&self, alias: &str) -> Option<OwnedRoomId> {
        let find = || self.homeserver.lock().aliases.get(alias).cloned();
        if find().is_none() && self.homeserver.has_in_namespace(alias) {
            self.homeserver.ask_for_alias(alias).await;
        }
        find()?.try_into().ok()
    }
}

fn event_id(id: String) -> OwnedEventId {
    id.try_into().expect("events have event ids")
}
