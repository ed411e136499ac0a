//! A homeserver in miniature.
//!
//! `http` takes a request in and lets faults happen, `routes` says which function answers it, and the
//! files beside it hold those functions: each takes the [`World`] and the [`Call`] and returns a
//! [`Reply`].

mod accounts;
mod call;
mod events;
mod faults;
mod http;
mod media;
mod membership;
mod messages;
mod people;
mod push;
mod room;
mod rooms;
mod routes;
mod settle;
mod steps;
mod world;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use ruma::{OwnedServerName, ServerName};
use serde_json::{Value, json};
use url::Url;

use self::world::World;
pub use self::{
    call::Call,
    faults::{Fault, Held},
    people::Person,
    push::Answer,
};
pub(in crate::testing) use self::{
    push::{Job, Target, Work},
    steps::{Step, Steps},
};
use crate::{
    appservice::{AppService, Builder},
    client::ClientConfig,
    dispatch::RetryPolicy,
    journal::Journal,
    registration::Registration,
};

/// A homeserver in miniature, which knows one application service. Clones share it.
///
/// It listens on a port of 127.0.0.1 for as long as the runtime that started it lives.
#[derive(Clone)]
pub struct FakeHomeserver {
    world: Arc<Mutex<World>>,
    /// Held while a transaction is in flight.
    in_flight: Arc<tokio::sync::Mutex<()>>,
    url: Url,
}

impl fmt::Debug for FakeHomeserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHomeserver")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

impl FakeHomeserver {
    /// Starts a homeserver of this name that lists this registration.
    ///
    /// It has no users and no rooms.
    pub async fn start(server_name: &ServerName, registration: &Registration) -> Self {
        let world = World::new(server_name.to_owned(), registration.clone());
        let world = Arc::new(Mutex::new(world));
        let url = http::serve(world.clone()).await;
        Self {
            world,
            in_flight: Arc::default(),
            url,
        }
    }

    /// Begins an application service that calls this homeserver, with its registration.
    ///
    /// Its [`RetryPolicy`] and [`ClientConfig`] are those for tests: what fails is tried again at
    /// once, and is a dead letter after ten attempts.
    #[must_use]
    pub fn builder(&self, journal: Journal) -> Builder {
        let (registration, server_name) = {
            let world = self.lock();
            (world.registration.clone(), world.server_name.clone())
        };
        let at_once = RetryPolicy {
            give_up_after: Duration::ZERO,
            first_pause: Duration::ZERO,
            longest_pause: Duration::ZERO,
            ..RetryPolicy::default()
        };
        AppService::builder(registration, &server_name, self.url(), journal)
            .retry_policy(at_once)
            .client_config(ClientConfig {
                first_pause: Duration::ZERO,
                longest_pause: Duration::ZERO,
                ..ClientConfig::default()
            })
    }

    /// Where its client-server API is reached.
    #[must_use]
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Its name, the part of its users' ids after the colon.
    #[must_use]
    pub fn server_name(&self) -> OwnedServerName {
        self.lock().server_name.clone()
    }

    pub(in crate::testing) fn steps(&self) -> Arc<Steps> {
        self.lock().steps.clone()
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a user with this id.
    pub fn register(&self, user: &str) {
        self.lock().add_user(user);
    }

    /// Somebody points an alias (the part between `#` and `:`) of this homeserver at a room that
    /// doesn't bear it.
    pub fn point_alias(&self, alias: &str, room: &str) {
        let mut world = self.lock();
        let alias = world.full_alias(alias);
        world.aliases.insert(alias, room.to_owned());
    }

    /// Somebody makes a room, private, of version 12. Returns its id, which has no server name.
    pub fn make_room(&self, creator: &str, alias: Option<&str>) -> String {
        let options = json!({"preset": "private_chat", "room_alias_name": alias});
        self.lock().make_room(creator, &options)
    }

    /// Somebody has begun to make a room so long ago, and the homeserver isn't done with it, or died over it: its
    /// alias leads there, its creator is in it, and it has no other state. Returns its id.
    pub fn begin_room(&self, creator: &str, alias: &str, ago: Duration) -> String {
        let mut world = self.lock();
        let room = world.begin_room(creator, &json!({"room_alias_name": alias}));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at = now.unwrap_or_default().saturating_sub(ago);
        if let Some(room) = world.rooms.get_mut(&room) {
            room.set_time("m.room.create", at);
        }
        room
    }

    /// The homeserver is done with a room of [`FakeHomeserver::begin_room`].
    pub fn finish_room(&self, room: &str, creator: &str, alias: &str) {
        let options = json!({"room_alias_name": alias});
        self.lock().finish_room(room, creator, &options);
    }

    /// `user` is now `join`, `invite`, `leave`, `ban` or `knock` in the room, and did that by itself.
    pub fn set_membership(&self, room: &str, user: &str, membership: &str) {
        let content = json!({"membership": membership});
        self.lock()
            .set_state(room, user, "m.room.member", user, content);
    }

    /// Somebody says something. Returns the event's id.
    pub fn say(&self, room: &str, sender: &str, body: &str) -> String {
        let content = json!({"msgtype": "m.text", "body": body});
        self.lock().send(room, sender, "m.room.message", content)
    }

    /// The content of each user's `m.room.member`.
    #[must_use]
    pub fn members(&self, room: impl AsRef<str>) -> BTreeMap<String, Value> {
        self.lock()
            .room(room.as_ref())
            .state_of_kind("m.room.member")
            .map(|event| {
                let user = event["state_key"].as_str().unwrap_or_default().to_owned();
                (user, event["content"].clone())
            })
            .collect()
    }

    /// The content of a state event.
    #[must_use]
    pub fn state(&self, room: impl AsRef<str>, kind: &str, state_key: &str) -> Option<Value> {
        let world = self.lock();
        let event = world.room(room.as_ref()).state(kind, state_key)?;
        Some(event["content"].clone())
    }

    /// The ids of all rooms, oldest first.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        self.lock().rooms.keys().cloned().collect()
    }

    /// The name that people see of a user.
    #[must_use]
    pub fn name_of(&self, user: &str) -> Option<String> {
        let world = self.lock();
        let name = world.users.get(user)?.profile.get("displayname")?;
        name.as_str().map(ToOwned::to_owned)
    }

    /// Sender and text of each message, oldest first.
    #[must_use]
    pub fn messages(&self, room: impl AsRef<str>) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        self.events(room)
            .iter()
            .filter(|event| event["type"] == "m.room.message")
            .filter_map(|event| Some((text(&event["sender"])?, text(&event["content"]["body"])?)))
            .collect()
    }

    /// All events of a room, oldest first, as `/messages` shows them.
    #[must_use]
    pub fn events(&self, room: impl AsRef<str>) -> Vec<Value> {
        self.lock().room(room.as_ref()).timeline.clone()
    }

    /// The calls that came in, oldest first, without pings.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The calls of one kind: see [`Call::kind`].
    #[must_use]
    pub fn calls_of(&self, kind: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.kind() == kind);
        calls
    }
}
