//! Several FHIR servers in one bridge, and whose an event, a user or an entry is.
//!
//! Each server is a [`Bridge`] of its own: its links, prefix, journal source, cursors and secrets are shared with no
//! other. What comes from Matrix is given to the one that it belongs to.

use std::sync::Arc;

use anyhow::Context;
use matrix_appservice::{
    Delivery, Event, HandlerError, HandlerResult, Intent, Receipt,
    ruma::{OwnedUserId, RoomId, UserId},
};
use tracing::Instrument;

use crate::{
    bridge::{Bridge, Shared},
    config::Config,
    failure, startup,
};

/// All FHIR servers of this process.
#[derive(Clone)]
pub(crate) struct Servers(Arc<[Arc<Bridge>]>);

impl Servers {
    /// Opens the links of each server and makes its client, without asking it anything.
    pub(crate) async fn open(config: &Config, shared: &Shared) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for server in config.servers() {
            let prefix = server.prefix(&config.prefix);
            startup::check_namespaces(&prefix, config, &shared.registration)?;
            let bridge = Bridge::open(config, server, shared).await;
            all.push(Arc::new(match &server.name {
                None => bridge?,
                Some(name) => bridge.with_context(|| format!("the FHIR server {name}"))?,
            }));
        }
        // A prefix may begin with another one.
        all.sort_by_key(|bridge| std::cmp::Reverse(bridge.ids.prefix().len()));
        Ok(Self(all.into()))
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Bridge>> {
        self.0.iter()
    }

    /// Whose ghost or alias a localpart is.
    pub(crate) fn of_localpart(&self, localpart: &str) -> Option<&Arc<Bridge>> {
        // The longest prefix is the first.
        self.0
            .iter()
            .find(|bridge| localpart.starts_with(bridge.ids.prefix()))
    }

    /// Those that an event may concern: the one whose room it is in; else the one whose ghost it is about; else all,
    /// each of which leaves alone what is none of its own.
    async fn of_event(&self, event: &Event) -> Result<&[Arc<Bridge>], HandlerError> {
        if self.0.len() > 1 {
            if let Some(owner) = self.of_room(event.room_id()).await? {
                return Ok(owner);
            }
            let about = event
                .state_key()
                .and_then(|key| UserId::parse(key).ok())
                .and_then(|user| self.of_ghost(&user));
            if let Some(index) = about {
                return Ok(&self.0[index..=index]);
            }
        }
        Ok(&self.0)
    }

    /// The one that has linked a room.
    async fn of_room(&self, room: &RoomId) -> Result<Option<&[Arc<Bridge>]>, HandlerError> {
        for (index, bridge) in self.0.iter().enumerate() {
            let known = bridge.links.resource_of_room(room).await;
            if known.map_err(failure::links)?.is_some() {
                return Ok(Some(&self.0[index..=index]));
            }
        }
        Ok(None)
    }

    fn of_ghost(&self, user: &UserId) -> Option<usize> {
        self.0.iter().position(|bridge| {
            user.server_name() == bridge.server_name
                && user.localpart().starts_with(bridge.ids.prefix())
        })
    }

    /// An event from the homeserver.
    pub(crate) async fn matrix_event(self, delivery: Delivery, event: Event) -> HandlerResult {
        for bridge in self.of_event(&event).await? {
            let work = bridge.clone().matrix_event(delivery.clone(), event.clone());
            Box::pin(bridge.clone().traced(delivery.clone(), work)).await?;
        }
        Ok(())
    }

    /// Somebody has read up to an event: told to the server whose room it is, else to all, as with events.
    pub(crate) async fn receipt_came(self, delivery: Delivery, receipt: Receipt) -> HandlerResult {
        for bridge in self.of_room(&receipt.room_id).await?.unwrap_or(&self.0) {
            let work = bridge.receipt_came(&delivery, &receipt);
            Box::pin(bridge.clone().traced(delivery.clone(), work)).await?;
        }
        Ok(())
    }

    /// Does this ghost exist?
    pub(crate) async fn user_query(
        self,
        bot: Intent,
        user: OwnedUserId,
    ) -> Result<bool, HandlerError> {
        match self.of_localpart(user.localpart()) {
            Some(bridge) => {
                let span = bridge.span();
                bridge.clone().user_query(bot, user).instrument(span).await
            }
            None => Ok(false),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use fhir::ResourceRef;
    use matrix_appservice::ruma::room_id;
    use serde_json::json;

    use super::{testing::Made, *};

    /// A bridge with a FHIR server without a name, one called `a` and one called `a-b`.
    async fn servers() -> (tempfile::TempDir, Servers) {
        let made = Made::with(json!({
            "fhir_servers": [
                {"url": "http://one.example/fhir"},
                {"name": "a-b", "url": "http://b.example/fhir"},
                {"name": "a", "url": "http://a.example/fhir"},
            ],
        }));
        let made = made.await;
        (made.folder, made.servers)
    }

    fn names<'a>(bridges: impl IntoIterator<Item = &'a Arc<Bridge>>) -> Vec<Option<&'a str>> {
        bridges.into_iter().map(|one| one.name.as_deref()).collect()
    }

    fn event(room: &str, state_key: Option<&str>) -> Event {
        let mut event = json!({
            "type": "m.room.member", "event_id": "$1", "room_id": room, "sender": "@x:vvt",
            "origin_server_ts": 1, "content": {"membership": "invite"},
        });
        if let Some(key) = state_key {
            event["state_key"] = key.into();
        }
        Event::parse(event.to_string().as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_localpart_belongs_to_the_server_with_the_longest_prefix() {
        let (_folder, servers) = servers().await;
        for (localpart, name) in [
            ("_fhir_bridge_practitioner_1", Some(None)),
            ("_fhir_bridge_a_practitioner_1", Some(Some("a"))),
            ("_fhir_bridge_a-b_practitioner_1", Some(Some("a-b"))),
            ("_fhir_bridge_other_practitioner_1", Some(None)),
            ("alice", None),
        ] {
            let found = servers.of_localpart(localpart);
            assert_eq!(found.map(|one| one.name.as_deref()), name, "{localpart}");
        }
        // And whose it is can read it.
        let own = servers
            .of_localpart("_fhir_bridge_a_practitioner_1")
            .unwrap();
        assert!(own.ids.resource("_fhir_bridge_a_practitioner_1").is_some());
        let first = servers.of_localpart("_fhir_bridge_x").unwrap();
        assert_eq!(first.ids.resource("_fhir_bridge_a_practitioner_1"), None);
    }

    #[tokio::test]
    async fn an_event_is_given_to_the_server_whose_room_it_is_in() {
        let (_folder, servers) = servers().await;
        let a = servers.of_localpart("_fhir_bridge_a_").unwrap();
        let thread = ResourceRef::parse("CommunicationRequest/7").unwrap();
        a.link_room(&thread, room_id!("!a:vvt")).await.unwrap();

        let of = async |event: Event| names(servers.of_event(&event).await.unwrap());
        assert_eq!(of(event("!a:vvt", None)).await, [Some("a")]);
        let ghost = "@_fhir_bridge_a-b_practitioner_1:vvt";
        assert_eq!(of(event("!new:vvt", Some(ghost))).await, [Some("a-b")]);
        assert_eq!(of(event("!a:vvt", Some(ghost))).await, [Some("a")]);
        // The same name elsewhere is nobody of ours.
        let elsewhere = "@_fhir_bridge_a_practitioner_1:other";
        assert_eq!(of(event("!new:vvt", Some(elsewhere))).await.len(), 3);
        assert_eq!(of(event("!new:vvt", None)).await.len(), 3);
    }

    #[tokio::test]
    async fn servers_share_no_links_secrets_sources_or_lanes() {
        let (folder, servers) = servers().await;
        let files: Vec<_> = ["links.db", "links-a.db", "links-a-b.db"]
            .map(|name| folder.path().join(name).is_file())
            .into();
        assert_eq!(files, [true; 3]);
        let client = ResourceRef::parse("Patient/1").unwrap();
        let mut ghosts: Vec<String> = servers.iter().map(|one| one.ids.ghost(&client)).collect();
        let mut sources: Vec<&str> = servers.iter().map(|one| one.source).collect();
        let mut lanes: Vec<String> = servers.iter().map(|one| one.lane("x")).collect();
        ghosts.sort();
        sources.sort_unstable();
        lanes.sort();
        assert_eq!(sources, ["fhir", "fhir:a", "fhir:a-b"]);
        assert_eq!(lanes, ["a-b:x", "a:x", "x"]);
        ghosts.dedup_by_key(|ghost| ghost.rsplit('_').next().map(str::to_owned));
        assert_eq!(ghosts.len(), 3, "each has a key of its own");
    }
}
