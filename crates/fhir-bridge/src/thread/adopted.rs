//! Rooms that people make: one that a professional hangs into a care team's space, and that the bridge is invited to,
//! becomes a conversation in the record.
//!
//! It happens in the room's own lane (when the bridge comes in) or the space's (when the room is hung there), whichever
//! is later; from then on its messages are put on record. Those from before the bridge came stay what they were: talk
//! between those who were there.

use fhir::{Instant, NewThread, PersonKind, ResourceRef, ResourceType};
use matrix_appservice::{
    Delivery, Event, HandlerError, HandlerResult, Intent, Message,
    ruma::{OwnedRoomId, RoomId, events::room::member::MembershipState},
};

use crate::{
    bridge::Bridge,
    failure,
    mapping::{room_state::RoomState, thread::Thread},
};

/// What is said where a room that people made can't be a conversation.
const NO_CONVERSATION: &str = "What is said in this room does not get into the record: there, a care team \
                               has one conversation, in the room that is in its space already.";

impl Bridge {
    /// An `m.space.child`.
    pub(crate) async fn child_changed(&self, delivery: &Delivery, event: &Event) -> HandlerResult {
        let Some(room) = event.state_key().and_then(|key| RoomId::parse(key).ok()) else {
            return Ok(());
        };
        if self.is_ours(event.sender()) || !self.network.membership_to_fhir {
            return Ok(());
        }
        let bot = delivery.bot();
        let space = self.resource_of_room(&bot, event.room_id()).await?;
        let Some(team) = space.filter(|one| *one.resource_type() == ResourceType::CareTeam) else {
            return Ok(());
        };
        let content: serde_json::Value = event.content().unwrap_or_default();
        let hangs = content
            .get("via")
            .and_then(serde_json::Value::as_array)
            .is_some_and(|via| !via.is_empty());
        if !hangs {
            return self.links.unhang(&room).await.map_err(failure::links);
        }
        let linked = self.links.resource_of_room(&room).await;
        if linked.map_err(failure::links)?.is_some() {
            return Ok(());
        }
        self.links
            .note_hung(&room, &team, event.sender())
            .await
            .map_err(failure::links)?;
        if bot.membership(&room, &self.sender).await? == Some(MembershipState::Join) {
            self.adopt(delivery, &room).await?;
        }
        Ok(())
    }

    /// Makes a conversation of a room that somebody hung into a space, if that somebody may.
    pub(crate) async fn adopt(&self, delivery: &Delivery, room: &RoomId) -> HandlerResult {
        let linked = self.links.resource_of_room(room).await;
        if linked.map_err(failure::links)?.is_some() {
            return self.links.unhang(room).await.map_err(failure::links);
        }
        let Some(new) = self.new_thread(&delivery.bot(), room).await? else {
            return Ok(());
        };
        let Some(resource) = self.server.threads.write(&new) else {
            return self.say_no_conversation(delivery, room).await;
        };
        let created = {
            // The room's lane and the space's may both be here.
            let _making = self.making_room(&new.care_team).await;
            self.fhir
                .create_if_none_exist(&resource, &new.condition())
                .await
                .map_err(failure::fhir)?
        };
        self.take_hung(&created.reference, room).await?;
        tracing::info!(resource = %created.reference, %room, was_there = created.was_there, "a room that somebody made became a conversation");
        Ok(())
    }

    /// Tells those in a room, once, that no conversation can begin as one here: they would think that it is on record.
    async fn say_no_conversation(&self, delivery: &Delivery, room: &RoomId) -> HandlerResult {
        let bot = delivery.part("no conversation").bot();
        match bot.send(room, Message::notice(NO_CONVERSATION)).await {
            // Nobody may say anything there, or not us.
            Err(error) if error.is_forbidden() => {}
            sent => {
                sent?;
            }
        }
        tracing::info!(%room, "a room in a space is not bridged: on this FHIR server a care team has one conversation");
        self.links.unhang(room).await.map_err(failure::links)
    }

    /// The room of a conversation, where it has one.
    ///
    /// One that began as a room may be read from the record before whoever put it there could note the room: the
    /// FHIR server tells of it while its answer is still under way, or the bridge stopped in between. Then this notes
    /// it, so that no second room is made for those who talk in theirs.
    pub(super) async fn known_room(
        &self,
        bot: &Intent,
        thread: &Thread,
    ) -> Result<Option<OwnedRoomId>, HandlerError> {
        let reference = &thread.reference;
        let room = thread.began_as.as_deref();
        // Before the link is looked for: it is noted first, and what hangs forgotten then.
        if let Some(room) = room.and_then(|room| RoomId::parse(room).ok())
            && let linked = self.links.resource_of_room(&room).await
            && linked.map_err(failure::links)?.is_none()
            && let Some(new) = self.new_thread(bot, &room).await?
            && thread.care_team() == Some(&new.care_team)
        {
            self.take_hung(reference, &room).await?;
            tracing::info!(resource = %reference, %room, "a conversation that began as a room has that room");
        }
        self.links.room(reference).await.map_err(failure::links)
    }

    /// Notes that a conversation's room is the one that hangs in its space, unless it has one by now.
    async fn take_hung(&self, thread: &ResourceRef, room: &RoomId) -> HandlerResult {
        let _making = self.making_room(thread).await;
        let known = self.links.room(thread).await.map_err(failure::links)?;
        if known.is_none() {
            self.link_room(thread, room).await?;
        }
        self.links.unhang(room).await.map_err(failure::links)
    }

    /// The conversation that a room becomes which somebody hung into a space, if that somebody may.
    async fn new_thread(
        &self,
        bot: &Intent,
        room: &RoomId,
    ) -> Result<Option<NewThread>, HandlerError> {
        let hung = self.links.hung(room).await.map_err(failure::links)?;
        let Some((team_ref, user)) = hung else {
            return Ok(None);
        };
        let Some(now) = self.read_team_now(&team_ref).await? else {
            return Ok(None);
        };
        let requester = self.person_of(&user).await?;
        let maker = now.roster.members.iter().find(|member| {
            requester
                .as_ref()
                .is_some_and(|person| member.names.contains(person))
        });
        let Some(maker) = maker.filter(|member| is_professional(member.person.kind)) else {
            tracing::info!(%room, resource = %team_ref, "a room in a space is not bridged: who hung it there is no professional of the care team");
            return Ok(None);
        };
        let requester = maker.person.reference.clone();
        let state = match bot.all_state(room).await {
            Ok(events) => RoomState::read(events),
            // Removed from it meanwhile.
            Err(error) if error.is_forbidden() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if state.is_open() {
            tracing::warn!(%room, resource = %team_ref, "a room in a space is not bridged: everybody may read what is said there; close it and hang it there again");
            return Ok(None);
        }
        let mut recipients: Vec<ResourceRef> = Vec::new();
        for (user, membership) in state.members() {
            if !matches!(membership, "join" | "invite") || user == self.sender {
                continue;
            }
            let person = if self.is_ours(&user) {
                self.ids.resource(user.localpart())
            } else {
                self.person_of(&user).await?
            };
            if let Some(person) = person
                && person != requester
                && !recipients.contains(&person)
            {
                recipients.push(person);
            }
        }
        Ok(Some(NewThread {
            room_id: room.to_string(),
            care_team: team_ref,
            subject: now.team.subject.clone(),
            requester,
            recipients,
            authored_on: Instant::now(),
        }))
    }
}

fn is_professional(kind: PersonKind) -> bool {
    matches!(
        kind,
        PersonKind::Practitioner | PersonKind::PractitionerRole
    )
}
