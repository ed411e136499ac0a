//! A homeserver in miniature: as much of the client-server API as intents use, with the faults of a
//! real one on demand.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::{AS_TOKEN, server};

/// What shall go wrong with a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: a call that is let through before the next fault.
    None,
    /// The call takes effect and the connection ends before the answer.
    LoseAnswer,
    /// Nothing happens, and this is the answer.
    Refuse(u16, Value),
}

/// A call that came in.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    /// Without the prefix `/_matrix/client/v3`, decoded.
    pub path: String,
    pub query: HashMap<String, String>,
    pub acting_as: String,
    pub body: Value,
    pub at: Instant,
}

#[derive(Default)]
struct Room {
    creator: String,
    state: BTreeMap<(String, String), (String, Value)>,
    timeline: Vec<Value>,
}

impl Room {
    fn membership(&self, user: &str) -> &str {
        let key = ("m.room.member".to_owned(), user.to_owned());
        self.state
            .get(&key)
            .and_then(|(_, content)| content["membership"].as_str())
            .unwrap_or("leave")
    }

    fn set(&mut self, kind: &str, key: &str, sender: &str, content: Value) {
        let key = (kind.to_owned(), key.to_owned());
        self.state.insert(key, (sender.to_owned(), content));
    }
}

#[derive(Default)]
struct Inner {
    users: HashSet<String>,
    names: HashMap<String, String>,
    rooms: BTreeMap<String, Room>,
    aliases: HashMap<String, String>,
    transactions: HashMap<String, String>,
    faults: HashMap<&'static str, VecDeque<Fault>>,
    calls: Vec<Call>,
    next: usize,
}

#[derive(Clone)]
pub struct Homeserver {
    inner: Arc<Mutex<Inner>>,
    pub url: Url,
}

impl Homeserver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Self {
            inner: Arc::default(),
            url: url.parse().unwrap(),
        };
        let router = Router::new().fallback(answer).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next calls of this kind (`send`, `createRoom`, `join`, …) go wrong, one fault each.
    pub fn fail(&self, kind: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.lock().faults.entry(kind).or_default().extend(faults);
    }

    /// As after a restart.
    pub fn forget_transaction_ids(&self) {
        self.lock().transactions.clear();
    }

    pub fn register(&self, user: &str) {
        self.lock().users.insert(user.to_owned());
    }

    /// Makes a room by another way than the application service.
    /// Somebody points an alias of this homeserver at a room that doesn't bear it.
    pub fn point_alias(&self, alias: &str, room: &str) {
        let alias = format!("#{alias}:{}", server());
        self.lock().aliases.insert(alias, room.to_owned());
    }

    pub fn make_room(&self, creator: &str, alias: Option<&str>) -> String {
        self.lock().make_room(creator, alias)
    }

    pub fn set_membership(&self, room: &str, user: &str, membership: &str) {
        let mut inner = self.lock();
        let room = inner.rooms.get_mut(room).unwrap();
        room.set(
            "m.room.member",
            user,
            user,
            json!({"membership": membership}),
        );
    }

    /// Somebody says something.
    pub fn say(&self, room: &str, sender: &str, body: &str) {
        let content = json!({"msgtype": "m.text", "body": body});
        self.lock().append(room, sender, "m.room.message", &content);
    }

    pub fn members(&self, room: &str) -> BTreeMap<String, Value> {
        self.lock().rooms[room]
            .state
            .iter()
            .filter(|((kind, _), _)| kind == "m.room.member")
            .map(|((_, user), (_, content))| (user.clone(), content.clone()))
            .collect()
    }

    pub fn state(&self, room: &str, kind: &str, key: &str) -> Option<Value> {
        let key = (kind.to_owned(), key.to_owned());
        let inner = self.lock();
        inner.rooms[room]
            .state
            .get(&key)
            .map(|(_, content)| content.clone())
    }

    pub fn rooms(&self) -> usize {
        self.lock().rooms.len()
    }

    pub fn name_of(&self, user: &str) -> Option<String> {
        self.lock().names.get(user).cloned()
    }

    /// Sender and text of each message.
    pub fn messages(&self, room: &str) -> Vec<(String, String)> {
        self.lock().rooms[room]
            .timeline
            .iter()
            .map(|event| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (text(&event["sender"]), text(&event["content"]["body"]))
            })
            .collect()
    }

    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The calls of one kind.
    pub fn calls_of(&self, kind: &str) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| kind_of(&segments(&call.path)) == kind);
        calls
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.trim_start_matches('/').split('/').collect()
}

fn kind_of<'a>(segments: &[&'a str]) -> &'a str {
    match segments {
        ["rooms", _, kind, ..] | [kind, ..] => kind,
        [] => "",
    }
}

fn error(status: u16, code: &str) -> (u16, Value) {
    (
        status,
        json!({"errcode": code, "error": "canary of the homeserver"}),
    )
}

async fn answer(State(homeserver): State<Homeserver>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let encoded = parts.uri.path();
    let path = percent_encoding::percent_decode_str(encoded)
        .decode_utf8()
        .unwrap()
        .into_owned();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let shown = parts
        .headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let (status, answer) = if path.starts_with("/_matrix/client/v1/appservice/") {
        (200, json!({"duration_ms": 1}))
    } else {
        let call = Call {
            method: parts.method.to_string(),
            path: path.trim_start_matches("/_matrix/client/v3").to_owned(),
            acting_as: query
                .get("user_id")
                .cloned()
                .unwrap_or_else(|| format!("@bot:{}", server())),
            query,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            at: Instant::now(),
        };
        homeserver.lock().calls.push(call.clone());
        let kind = kind_of(&segments(&call.path)).to_owned();
        let fault = homeserver
            .lock()
            .faults
            .get_mut(kind.as_str())
            .and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::Refuse(status, body)) => (status, body),
            fault => {
                let answer = homeserver
                    .lock()
                    .handle(&parts.method, &call, shown.as_deref());
                if matches!(fault, Some(Fault::LoseAnswer)) {
                    // Ends the connection, and nothing else.
                    std::panic::resume_unwind(Box::new("the answer is lost"));
                }
                answer
            }
        }
    };
    (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response()
}

impl Inner {
    fn next_id(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn make_room(&mut self, creator: &str, alias: Option<&str>) -> String {
        let room_id = format!("!room{}", self.next_id());
        let mut room = Room {
            creator: creator.to_owned(),
            ..Room::default()
        };
        room.set("m.room.create", "", creator, json!({"room_version": "12"}));
        room.set(
            "m.room.member",
            creator,
            creator,
            json!({"membership": "join"}),
        );
        if let Some(alias) = alias {
            let alias = format!("#{alias}:{}", server());
            room.set(
                "m.room.canonical_alias",
                "",
                creator,
                json!({"alias": alias}),
            );
            self.aliases.insert(alias, room_id.clone());
        }
        self.rooms.insert(room_id.clone(), room);
        room_id
    }

    fn append(&mut self, room: &str, sender: &str, kind: &str, content: &Value) -> String {
        let event_id = format!("$event{}", self.next_id());
        let event = json!({
            "type": kind, "event_id": event_id, "sender": sender, "content": content,
            "origin_server_ts": 1, "room_id": room,
        });
        let room = self.rooms.get_mut(room).unwrap();
        room.timeline.push(event);
        event_id
    }

    fn handle(&mut self, method: &Method, call: &Call, shown: Option<&str>) -> (u16, Value) {
        if call.query.contains_key("access_token") || shown != Some(&format!("Bearer {AS_TOKEN}")) {
            return error(401, "M_UNKNOWN_TOKEN");
        }
        let me = call.acting_as.as_str();
        let registering = call.path == "/register";
        if !registering && me != format!("@bot:{}", server()) && !self.users.contains(me) {
            return error(403, "M_FORBIDDEN");
        }
        let segments = segments(&call.path);
        match (method.as_str(), segments.as_slice()) {
            ("POST", ["register"]) => self.register(&call.body),
            ("POST", ["createRoom"]) => self.create_room(me, &call.body),
            ("GET", ["directory", "room", alias]) => match self.aliases.get(*alias) {
                Some(room) => (200, json!({"room_id": room, "servers": [server()]})),
                None => error(404, "M_NOT_FOUND"),
            },
            ("PUT", ["profile", user, "displayname"]) => {
                let name = call.body["displayname"].as_str().unwrap().to_owned();
                self.names.insert((*user).to_owned(), name);
                (200, json!({}))
            }
            (_, ["rooms", room, rest @ ..]) if self.rooms.contains_key(*room) => {
                self.in_room(method, call, me, room, rest)
            }
            (_, ["rooms", ..]) => error(403, "M_FORBIDDEN"),
            _ => error(404, "M_UNRECOGNIZED"),
        }
    }

    fn register(&mut self, body: &Value) -> (u16, Value) {
        assert_eq!(body["type"], "m.login.application_service");
        assert_eq!(body["inhibit_login"], true);
        let user = format!("@{}:{}", body["username"].as_str().unwrap(), server());
        if !user.starts_with("@_ghost_") && !user.starts_with("@bot:") {
            return error(400, "M_EXCLUSIVE");
        }
        if !self.users.insert(user.clone()) {
            return error(400, "M_USER_IN_USE");
        }
        (200, json!({"user_id": user}))
    }

    fn create_room(&mut self, me: &str, body: &Value) -> (u16, Value) {
        let alias = body["room_alias_name"].as_str();
        if let Some(alias) = alias
            && self.aliases.contains_key(&format!("#{alias}:{}", server()))
        {
            return error(400, "M_ROOM_IN_USE");
        }
        let room_id = self.make_room(me, alias);
        let room = self.rooms.get_mut(&room_id).unwrap();
        for state in body["initial_state"].as_array().into_iter().flatten() {
            room.set(
                state["type"].as_str().unwrap(),
                state["state_key"].as_str().unwrap(),
                me,
                state["content"].clone(),
            );
        }
        for user in body["invite"].as_array().into_iter().flatten() {
            room.set(
                "m.room.member",
                user.as_str().unwrap(),
                me,
                json!({"membership": "invite"}),
            );
        }
        (200, json!({"room_id": room_id}))
    }

    fn in_room(
        &mut self,
        method: &Method,
        call: &Call,
        me: &str,
        id: &str,
        rest: &[&str],
    ) -> (u16, Value) {
        let room = self.rooms.get_mut(id).unwrap();
        let mine = room.membership(me).to_owned();
        if let ("POST", ["join"]) = (method.as_str(), rest) {
            if mine == "leave" {
                return error(403, "M_FORBIDDEN");
            }
            room.set("m.room.member", me, me, json!({"membership": "join"}));
            return (200, json!({"room_id": id}));
        }
        if mine != "join" {
            return error(403, "M_FORBIDDEN");
        }
        match (method.as_str(), rest) {
            ("GET", ["state", kind, key @ ..]) => {
                let key = key.first().copied().unwrap_or_default();
                match room.state.get(&((*kind).to_owned(), key.to_owned())) {
                    None => error(404, "M_NOT_FOUND"),
                    Some((sender, content)) => {
                        if call
                            .query
                            .get("format")
                            .is_some_and(|format| format == "event")
                        {
                            let event = json!({
                                "type": kind, "state_key": key, "sender": sender,
                                "content": content, "event_id": "$state", "room_id": id,
                                "origin_server_ts": 1,
                            });
                            (200, event)
                        } else {
                            (200, content.clone())
                        }
                    }
                }
            }
            ("PUT", ["state", kind, key @ ..]) => {
                let key = key.first().copied().unwrap_or_default();
                if *kind == "m.room.member" && room.membership(key) == "join" {
                    return error(403, "M_FORBIDDEN");
                }
                room.set(kind, key, me, call.body.clone());
                (200, json!({"event_id": "$state"}))
            }
            ("PUT", ["send", kind, _]) => {
                // The user is no part of it, as in Synapse.
                if let Some(event_id) = self.transactions.get(&call.path) {
                    return (200, json!({"event_id": event_id}));
                }
                let event_id = self.append(id, me, kind, &call.body);
                self.transactions
                    .insert(call.path.clone(), event_id.clone());
                (200, json!({"event_id": event_id}))
            }
            ("GET", ["messages"]) => messages(room, call),
            _ => error(404, "M_UNRECOGNIZED"),
        }
    }
}

/// Pages of ten, filtered afterwards: a page can be empty and not be the last.
fn messages(room: &Room, call: &Call) -> (u16, Value) {
    const PAGE: usize = 10;
    assert_eq!(call.query["dir"], "b");
    let filter: Value = call
        .query
        .get("filter")
        .map(|filter| serde_json::from_str(filter).unwrap())
        .unwrap_or_default();
    let allowed =
        |list: &Value, value: &Value| list.as_array().is_none_or(|list| list.contains(value));
    let from: usize = call
        .query
        .get("from")
        .map_or(0, |from| from.parse().unwrap());
    let chunk: Vec<_> = room
        .timeline
        .iter()
        .rev()
        .skip(from)
        .take(PAGE)
        .filter(|event| {
            allowed(&filter["senders"], &event["sender"])
                && allowed(&filter["types"], &event["type"])
        })
        .cloned()
        .collect();
    let end = from + PAGE;
    let mut page = json!({"start": from.to_string(), "chunk": chunk});
    if end < room.timeline.len() {
        page["end"] = json!(end.to_string());
    }
    (200, page)
}
