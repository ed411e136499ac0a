//! A care network: `CareTeam` ⇄ space, and who is in it.
//!
//! A nested care team's members are members; its own space stays its own. What comes back from Matrix is in
//! [`joined`] and [`guests`].

pub(crate) mod arrivals;
pub(crate) mod guests;
mod invite;
pub(crate) mod joined;
pub(crate) mod missed;
mod moved;
pub(crate) mod refresh;
mod relations;
pub(crate) mod room;
mod timer;

use fhir::{CareTeam, ResourceRef};
use matrix_appservice::{
    CreateRoom, Delivery, HandlerError, HandlerResult, Intent, ruma::OwnedRoomId,
};
use serde_json::Value;

use self::room::Wish;
use crate::{
    bridge::Bridge,
    directory::roster::Roster,
    failure,
    mapping::{levels::Kind, names, phase::Phase},
};

/// A care team as its conversations see it.
pub(crate) struct TeamNow {
    pub(crate) phase: Phase,
    pub(crate) roster: Roster,
    pub(crate) team: CareTeam,
}

impl Bridge {
    /// A `CareTeam` was created, changed or deleted (`None`): its space is brought in line, then all that depends on it.
    pub(crate) async fn care_team_is(
        &self,
        delivery: &Delivery,
        reference: &ResourceRef,
        json: Option<&Value>,
    ) -> HandlerResult {
        let bot = delivery.bot();
        match json {
            Some(json) => {
                let team = CareTeam::from_json(json, self.fhir.base())
                    .map_err(|odd| HandlerError::never(odd.what))?;
                if let Some(now) = self.team_now(team).await? {
                    self.bring_team(&bot, &now).await?;
                }
            }
            None => self.close_room(&bot, reference, Kind::Space).await?,
        }
        self.pass_on(delivery, reference).await
    }

    /// What a care team is now; `None` when it is none yet.
    async fn team_now(&self, team: CareTeam) -> Result<Option<TeamNow>, HandlerError> {
        let Some(phase) = Phase::of_team(team.status) else {
            tracing::info!(resource = %team.reference, status = ?team.status, "a care team that is not active is not bridged");
            return Ok(None);
        };
        let roster = if phase == Phase::Closed {
            Roster::default()
        } else {
            self.team_roster(&team).await?
        };
        Ok(Some(TeamNow {
            phase,
            roster,
            team,
        }))
    }

    /// Reads what a care team is now; `None` when there is none, or none yet.
    pub(crate) async fn read_team_now(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<TeamNow>, HandlerError> {
        match self.care_team(reference).await? {
            Some(team) => self.team_now(team).await,
            None => Ok(None),
        }
    }

    /// The space of a care team; made when there is none yet and the team is active.
    pub(crate) async fn space(
        &self,
        bot: &Intent,
        now: &TeamNow,
    ) -> Result<Option<OwnedRoomId>, HandlerError> {
        let known = self
            .links
            .room(&now.team.reference)
            .await
            .map_err(failure::links)?;
        match known {
            Some(space) => Ok(Some(space)),
            None => self.bring_team(bot, now).await,
        }
    }

    /// Makes the space what the care team says.
    async fn bring_team(
        &self,
        bot: &Intent,
        now: &TeamNow,
    ) -> Result<Option<OwnedRoomId>, HandlerError> {
        let reference = &now.team.reference;
        let known = self.links.room(reference).await.map_err(failure::links)?;
        if known.is_none() && now.phase != Phase::Open {
            return Ok(None);
        }
        let unlinked = self.links.is_unlinked(reference).await;
        if unlinked.map_err(failure::links)? {
            // Who is a member no longer is still kept out of its conversations.
            self.note_members(reference, &now.roster).await?;
            return Ok(None);
        }
        let wish = Wish {
            resource: reference,
            kind: Kind::Space,
            phase: now.phase,
            roster: &now.roster,
            subject: now.team.subject.as_ref(),
            parent: None,
            order: None,
            name: None,
            is_new: false,
        };
        let space = self
            .ensure_room(bot, &wish, CreateRoom::new().name(names::SPACE).space())
            .await?;
        if now.phase != Phase::Closed {
            self.note_members(reference, &now.roster).await?;
            self.links
                .depend(reference, &now.roster.depends)
                .await
                .map_err(failure::links)?;
        }
        self.sync_room(bot, &space, &wish).await?;
        Ok(Some(space))
    }

    /// Notes who is a member and who is one no longer, so that the latter are kept out of the team's conversations too.
    async fn note_members(&self, team: &ResourceRef, roster: &Roster) -> HandlerResult {
        let placed = self.links.placed(team).await.map_err(failure::links)?;
        let members: Vec<ResourceRef> = roster
            .members
            .iter()
            .map(|member| member.person.reference.clone())
            .collect();
        let former: Vec<String> = placed
            .into_iter()
            .map(|placed| placed.person)
            .filter(|person| !members.iter().any(|member| member.to_string() == *person))
            .collect();
        self.links
            .note_team(team, &members, &former)
            .await
            .map_err(failure::links)
    }

    /// Closes the room of a resource that is no longer there.
    pub(crate) async fn close_room(
        &self,
        bot: &Intent,
        resource: &ResourceRef,
        kind: Kind,
    ) -> HandlerResult {
        let Some(room) = self.links.room(resource).await.map_err(failure::links)? else {
            return Ok(());
        };
        let wish = Wish {
            resource,
            kind,
            phase: Phase::Closed,
            roster: &Roster::default(),
            subject: None,
            parent: None,
            order: None,
            name: None,
            is_new: false,
        };
        self.sync_room(bot, &room, &wish).await
    }
}
