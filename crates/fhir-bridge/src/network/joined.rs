//! Who comes and goes in Matrix, back to FHIR (`network.membership_to_fhir`).
//!
//! Only what people do counts: what the bridge did in Matrix because the FHIR server said so is not told to the FHIR
//! server again. A join is news when the bridge had not brought that user in, a leave when the user had been there
//! because of the FHIR server. Declining an invitation changes nothing: the person is a member who does not use Matrix.
//! Users whom the directory does not know are guests and change nothing either.

use fhir::{Edit, Instant, ResourceRef, ResourceType};
use matrix_appservice::{
    Delivery, Event, HandlerResult,
    ruma::{UserId, events::room::member::MembershipState},
};
use serde::Deserialize;

use crate::{bridge::Bridge, failure};

/// What an `m.room.member` says.
#[derive(Default, Deserialize)]
pub(super) struct Content {
    membership: Option<MembershipState>,
}

/// Whether somebody came with this event. Who was there and has another name now didn't.
pub(super) fn is_arrival(event: &Event) -> bool {
    let is_in = |content: Option<Content>| {
        content.and_then(|content| content.membership) == Some(MembershipState::Join)
    };
    event.kind() == "m.room.member"
        && is_in(event.content().ok())
        && !is_in(event.prev_content().ok().flatten())
}

impl Bridge {
    /// An `m.room.member`.
    pub(crate) async fn membership_changed(
        &self,
        delivery: &Delivery,
        event: &Event,
    ) -> HandlerResult {
        let Some(user) = event.state_key().and_then(|key| UserId::parse(key).ok()) else {
            return Ok(());
        };
        let content: Content = event.content().unwrap_or_default();
        let membership = content.membership.unwrap_or(MembershipState::Leave);
        if self.is_ours(&user) {
            if membership == MembershipState::Invite && !self.is_ours(event.sender()) {
                return self.invited(delivery, event, &user).await;
            }
            return Ok(());
        }
        let bot = delivery.bot();
        let Some(resource) = self.resource_of_room(&bot, event.room_id()).await? else {
            return Ok(());
        };
        let before: Option<Content> = event.prev_content().unwrap_or_default();
        let was_in = before.and_then(|before| before.membership) == Some(MembershipState::Join);
        match membership {
            MembershipState::Join if !was_in => self.came(delivery, event, &resource, &user).await,
            MembershipState::Leave | MembershipState::Ban => {
                self.went(delivery, event, &resource, &user, was_in).await
            }
            _ => Ok(()),
        }
    }

    async fn came(
        &self,
        delivery: &Delivery,
        event: &Event,
        resource: &ResourceRef,
        user: &UserId,
    ) -> HandlerResult {
        let ours = self.links.saw(resource, user, true).await;
        if ours.map_err(failure::links)? {
            let placed = self.links.placed(resource).await.map_err(failure::links)?;
            let person = placed.iter().find(|one| one.user == user);
            let stands_in = placed.iter().any(|one| {
                one.user != user && person.is_some_and(|person| person.person == one.person)
            });
            if stands_in {
                // Whoever was there before can go now.
                return self.look_again(delivery, resource).await;
            }
            return Ok(());
        }
        // By the time this is looked at, they may have been removed again.
        let now = delivery.bot().membership(event.room_id(), user).await?;
        if !self.notes_members(resource) || now != Some(MembershipState::Join) {
            return Ok(());
        }
        if let Some(person) = self.person_of(user).await? {
            return self.add_to_record(resource, &person).await;
        }
        tracing::info!(%resource, server = %user.server_name(), "a guest came whom the directory does not know");
        Ok(())
    }

    /// Somebody invited one of our ghosts into a room of ours, and it has accepted.
    pub(super) async fn ghost_came(
        &self,
        _delivery: &Delivery,
        resource: &ResourceRef,
        ghost: &UserId,
    ) -> HandlerResult {
        let placed = self.links.placed_as(resource, ghost).await;
        if placed.map_err(failure::links)?.is_some() || !self.notes_members(resource) {
            return Ok(());
        }
        // Of a client's ghost, only the hash of the id is known.
        match self.ids.resource(ghost.localpart()) {
            Some(person) => self.add_to_record(resource, &person).await,
            None => Ok(()),
        }
    }

    async fn went(
        &self,
        delivery: &Delivery,
        event: &Event,
        resource: &ResourceRef,
        user: &UserId,
        was_in: bool,
    ) -> HandlerResult {
        let placed = self.links.placed_as(resource, user).await;
        let Some((person, joined)) = placed.map_err(failure::links)? else {
            // Removed because the FHIR server said so, or never a member.
            return Ok(());
        };
        if self.is_ours(event.sender()) || !(was_in || joined) {
            return Ok(());
        }
        let now = delivery.bot().membership(event.room_id(), user).await?;
        if now == Some(MembershipState::Join) {
            return Ok(());
        }
        self.links
            .saw(resource, user, false)
            .await
            .map_err(failure::links)?;
        if !self.notes_members(resource) {
            return Ok(());
        }
        self.take_from_record(resource, &person).await
    }

    /// Makes somebody a member no longer on the FHIR server.
    pub(crate) async fn take_from_record(
        &self,
        resource: &ResourceRef,
        person: &ResourceRef,
    ) -> HandlerResult {
        let names = self.names_in(resource, person).await?;
        let now = Instant::now();
        let base = self.fhir.base();
        let changed = |done: bool| if done { Edit::Changed } else { Edit::Unchanged };
        let mut edit = |json: &mut serde_json::Value| {
            changed(match resource.resource_type() {
                ResourceType::CareTeam => fhir::end_participation(json, &names, &now, base),
                _ => fhir::remove_recipient(json, &names, base),
            })
        };
        let done = self
            .fhir
            .modify(resource, &mut edit)
            .await
            .map_err(failure::fhir)?;
        self.forget_talks(resource);
        tracing::info!(%resource, changed = matches!(done, fhir::Modified::Stored(_)), "somebody left in Matrix");
        Ok(())
    }

    /// Whether who comes to a room or goes from it does so on the FHIR server. A conversation that has no resource of its
    /// own has nobody of its own either: its care team's space says who is a member.
    fn notes_members(&self, resource: &ResourceRef) -> bool {
        let threads = self.server.threads;
        self.network.membership_to_fhir && (threads.name_people() || !threads.is_of(resource))
    }

    /// Makes somebody a member on the FHIR server.
    pub(crate) async fn add_to_record(
        &self,
        resource: &ResourceRef,
        person: &ResourceRef,
    ) -> HandlerResult {
        let names = self.names_in(resource, person).await?;
        if self.server.threads.is_of(resource) {
            // Who is there as a member of a care team, or asked for it, is there already.
            let Some(thread) = self.thread(resource).await? else {
                return Ok(());
            };
            let roster = self.roster(thread.participants, None).await?;
            if roster.has(person) {
                return Ok(());
            }
        }
        let now = Instant::now();
        let base = self.fhir.base();
        let mut edit = |json: &mut serde_json::Value| {
            let done = match resource.resource_type() {
                ResourceType::CareTeam => fhir::add_participant(json, &names, &now, base),
                _ => fhir::add_recipient(json, &names, base),
            };
            if done { Edit::Changed } else { Edit::Unchanged }
        };
        let done = self
            .fhir
            .modify(resource, &mut edit)
            .await
            .map_err(failure::fhir)?;
        self.forget_talks(resource);
        tracing::info!(%resource, changed = matches!(done, fhir::Modified::Stored(_)), "somebody joined in Matrix");
        Ok(())
    }

    /// All references by which a resource may name a person: its own in front, then its roles.
    async fn names_in(
        &self,
        resource: &ResourceRef,
        person: &ResourceRef,
    ) -> Result<Vec<ResourceRef>, matrix_appservice::HandlerError> {
        let mut names = vec![person.clone()];
        let roster = match resource.resource_type() {
            ResourceType::CareTeam => match self.care_team(resource).await? {
                Some(team) => Some(self.team_roster(&team).await?),
                None => None,
            },
            _ => match self.thread(resource).await? {
                Some(thread) => Some(self.roster(thread.participants, None).await?),
                None => None,
            },
        };
        let member = roster
            .into_iter()
            .flat_map(|roster| roster.members)
            .find(|member| member.names.contains(person));
        for name in member.into_iter().flat_map(|member| member.names) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }
}
