//! What a homeserver misses while it joins, and how it gets it after all.
//!
//! An event that is sent while another homeserver's first user joins knows nothing of the join: it is sent to the
//! homeservers that were in the room before, and the new one was told the state as it was before the event. It hears of
//! the event only when a later one names both, and in a quiet room nobody may say anything for days. Synapse sees to
//! this for what was there when the join was; what comes in just after it is left, about one message in forty of those
//! sent in the same tenth of a second.
//!
//! So where anything comes behind such a join, an event without content is sent a moment later. It is of the type that
//! Synapse uses for the same purpose and keeps from clients.

use std::{collections::HashMap, sync::Arc, time::Duration};

use matrix_appservice::{
    Delivery, Event, HandlerError, HandlerResult, Intent, NewEntry, NewEvent,
    ruma::{OwnedRoomId, RoomId, UserId},
};
use tokio::sync::{Mutex, Notify};

use super::{
    joined::is_arrival,
    timer::{self, TimerError},
};
use crate::{
    bridge::Bridge,
    failure,
    links::{Links, LinksError, arrivals::Arrival, now_ms},
};

/// The journal's source of events that are to be sent behind an arrival.
pub(crate) const TIES: &str = "ties";

/// The event's type.
const TIE: &str = "org.matrix.dummy_event";

/// How long after a join an event may still be one that knows nothing of it: as long as a homeserver may take to send one.
const WINDOW_MS: i64 = 30_000;

/// How long to wait for other events that are being sent at the same time.
const PAUSE_MS: i64 = 2_000;

/// The rooms somebody came into a moment ago.
#[derive(Debug)]
pub(crate) struct Arrivals {
    links: Links,
    rooms: Mutex<HashMap<OwnedRoomId, Arrival>>,
    changed: Notify,
}

impl Arrivals {
    pub(crate) async fn open(links: &Links) -> Result<Self, LinksError> {
        Ok(Self {
            links: links.clone(),
            rooms: Mutex::new(links.arrivals().await?.into_iter().collect()),
            changed: Notify::new(),
        })
    }

    /// Somebody came from another homeserver.
    async fn came(&self, room: &RoomId, at: i64) -> Result<(), LinksError> {
        let mut rooms = self.rooms.lock().await;
        let tie = rooms.get(room).and_then(|before| before.tie);
        let arrival = Arrival { came: at, tie };
        self.links.note_arrival(room, arrival).await?;
        rooms.insert(room.to_owned(), arrival);
        self.changed.notify_one();
        Ok(())
    }

    /// Something else happened in a room.
    async fn happened(&self, room: &RoomId, at: i64) -> Result<(), LinksError> {
        let mut rooms = self.rooms.lock().await;
        let Some(arrival) = rooms.get_mut(room) else {
            return Ok(());
        };
        if arrival.tie.is_none() && at - arrival.came <= WINDOW_MS {
            let tied = Arrival {
                tie: Some(now_ms() + PAUSE_MS),
                ..*arrival
            };
            self.links.note_arrival(room, tied).await?;
            *arrival = tied;
            self.changed.notify_one();
        }
        Ok(())
    }

    /// The next room that is due.
    async fn first_due(&self, now: i64) -> Option<(OwnedRoomId, i64)> {
        let rooms = self.rooms.lock().await;
        rooms.iter().find_map(|(room, arrival)| {
            let tie = arrival.tie.filter(|tie| *tie <= now)?;
            Some((room.clone(), tie))
        })
    }

    /// What was due is in the journal; what happens from now on has to be told anew.
    async fn was_due(&self, room: &RoomId) -> Result<(), LinksError> {
        let mut rooms = self.rooms.lock().await;
        let Some(arrival) = rooms.get_mut(room) else {
            return Ok(());
        };
        let told = Arrival {
            tie: None,
            ..*arrival
        };
        self.links.note_arrival(room, told).await?;
        *arrival = told;
        Ok(())
    }

    /// Forgets those that are over. Returns how long it is until something is to be done.
    async fn tidy(&self, now: i64) -> Result<Option<Duration>, LinksError> {
        let mut rooms = self.rooms.lock().await;
        // What came in before the bridge was away is looked at late.
        let is_over =
            |arrival: &Arrival| arrival.tie.is_none() && now - arrival.came > 10 * WINDOW_MS;
        let over: Vec<_> = rooms
            .iter()
            .filter(|(_, arrival)| is_over(arrival))
            .map(|(room, _)| room.clone())
            .collect();
        for room in over {
            self.links.forget_arrival(&room).await?;
            rooms.remove(&room);
        }
        let next = rooms
            .values()
            .map(|arrival| arrival.tie.unwrap_or(arrival.came + 10 * WINDOW_MS + 1))
            .min();
        Ok(next.map(|next| Duration::from_millis(u64::try_from(next - now).unwrap_or(0))))
    }
}

impl Bridge {
    /// Sees whether an event may be one that a homeserver missed, or one behind which others may be missed.
    pub(crate) async fn watch_arrivals(
        &self,
        bot: &Intent,
        event: &Event,
        at: i64,
    ) -> HandlerResult {
        if event.kind() == TIE {
            return Ok(());
        }
        let room = event.room_id();
        self.arrivals
            .happened(room, at)
            .await
            .map_err(failure::links)?;
        if self.is_arrival(event) && self.resource_of_room(bot, room).await?.is_some() {
            self.arrivals.came(room, at).await.map_err(failure::links)?;
        }
        Ok(())
    }

    /// Sends the event that names the join and what was sent meanwhile.
    pub(crate) async fn tie(&self, delivery: &Delivery) -> HandlerResult {
        let room = std::str::from_utf8(&delivery.entry().payload)
            .ok()
            .and_then(|room| RoomId::parse(room).ok())
            .ok_or_else(|| HandlerError::never("entry that this version can't read"))?;
        let tie = NewEvent::new(TIE, serde_json::Map::new());
        match delivery.bot().send(&room, tie).await {
            Ok(_) => {
                tracing::debug!(%room, "what was sent while somebody came is told to their homeserver");
            }
            // A room of somebody else's where the bridge may say nothing, or that it had to leave.
            Err(error) if error.is_forbidden() => {
                tracing::debug!(%room, "what was sent while somebody came may be told no homeserver: the bridge may not send there");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether somebody from another homeserver has joined with this event.
    fn is_arrival(&self, event: &Event) -> bool {
        event
            .state_key()
            .and_then(|key| UserId::parse(key).ok())
            .is_some_and(|user| user.server_name() != self.server_name)
            && is_arrival(event)
    }
}

/// Puts what is due into the journal, until it is stopped from outside.
pub(crate) async fn run(bridge: Arc<Bridge>) {
    let what = "rooms that somebody came into can't be looked at";
    timer::run(what, &bridge.arrivals.changed, || take_due(&bridge)).await;
}

/// Returns how long it is until something is to be done.
async fn take_due(bridge: &Bridge) -> Result<Option<Duration>, TimerError> {
    while let Some((room, at)) = bridge.arrivals.first_due(now_ms()).await {
        let entry = NewEntry::new(
            bridge.ties,
            format!("{room}/{at}"),
            // Nothing else waits for it.
            format!("tie/{room}"),
            room.as_bytes().to_vec(),
        );
        bridge.journal.append(&[entry], None).await?;
        bridge.arrivals.was_due(&room).await?;
    }
    Ok(bridge.arrivals.tidy(now_ms()).await?)
}

#[cfg(test)]
mod tests {
    use fhir::ResourceRef;
    use matrix_appservice::{AppService, ruma::room_id};
    use serde_json::json;

    use super::*;
    use crate::servers::testing::Made;

    async fn arrivals() -> (tempfile::TempDir, Links, Arrivals) {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(&folder.path().join("links.db")).await.unwrap();
        let arrivals = Arrivals::open(&links).await.unwrap();
        (folder, links, arrivals)
    }

    fn room() -> &'static RoomId {
        room_id!("!room:vvt")
    }

    /// Far enough in the future that whatever was to be done by now is due.
    fn soon() -> i64 {
        now_ms() + PAUSE_MS + 1
    }

    #[tokio::test]
    async fn what_comes_behind_an_arrival_is_told_once_until_more_comes() {
        let (_folder, _links, arrivals) = arrivals().await;
        let at = now_ms();
        arrivals.came(room(), at).await.unwrap();
        assert_eq!(arrivals.first_due(soon()).await, None, "nothing came yet");

        arrivals.happened(room(), at + 10).await.unwrap();
        assert_eq!(arrivals.first_due(now_ms()).await, None, "more may come");
        let (told, due) = arrivals.first_due(soon()).await.unwrap();
        assert_eq!(told, room());
        arrivals.happened(room(), at + 20).await.unwrap();
        assert_eq!(arrivals.first_due(soon()).await, Some((told, due)));

        arrivals.was_due(room()).await.unwrap();
        assert_eq!(arrivals.first_due(soon()).await, None);
        arrivals.happened(room(), at + WINDOW_MS).await.unwrap();
        assert!(arrivals.first_due(soon()).await.is_some());
    }

    #[tokio::test]
    async fn what_comes_much_later_or_elsewhere_or_before_is_told_by_nobody() {
        let (_folder, _links, arrivals) = arrivals().await;
        let at = now_ms();
        arrivals.happened(room(), at).await.unwrap();
        arrivals.came(room(), at).await.unwrap();
        arrivals.happened(room(), at + WINDOW_MS + 1).await.unwrap();
        arrivals
            .happened(room_id!("!other:vvt"), at + 1)
            .await
            .unwrap();
        assert_eq!(arrivals.first_due(soon()).await, None);
    }

    #[tokio::test]
    async fn an_arrival_is_known_after_a_restart_and_what_is_due_then_too() {
        let (_folder, links, arrivals) = arrivals().await;
        let (at, other) = (now_ms(), room_id!("!other:vvt"));
        arrivals.came(room(), at).await.unwrap();
        arrivals.came(other, at).await.unwrap();
        arrivals.happened(room(), at).await.unwrap();

        let arrivals = Arrivals::open(&links).await.unwrap();
        assert_eq!(arrivals.first_due(soon()).await.unwrap().0, room());
        arrivals.was_due(room()).await.unwrap();
        arrivals.happened(other, at).await.unwrap();
        assert_eq!(arrivals.first_due(soon()).await.unwrap().0, other);

        let arrivals = Arrivals::open(&links).await.unwrap();
        assert_eq!(arrivals.first_due(soon()).await.unwrap().0, other);
    }

    #[tokio::test]
    async fn a_second_arrival_leaves_what_is_due() {
        let (_folder, _links, arrivals) = arrivals().await;
        let at = now_ms();
        arrivals.came(room(), at).await.unwrap();
        arrivals.happened(room(), at).await.unwrap();
        arrivals.came(room(), at + 5).await.unwrap();
        assert!(arrivals.first_due(soon()).await.is_some());
    }

    #[tokio::test]
    async fn arrivals_are_forgotten_when_they_are_over() {
        let (_folder, links, arrivals) = arrivals().await;
        assert_eq!(arrivals.tidy(now_ms()).await.unwrap(), None);
        let at = now_ms();
        arrivals.came(room(), at).await.unwrap();
        let pause = arrivals.tidy(at).await.unwrap().unwrap();
        assert!(pause > Duration::from_millis(WINDOW_MS.unsigned_abs()));
        assert_eq!(arrivals.tidy(at + 11 * WINDOW_MS).await.unwrap(), None);
        assert_eq!(links.arrivals().await.unwrap(), []);
    }

    #[tokio::test]
    async fn only_those_who_come_from_elsewhere_are_arrivals_and_our_own_event_is_no_news() {
        let made = Made::with(json!({"fhir_servers": [{"url": "http://127.0.0.1:9/fhir"}]})).await;
        let bridge = made.servers.iter().next().unwrap().clone();
        let url = made.config.homeserver.url.clone();
        let app = AppService::builder(
            made.registration,
            &made.config.homeserver.name,
            url,
            made.journal,
        );
        let app = app.build().unwrap();
        let bot = app.intent(app.client().sender(), "test");
        let thread = ResourceRef::parse("CommunicationRequest/1").unwrap();
        bridge.links.link_room(&thread, room()).await.unwrap();
        let at = now_ms();
        let see = async |kind: &str, user: &str, before: Option<&str>| {
            let mut event = json!({
                "type": kind, "event_id": "$1", "room_id": room(), "sender": user,
                "origin_server_ts": 1, "content": {"membership": "join"},
            });
            if kind == "m.room.member" {
                event["state_key"] = user.into();
            }
            if let Some(before) = before {
                event["unsigned"] = json!({"prev_content": {"membership": before}});
            }
            let event = Event::parse(event.to_string().as_bytes()).unwrap();
            bridge.watch_arrivals(&bot, &event, at).await.unwrap();
            bridge.arrivals.first_due(soon()).await.is_some()
        };
        // Somebody of ours, and somebody who has been there and has a new name.
        for (user, before) in [("@a:vvt", None), ("@b:huisarts", Some("join"))] {
            see("m.room.member", user, before).await;
            assert!(!see("m.room.message", "@a:vvt", None).await, "{user}");
        }
        see("m.room.member", "@b:huisarts", Some("invite")).await;
        assert!(!see(TIE, "@_fhir:vvt", None).await);
        assert!(see("m.room.message", "@a:vvt", None).await);
    }
}
