//! What the homeserver never pushed, and how it gets to the record after all.
//!
//! When a homeserver can't be reached for a while, others tell it afterwards of the newest event of each room. It
//! fetches some of those before (Synapse: ten), pushes these, and leaves a gap: what else was said meanwhile is there
//! for whoever scrolls back, and is never pushed. So wherever somebody of another homeserver does something, the room
//! is read back a moment later, and what is new goes into the journal as if it had been pushed.
//!
//! Reading back also makes the homeserver fill its gaps: large ones at once, small ones after it has answered, and what
//! it could not fetch before only when an hour or more has gone by. So each room is read several times, the last time
//! when nobody has spoken for two hours, and each time down to the last event of each homeserver that the last of these
//! readings has seen. While people speak these readings begin anew and go back a little; what they leave out is read by
//! those that follow when it is quiet, however far back it is.
//!
//! Our own homeserver can forget events too: Synapse stores a transaction for a service that was away a moment ago, and
//! sends it only when the service has been away once more. So each start of the bridge reads all rooms back, one after
//! the other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use matrix_appservice::{
    Delivery, Entry, Event, HandlerError, HandlerResult, Intent, NewEntry,
    ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, RoomId},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};

use super::{
    joined::is_arrival,
    timer::{self, TimerError},
};
use crate::{
    bridge::Bridge,
    failure,
    links::{Links, LinksError, look_backs::LookBack, now_ms},
};

/// The journal's source of rooms that are to be read back.
pub(crate) const LOOK_BACKS: &str = "look_back";

/// How long after something was said the room is read back, and how long after that again.
const LOOKS_MS: [i64; 4] = [5_000, 20_000, 180_000, 7_200_000];

/// How long it is between two first looks at the least, while people go on to speak.
const APART_MS: i64 = 15_000;

/// The look of which the next ones need not look further back; also the one at the start.
const LAST: u32 = 3;

/// Events that are read at once, and how often at the most, by look.
const PAGE: u16 = 100;
const PAGES: [usize; 4] = [3, 3, 5, 5];

/// From this look on a reading that has come to its most pages goes on from there, until it is done.
const THOROUGH: u32 = 2;

/// How long after the start the first room is read back, and how long after that the next: the homeserver has more to do.
const START_MS: i64 = 10_000;
const START_APART_MS: i64 = 1_000;

/// The rooms that are to be read back.
#[derive(Debug)]
pub(crate) struct LookBacks {
    links: Links,
    rooms: Mutex<HashMap<OwnedRoomId, LookBack>>,
    changed: Notify,
    has_begun: AtomicBool,
}

impl LookBacks {
    pub(crate) async fn open(links: &Links) -> Result<Self, LinksError> {
        Ok(Self {
            links: links.clone(),
            rooms: Mutex::new(links.look_backs().await?.into_iter().collect()),
            changed: Notify::new(),
            has_begun: AtomicBool::new(false),
        })
    }

    /// The bridge was started: every room is to be read back that isn't already going to be.
    async fn begin(&self, now: i64) -> Result<(), LinksError> {
        if self.has_begun.load(Relaxed) {
            return Ok(());
        }
        let mut rooms = self.rooms.lock().await;
        let first = LookBack {
            due: now + START_MS,
            look: LAST,
        };
        self.links
            .note_all_look_backs(first, START_APART_MS)
            .await?;
        *rooms = self.links.look_backs().await?.into_iter().collect();
        self.has_begun.store(true, Relaxed);
        Ok(())
    }

    /// Somebody of another homeserver did something.
    async fn heard(&self, room: &RoomId, now: i64) -> Result<(), LinksError> {
        let mut rooms = self.rooms.lock().await;
        let due = match rooms.get(room) {
            Some(LookBack { look: 0, .. }) => return Ok(()),
            // The second follows the first.
            Some(LookBack { look: 1, due }) => {
                (due - LOOKS_MS[1] + APART_MS).max(now + LOOKS_MS[0])
            }
            _ => now + LOOKS_MS[0],
        };
        let first = LookBack { due, look: 0 };
        self.links.note_look_back(room, first).await?;
        rooms.insert(room.to_owned(), first);
        self.changed.notify_one();
        Ok(())
    }

    /// The next room that is due.
    async fn first_due(&self, now: i64) -> Option<(OwnedRoomId, LookBack)> {
        let rooms = self.rooms.lock().await;
        let due = rooms.iter().find(|(_, look)| look.due <= now);
        due.map(|(room, look)| (room.clone(), *look))
    }

    /// What was due is in the journal.
    async fn was_due(&self, room: &RoomId, was: LookBack) -> Result<(), LinksError> {
        let mut rooms = self.rooms.lock().await;
        if rooms.get(room) != Some(&was) {
            return Ok(());
        }
        let look = was.look + 1;
        let later = usize::try_from(look).ok();
        if let Some(later) = later.and_then(|look| LOOKS_MS.get(look)) {
            let next = LookBack {
                due: was.due + later,
                look,
            };
            self.links.note_look_back(room, next).await?;
            rooms.insert(room.to_owned(), next);
        } else {
            self.links.forget_look_back(room).await?;
            rooms.remove(room);
        }
        Ok(())
    }

    /// How long it is until something is to be done.
    async fn pause(&self, now: i64) -> Option<Duration> {
        let rooms = self.rooms.lock().await;
        let next = rooms.values().map(|look| look.due).min()?;
        Some(Duration::from_millis(
            u64::try_from(next - now).unwrap_or(0),
        ))
    }
}

/// The last event of each homeserver, in one room, up to which it was read back for the last time.
type Heard = BTreeMap<OwnedServerName, OwnedEventId>;

/// What is new when a room is read back, page by page.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Reading {
    before: Heard,
    now: Heard,
    /// Homeservers whose events are all known from here on back.
    known: BTreeSet<OwnedServerName>,
    /// Newest first.
    #[serde(skip)]
    found: Vec<Event>,
}

/// A room that is to be read back.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    look: u32,
    room: OwnedRoomId,
    due: i64,
    /// Where it was begun before, and has not come to its end.
    begun: Option<Begun>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    /// The how manieth part comes next.
    part: u32,
    /// Where it begins.
    from: String,
    reading: Reading,
}

impl Order {
    fn parse(entry: &Entry) -> Option<Self> {
        if let Ok(order) = serde_json::from_slice(&entry.payload) {
            return Some(order);
        }
        // As earlier versions wrote it.
        let (look, room) = std::str::from_utf8(&entry.payload).ok()?.split_once(' ')?;
        Some(Self {
            look: look.parse().ok()?,
            room: RoomId::parse(room).ok()?,
            due: entry.received_at,
            begun: None,
        })
    }

    fn entry(&self, source: &'static str) -> NewEntry {
        let Self { room, due, .. } = self;
        let key = match &self.begun {
            None => format!("{room}/{due}"),
            Some(Begun { part, .. }) => format!("{room}/{due}/{part}"),
        };
        // Strings and numbers only, which are always JSON. Nothing else waits in its lane.
        let payload = serde_json::to_vec(self).unwrap_or_default();
        NewEntry::new(source, key, format!("look_back/{room}"), payload)
    }
}

impl Reading {
    /// Takes the next event, further back. `starts` says that nothing before it concerns us.
    fn take(&mut self, event: &Event, starts: bool) {
        let server = event.sender().server_name();
        if !self.now.contains_key(server) {
            self.now
                .insert(server.to_owned(), event.event_id().to_owned());
        }
        if self
            .before
            .get(server)
            .is_some_and(|last| last == event.event_id())
        {
            self.known.insert(server.to_owned());
        }
        if !self.known.contains(server) && event.state_key().is_none() {
            self.found.push(event.clone());
        }
        if starts {
            self.known.extend(self.now.keys().cloned());
        }
    }

    /// Whether nothing further back can be new.
    fn is_done(&self) -> bool {
        self.now.keys().all(|server| self.known.contains(server))
    }
}

impl Bridge {
    /// Notes that what was said before this may have been missed.
    pub(crate) async fn watch_missed(&self, bot: &Intent, event: &Event) -> HandlerResult {
        let is_elsewhere = event.sender().server_name() != self.server_name;
        if is_elsewhere && self.resource_of_room(bot, event.room_id()).await?.is_some() {
            let heard = self.look_backs.heard(event.room_id(), now_ms()).await;
            heard.map_err(failure::links)?;
        }
        Ok(())
    }

    /// Reads a room back, and takes in what the homeserver never pushed.
    pub(crate) async fn look_back(&self, delivery: &Delivery) -> HandlerResult {
        let Order {
            look,
            room,
            due,
            begun,
        } = Order::parse(delivery.entry())
            .ok_or_else(|| HandlerError::never("entry that this version can't read"))?;
        let linked = self.links.resource_of_room(&room).await;
        if linked.map_err(failure::links)?.is_none() {
            return Ok(());
        }
        let cursor = self.lane(&format!("heard/{room}"));
        let (part, from, mut reading) = if let Some(begun) = begun {
            (begun.part, Some(begun.from), begun.reading)
        } else {
            let before = self.journal.cursor(&cursor).await?;
            let before = before.and_then(|heard| serde_json::from_str(&heard).ok());
            let reading = Reading {
                before: before.unwrap_or_default(),
                ..Reading::default()
            };
            (0, None, reading)
        };
        let further = match self
            .read_back(&delivery.bot(), &room, (look, from), &mut reading)
            .await
        {
            Ok(further) => further.filter(|_| look >= THOROUGH),
            // It had to leave, or was never there.
            Err(error) if error.is_forbidden() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let mut found = std::mem::take(&mut reading.found);
        found.reverse();
        let new = if let Some(from) = further {
            let new = self.journal.append_events(&found, None).await?;
            let next = Order {
                look,
                room: room.clone(),
                due,
                begun: Some(Begun {
                    part: part + 1,
                    from,
                    reading,
                }),
            };
            let next = next.entry(self.missed);
            self.journal.append(&[next], None).await?;
            new
        } else {
            let mut heard = reading.before;
            heard.extend(reading.now);
            let heard = serde_json::to_string(&heard)
                .map_err(|_| HandlerError::never("event ids that are no JSON"))?;
            let moved = (look == LAST).then_some((cursor.as_str(), heard.as_str()));
            self.journal.append_events(&found, moved).await?
        };
        if new > 0 {
            tracing::info!(%room, events = new, "the homeserver had not pushed these; they were read back");
        }
        Ok(())
    }

    /// Returns where to go on when there is more than is read at once.
    async fn read_back(
        &self,
        bot: &Intent,
        room: &RoomId,
        (look, mut from): (u32, Option<String>),
        reading: &mut Reading,
    ) -> Result<Option<String>, matrix_appservice::Error> {
        let pages = usize::try_from(look).ok();
        let pages = pages.and_then(|look| PAGES.get(look)).copied().unwrap_or(1);
        for _ in 0..pages {
            let page = bot.history(room, from.as_deref(), PAGE).await?;
            for event in &page.events {
                let starts = self.is_our_arrival(event);
                reading.take(event, starts);
                if starts {
                    return Ok(None);
                }
            }
            // One that leads nowhere would be followed for ever.
            if reading.is_done() || page.further == from {
                return Ok(None);
            }
            from = page.further;
            if from.is_none() {
                return Ok(None);
            }
        }
        Ok(from)
    }

    /// Whether the bridge's own user came with this event: what was said before isn't for the record.
    fn is_our_arrival(&self, event: &Event) -> bool {
        event.state_key() == Some(self.sender.as_str()) && is_arrival(event)
    }
}

/// Puts what is due into the journal, until it is stopped from outside.
pub(crate) async fn run(bridge: Arc<Bridge>) {
    let what = "rooms that are to be read back can't be looked at";
    timer::run(what, &bridge.look_backs.changed, || take_due(&bridge)).await;
}

/// Returns how long it is until something is to be done.
async fn take_due(bridge: &Bridge) -> Result<Option<Duration>, TimerError> {
    bridge.look_backs.begin(now_ms()).await?;
    while let Some((room, look)) = bridge.look_backs.first_due(now_ms()).await {
        let order = Order {
            look: look.look,
            room: room.clone(),
            due: look.due,
            begun: None,
        };
        let entry = order.entry(bridge.missed);
        bridge.journal.append(&[entry], None).await?;
        bridge.look_backs.was_due(&room, look).await?;
    }
    Ok(bridge.look_backs.pause(now_ms()).await)
}

#[cfg(test)]
mod tests {
    use fhir::ResourceRef;
    use matrix_appservice::ruma::{room_id, server_name};
    use serde_json::json;

    use super::*;

    async fn look_backs() -> (tempfile::TempDir, Links, LookBacks) {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(&folder.path().join("links.db")).await.unwrap();
        let look_backs = LookBacks::open(&links).await.unwrap();
        (folder, links, look_backs)
    }

    fn room() -> &'static RoomId {
        room_id!("!room:vvt")
    }

    #[tokio::test]
    async fn a_room_is_looked_at_again_and_again_and_anew_when_more_is_said() {
        let (_folder, _links, look_backs) = look_backs().await;
        assert_eq!(look_backs.pause(0).await, None);
        look_backs.heard(room(), 0).await.unwrap();
        look_backs.heard(room(), 4_000).await.unwrap();
        assert_eq!(look_backs.first_due(4_999).await, None, "more may come");
        let mut looks = Vec::new();
        while let Some((due, look)) = look_backs.first_due(i64::MAX).await {
            assert_eq!(&*due, room());
            looks.push((look.look, look.due));
            look_backs.was_due(room(), look).await.unwrap();
        }
        assert_eq!(
            looks,
            [(0, 5_000), (1, 25_000), (2, 205_000), (3, 7_405_000)]
        );
        assert_eq!(look_backs.pause(0).await, None);
    }

    #[tokio::test]
    async fn while_people_go_on_to_speak_a_room_is_looked_at_now_and_then() {
        let (_folder, _links, look_backs) = look_backs().await;
        let mut looks = Vec::new();
        for now in (0..60_000).step_by(500) {
            look_backs.heard(room(), now).await.unwrap();
            while let Some((_, look)) = look_backs.first_due(now).await {
                looks.push((look.look, look.due));
                look_backs.was_due(room(), look).await.unwrap();
            }
        }
        assert_eq!(looks, [(0, 5_000), (0, 20_000), (0, 35_000), (0, 50_000)]);
        // What is said while a later one is awaited begins anew, and the one that was taken is over.
        let (_, look) = look_backs.first_due(i64::MAX).await.unwrap();
        look_backs.was_due(room(), look).await.unwrap();
        let (_, second) = look_backs.first_due(i64::MAX).await.unwrap();
        look_backs.heard(room(), 100_000).await.unwrap();
        look_backs.was_due(room(), second).await.unwrap();
        let (_, first) = look_backs.first_due(i64::MAX).await.unwrap();
        assert_eq!((first.look, first.due), (0, 105_000));
    }

    #[tokio::test]
    async fn what_is_due_is_known_after_a_restart() {
        let (_folder, links, look_backs) = look_backs().await;
        look_backs.heard(room(), 0).await.unwrap();
        let due = look_backs.first_due(i64::MAX).await.unwrap();
        let look_backs = LookBacks::open(&links).await.unwrap();
        assert_eq!(look_backs.first_due(i64::MAX).await.unwrap(), due);
        look_backs.was_due(room(), due.1).await.unwrap();
        let look_backs = LookBacks::open(&links).await.unwrap();
        while let Some((_, look)) = look_backs.first_due(i64::MAX).await {
            assert_ne!(look.look, 0);
            look_backs.was_due(room(), look).await.unwrap();
        }
        assert_eq!(links.look_backs().await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_start_reads_all_rooms_back_one_after_the_other_and_only_once() {
        let (_folder, links, look_backs) = look_backs().await;
        for number in 0..3 {
            let thread = ResourceRef::parse(&format!("CommunicationRequest/{number}")).unwrap();
            let room = RoomId::parse(format!("!{number}:vvt")).unwrap();
            links.link_room(&thread, &room).await.unwrap();
        }
        let spoken = room_id!("!1:vvt");
        look_backs.heard(spoken, 0).await.unwrap();
        look_backs.begin(0).await.unwrap();
        look_backs.begin(50_000).await.unwrap();

        let mut looks: Vec<_> = links.look_backs().await.unwrap();
        looks.sort_by_key(|(_, look)| look.due);
        let looks: Vec<_> = looks
            .iter()
            .map(|(room, look)| (room.as_str(), look.due, look.look))
            .collect();
        assert_eq!(
            looks,
            [
                ("!1:vvt", 5_000, 0),
                ("!0:vvt", 10_000, LAST),
                ("!2:vvt", 12_000, LAST)
            ]
        );
        // One look each, also for those that it took from the table.
        let (due, look) = look_backs.first_due(10_000).await.unwrap();
        look_backs.was_due(&due, look).await.unwrap();
        let (due, look) = look_backs.first_due(10_000).await.unwrap();
        look_backs.was_due(&due, look).await.unwrap();
        assert_eq!(look_backs.first_due(11_999).await, None);
        assert_eq!(links.look_backs().await.unwrap().len(), 2);
    }

    #[test]
    fn a_room_is_read_on_from_where_it_was_left() {
        let order = |begun| Order {
            look: LAST,
            room: room().to_owned(),
            due: 5,
            begun,
        };
        let entry_of = |new: NewEntry| Entry {
            id: 1,
            reader: String::new(),
            source: new.source.into(),
            key: new.key,
            lane: new.lane,
            attempts: 0,
            received_at: 7,
            due_at: 0,
            begun: false,
            slot: None,
            payload: new.payload,
        };
        let first = order(None).entry("look_back");
        assert_eq!(first.key.as_deref(), Some("!room:vvt/5"));
        let mut reading = Reading::default();
        reading.take(&event("$2", "@x:a"), false);
        let begun = Begun {
            part: 1,
            from: "t1".to_owned(),
            reading,
        };
        let next = entry_of(order(Some(begun)).entry("look_back"));
        assert_eq!(next.key.as_deref(), Some("!room:vvt/5/1"), "another one");
        assert_eq!(next.lane, first.lane, "behind it");
        let begun = Order::parse(&next).unwrap().begun.unwrap();
        assert_eq!((begun.part, begun.from.as_str()), (1, "t1"));
        assert_eq!(begun.reading.now[server_name!("a")], "$2");
        assert!(begun.reading.found.is_empty(), "is in the journal");

        let old = NewEntry::new(
            "look_back",
            "!room:vvt/5",
            "look_back/!room:vvt",
            *b"3 !room:vvt",
        );
        let old = Order::parse(&entry_of(old)).unwrap();
        assert_eq!((old.look, old.due), (3, 7));
    }

    fn event(id: &str, sender: &str) -> Event {
        let json = json!({"event_id": id, "room_id": room(), "sender": sender,
            "type": "m.room.message", "content": {}});
        Event::parse(json.to_string().as_bytes()).unwrap()
    }

    fn ids(reading: &Reading) -> Vec<&str> {
        let found = reading.found.iter();
        found.map(|event| event.event_id().as_str()).collect()
    }

    #[test]
    fn each_homeserver_is_read_back_to_its_own_last_event() {
        let last = |id: &str| OwnedEventId::try_from(id).unwrap();
        let mut reading = Reading {
            before: Heard::from([
                (server_name!("a").to_owned(), last("$a1")),
                (server_name!("b").to_owned(), last("$b1")),
                (server_name!("silent").to_owned(), last("$s1")),
            ]),
            ..Reading::default()
        };
        // A gap of the one lies behind what is known of the other.
        for (id, sender) in [
            ("$a3", "@x:a"),
            ("$b2", "@x:b"),
            ("$b1", "@x:b"),
            ("$a2", "@y:a"),
        ] {
            reading.take(&event(id, sender), false);
            assert!(!reading.is_done(), "{id}");
        }
        reading.take(&event("$b0", "@x:b"), false);
        reading.take(&event("$a1", "@y:a"), false);
        assert!(reading.is_done(), "who is silent has nothing new");
        assert_eq!(ids(&reading), ["$a3", "$b2", "$a2"]);
        assert_eq!(reading.now[server_name!("a")], "$a3");
        assert_eq!(reading.now[server_name!("b")], "$b2");
    }

    #[test]
    fn who_was_never_heard_is_read_back_to_our_arrival_and_state_is_left_out() {
        let mut reading = Reading::default();
        reading.take(&event("$2", "@x:a"), false);
        let state = json!({"event_id": "$1", "room_id": room(), "sender": "@x:a", "state_key": "@x:a",
            "type": "m.room.member", "content": {"membership": "join"}});
        reading.take(&Event::parse(state.to_string().as_bytes()).unwrap(), false);
        assert!(!reading.is_done());
        reading.take(&event("$0", "@_fhir:vvt"), true);
        assert!(reading.is_done());
        assert_eq!(ids(&reading)[0], "$2");
        assert!(!ids(&reading).contains(&"$1"));
    }

    #[test]
    fn who_only_has_another_name_has_not_come() {
        let member = |before: Option<&str>| {
            let json = json!({"event_id": "$1", "room_id": room(), "sender": "@_fhir:vvt",
                "state_key": "@_fhir:vvt", "type": "m.room.member",
                "content": {"membership": "join"},
                "unsigned": {"prev_content": before.map(|before| json!({"membership": before}))}});
            Event::parse(json.to_string().as_bytes()).unwrap()
        };
        assert!(is_arrival(&member(None)));
        assert!(is_arrival(&member(Some("invite"))));
        assert!(!is_arrival(&member(Some("join"))));
    }
}
