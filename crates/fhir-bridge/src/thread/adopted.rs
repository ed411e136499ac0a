//! Rooms that people make: one that a professional hangs into a care team's space, and that the bridge is invited to,
//! becomes a conversation in the record.
//!
//! It happens in the room's own lane (when the bridge comes in) or the space's (when the room is hung there), whichever
//! is later; from then on its messages are put on record. Those from before the bridge came stay what they were: talk
//! between those who were there.

use fhir::{Instant, NewThread, PersonKind, ResourceRef, ResourceType};
use matrix_appservice::{
    Delivery, Event, HandlerResult,
    ruma::{RoomId, events::room::member::MembershipState},
};

use crate::{bridge::Bridge, failure, mapping::room_state::RoomState};

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
        let hung = self.links.hung(room).await.map_err(failure::links)?;
        let Some((team_ref, user)) = hung else {
            return Ok(());
        };
        let Some(now) = self.read_team_now(&team_ref).await? else {
            return Ok(());
        };
        let requester = self.person_of(&user).await?;
        let maker = now.roster.members.iter().find(|member| {
            requester
                .as_ref()
                .is_some_and(|person| member.names.contains(person))
        });
        let Some(maker) = maker.filter(|member| is_professional(member.person.kind)) else {
            tracing::info!(%room, resource = %team_ref, "a room in a space is not bridged: who hung it there is no professional of the care team");
            return Ok(());
        };
        let requester = maker.person.reference.clone();
        let bot = delivery.bot();
        let state = RoomState::read(bot.all_state(room).await?);
        if state.is_open() {
            tracing::warn!(%room, resource = %team_ref, "a room in a space is not bridged: everybody may read what is said there; close it and hang it there again");
            return Ok(());
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
        let new = NewThread {
            room_id: room.to_string(),
            care_team: team_ref.clone(),
            subject: now.team.subject.clone(),
            requester,
            recipients,
            authored_on: Instant::now(),
        };
        let _making = self.making_room(&team_ref).await;
        let created = self
            .fhir
            .create_if_none_exist(&self.server.threads.write(&new), &new.condition())
            .await
            .map_err(failure::fhir)?;
        self.link_room(&created.reference, room).await?;
        self.links.unhang(room).await.map_err(failure::links)?;
        tracing::info!(resource = %created.reference, %room, was_there = created.was_there, "a room that somebody made became a conversation");
        Ok(())
    }
}

fn is_professional(kind: PersonKind) -> bool {
    matches!(
        kind,
        PersonKind::Practitioner | PersonKind::PractitionerRole
    )
}
