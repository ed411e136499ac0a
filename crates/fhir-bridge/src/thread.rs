//! A conversation: `CommunicationRequest`, the header of its messages, or what is written to a care team, ⇄ room.

pub(crate) mod adopted;
mod first;
pub(crate) mod talk;

use fhir::{ResourceRef, ResourceType};
use matrix_appservice::{
    CreateRoom, Delivery, HandlerError, HandlerResult, Intent, ruma::OwnedRoomId,
};
use serde_json::Value;

use crate::{
    bridge::Bridge,
    config::RoomNames,
    directory::roster::Roster,
    failure,
    mapping::{levels::Kind, names, phase::Phase, thread::Thread},
    network::{TeamNow, refresh::Because, room::Wish},
};

/// How many messages are looked through for those that were written while a conversation was on hold.
const MOST_HELD: usize = 1000;

impl Bridge {
    /// Whether a resource is a conversation: by what it says, or because it has a room.
    pub(crate) async fn is_thread(
        &self,
        reference: &ResourceRef,
        json: Option<&Value>,
    ) -> Result<bool, HandlerError> {
        let threads = self.server.threads;
        if !threads.is_of(reference) {
            return Ok(false);
        }
        if json.is_some_and(|json| threads.recognises(json)) {
            return Ok(true);
        }
        let room = self.links.room(reference).await.map_err(failure::links)?;
        Ok(room.is_some())
    }

    /// A conversation was created, changed or deleted (`None`), or what it depends on was.
    pub(crate) async fn thread_is(
        &self,
        delivery: &Delivery,
        reference: &ResourceRef,
        json: Option<&Value>,
    ) -> HandlerResult {
        let bot = delivery.bot();
        let Some(json) = json else {
            return self.close_room(&bot, reference, Kind::Room).await;
        };
        let thread = self.read_thread(json)?;
        if thread.phase == Some(Phase::Open) {
            self.fetch_held(delivery, reference).await?;
        }
        self.sync_thread(&bot, &thread).await?;
        Ok(())
    }

    /// The room of a conversation in which messages can be sent; made from the resource as it is now when there is none
    /// yet. `None` when there is no such conversation, or it is not open.
    pub(crate) async fn thread_room(
        &self,
        bot: &Intent,
        reference: &ResourceRef,
    ) -> Result<Option<OwnedRoomId>, HandlerError> {
        if let Some(room) = self.links.room(reference).await.map_err(failure::links)? {
            let phase = self.links.phase(reference).await.map_err(failure::links)?;
            // What is written meanwhile is fetched when it is open again.
            return Ok(phase
                .is_none_or(|phase| phase == Phase::Open)
                .then_some(room));
        }
        match self.thread(reference).await? {
            Some(thread) if thread.phase == Some(Phase::Open) => {
                self.sync_thread(bot, &thread).await
            }
            _ => Ok(None),
        }
    }

    /// Reads a conversation from the FHIR server. `None` when there is no such resource, or it is no conversation.
    pub(crate) async fn thread(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<Thread>, HandlerError> {
        let source = self.server.threads.source(reference);
        let Some(raw) = self.fhir.read(&source).await.map_err(failure::fhir)? else {
            return Ok(None);
        };
        if !self.is_thread(reference, Some(&raw.json)).await? {
            return Ok(None);
        }
        self.read_thread(&raw.json).map(Some)
    }

    fn read_thread(&self, json: &Value) -> Result<Thread, HandlerError> {
        (self.server.threads.read(json, self.fhir.base()))
            .map_err(|odd| HandlerError::never(odd.what))
    }

    /// Makes room, place in the space and members what the conversation says. Can be repeated. `None` when there is
    /// no room, and is none to be made.
    async fn sync_thread(
        &self,
        bot: &Intent,
        thread: &Thread,
    ) -> Result<Option<OwnedRoomId>, HandlerError> {
        let reference = &thread.reference;
        let unlinked = self.links.is_unlinked(reference).await;
        if unlinked.map_err(failure::links)? {
            tracing::debug!(resource = %reference, "a conversation that was unlinked gets no room by itself");
            return Ok(None);
        }
        let Some(own) = thread.phase else {
            tracing::info!(resource = %reference, "a conversation that is not active is not bridged");
            return Ok(None);
        };
        let team = match thread.care_team() {
            Some(team) => self.read_team_now(team).await?,
            None => None,
        };
        let phase = own.max(self.phase_of_team(thread, team.as_ref()).await?);
        let known = self.known_room(bot, thread).await?;
        if known.is_none() && phase != Phase::Open {
            // It is looked at again when its care team changes, and what is written meanwhile is fetched then.
            self.links
                .depend(reference, &thread.care_teams)
                .await
                .map_err(failure::links)?;
            self.links
                .set_phase(reference, phase)
                .await
                .map_err(failure::links)?;
            return Ok(None);
        }
        let space = match &team {
            Some(team) if phase != Phase::Closed => self.space(bot, team).await?,
            _ => None,
        };
        let roster = self.thread_roster(thread, team.as_ref()).await?;
        let mut depends = roster.depends.clone();
        depends.extend(thread.care_teams.iter().cloned());
        self.links
            .depend(reference, &depends)
            .await
            .map_err(failure::links)?;
        let wish = Wish {
            resource: reference,
            kind: Kind::Room,
            phase,
            roster: &roster,
            subject: team
                .as_ref()
                .and_then(|team| team.team.subject.as_ref())
                .or(thread.subject.as_ref()),
            parent: space.as_deref(),
            order: thread
                .began
                .as_ref()
                .map(|at| format!("{:013}", at.unix_millis())),
            name: self.room_name(thread).await?,
            is_new: known.is_none(),
        };
        let room = CreateRoom::new().name(wish.name.as_deref().unwrap_or(names::ROOM));
        let room = self.ensure_room(bot, &wish, room).await?;
        self.sync_room(bot, &room, &wish).await?;
        if phase == Phase::Open {
            self.send_first(bot, thread, &room).await?;
        }
        Ok(Some(room))
    }

    /// How open a conversation's care team lets it be. One that was bridged and is no longer there closes it.
    async fn phase_of_team(
        &self,
        thread: &Thread,
        team: Option<&TeamNow>,
    ) -> Result<Phase, HandlerError> {
        if let Some(team) = team {
            return Ok(team.phase);
        }
        let known = match thread.care_team() {
            Some(team) => self.links.phase(team).await.map_err(failure::links)?,
            None => None,
        };
        Ok(known.unwrap_or(Phase::Open))
    }

    /// Who takes part: those whom the conversation names, with their roles in the care team, but nobody who was a
    /// member of the care team and is one no longer.
    async fn thread_roster(
        &self,
        thread: &Thread,
        team: Option<&TeamNow>,
    ) -> Result<Roster, HandlerError> {
        let mut roster = self
            .roster(thread.participants.clone(), team.map(|team| &team.roster))
            .await?;
        let Some(team) = team else {
            return Ok(roster);
        };
        let mut kept = Vec::new();
        for member in roster.members {
            let person = &member.person.reference;
            let is_former = !team.roster.has(person)
                && self
                    .links
                    .is_former(&team.team.reference, person)
                    .await
                    .map_err(failure::links)?;
            if !is_former {
                kept.push(member);
            }
        }
        roster.members = kept;
        Ok(roster)
    }

    /// What the room is called; `None` when it is not for us to say.
    async fn room_name(&self, thread: &Thread) -> Result<Option<String>, HandlerError> {
        if self.network.room_names == RoomNames::Neutral || thread.subject_line.is_none() {
            return Ok(Some(names::ROOM.to_owned()));
        }
        let client = match thread
            .subject
            .as_ref()
            .and_then(|subject| subject.resource_of(&ResourceType::Patient))
        {
            Some(client) => self.fhir.read(client).await.map_err(failure::fhir)?,
            None => None,
        };
        let client = client.as_ref().map(|client| &client.json);
        Ok(Some(names::room(thread.subject_line.as_deref(), client)))
    }

    /// What was written in FHIR while a conversation was on hold is sent now that it is open again.
    async fn fetch_held(&self, delivery: &Delivery, thread: &ResourceRef) -> HandlerResult {
        let before = self.links.phase(thread).await.map_err(failure::links)?;
        if before.is_none_or(|before| before == Phase::Open) {
            return Ok(());
        }
        self.fetch_messages(delivery, thread, false).await
    }

    /// Has the messages of a conversation looked at that are in the record: those that are not known, or also those
    /// that are.
    pub(crate) async fn fetch_messages(
        &self,
        delivery: &Delivery,
        thread: &ResourceRef,
        known_too: bool,
    ) -> HandlerResult {
        let name = thread.to_string();
        let (parameter, value) = self.server.threads.messages_of(thread);
        let found = self
            .fhir
            .search(
                &ResourceType::Communication,
                &[(parameter, &value), ("_sort", "_lastUpdated")],
                MOST_HELD,
            )
            .await
            .map_err(failure::fhir)?;
        if found.more {
            tracing::warn!(resource = %thread, most = MOST_HELD, "a conversation has more messages than are fetched at once");
        }
        let because = Because::of(delivery);
        let mut entries = Vec::new();
        for raw in found.resources {
            let known = self.links.message(&raw.reference).await;
            if known.map_err(failure::links)?.is_none() || known_too {
                entries.push(self.look_in(&name, &raw.reference, &because));
            }
        }
        if !entries.is_empty() {
            self.journal.append(&entries, None).await?;
        }
        Ok(())
    }
}
