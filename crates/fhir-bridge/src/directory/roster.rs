//! From the references of a care team or conversation to the members they name, with what they may do.

use std::collections::HashSet;

use fhir::{CareTeam, Coding, Instant, Person, Ref, ResourceRef, ResourceType};
use matrix_appservice::{HandlerError, ruma::OwnedUserId};

use crate::{
    bridge::Bridge,
    failure,
    mapping::{identity::Standing, membership::Wanted, roles},
};

/// How deep care teams may be members of care teams.
const DEEPEST_TEAM: usize = 4;

/// A person and the Matrix user that takes part for it.
#[derive(Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) person: Person,
    /// All references that name it, its own in front: a practitioner's role is the practitioner.
    pub(crate) names: Vec<ResourceRef>,
    /// Its own account, or its ghost.
    pub(crate) user: OwnedUserId,
    /// Whether that is its ghost.
    pub(crate) ghost: bool,
    /// What it may do.
    pub(crate) level: i64,
    pub(crate) standing: Standing,
}

/// The members that references name.
#[derive(Default)]
pub(crate) struct Roster {
    pub(crate) members: Vec<Member>,
    /// Whatever was read for it: when one of these changes, it may be another.
    pub(crate) depends: Vec<ResourceRef>,
    /// When it is another although nothing changes: a period begins or ends.
    pub(crate) next: Option<Instant>,
}

/// A reference to a member, with its roles.
struct Seat {
    reference: Ref,
    roles: Vec<Coding>,
    depth: usize,
}

impl Roster {
    /// As the plan for a room wants them.
    pub(crate) fn wanted(&self, bridge: &Bridge) -> Result<Vec<Wanted>, HandlerError> {
        self.members
            .iter()
            .map(|member| {
                Ok(Wanted {
                    user: member.user.clone(),
                    ghost: member.ghost,
                    voice: bridge.ghost_id(&member.person.reference)?,
                    person: member.person.reference.to_string(),
                })
            })
            .collect()
    }

    pub(crate) fn levels(&self) -> Vec<(OwnedUserId, i64)> {
        self.members
            .iter()
            .map(|member| (member.user.clone(), member.level))
            .collect()
    }

    pub(crate) fn has(&self, person: &ResourceRef) -> bool {
        self.members
            .iter()
            .any(|member| member.names.contains(person))
    }

    fn changes_at(&mut self, at: Option<Instant>) {
        self.next = match (self.next.take(), at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

impl Bridge {
    /// The members of a care team now.
    pub(crate) async fn team_roster(&self, team: &CareTeam) -> Result<Roster, HandlerError> {
        let mut roster = Roster::default();
        roster.depends.push(team.reference.clone());
        let seats = seats_of(team, 0, &mut roster);
        self.fill(&mut roster, seats).await?;
        roster.depends.retain(|one| *one != team.reference);
        Ok(roster)
    }

    /// Those whom references name, with the roles that they have in `team`.
    pub(crate) async fn roster(
        &self,
        references: Vec<Ref>,
        team: Option<&Roster>,
    ) -> Result<Roster, HandlerError> {
        let mut roster = Roster::default();
        let seats = references
            .into_iter()
            .map(|reference| Seat {
                reference,
                roles: Vec::new(),
                depth: 0,
            })
            .collect();
        self.fill(&mut roster, seats).await?;
        for member in &mut roster.members {
            let in_team = team
                .into_iter()
                .flat_map(|team| &team.members)
                .find(|one| one.person.reference == member.person.reference);
            if let Some(in_team) = in_team {
                member.level = in_team.level;
                member.standing = in_team.standing.clone();
            }
        }
        Ok(roster)
    }

    /// Takes the seats in their order; who sits on several is one member. What names nobody on this server is left
    /// out, and counted in the log.
    async fn fill(&self, roster: &mut Roster, seats: Vec<Seat>) -> Result<(), HandlerError> {
        let mut waiting = seats;
        waiting.reverse();
        let mut teams = HashSet::new();
        let mut left_out = 0;
        while let Some(seat) = waiting.pop() {
            let Some(reference) = self.named(&seat.reference).await? else {
                left_out += 1;
                continue;
            };
            if !roster.depends.contains(&reference) {
                roster.depends.push(reference.clone());
            }
            if *reference.resource_type() == ResourceType::CareTeam {
                if seat.depth < DEEPEST_TEAM
                    && teams.insert(reference.clone())
                    && let Some(team) = self.care_team(&reference).await?
                {
                    let inner = seats_of(&team, seat.depth + 1, roster);
                    waiting.extend(inner.into_iter().rev());
                }
                continue;
            }
            let Some(person) = self.person(&reference).await? else {
                left_out += 1;
                continue;
            };
            let mut level = roles::level(person.kind, &seat.roles, &self.network.roles);
            if seat.depth > 0 {
                // Who leads a team leads not every team that this one is part of.
                level = level.min(roles::PROFESSIONAL);
            }
            let known = roster
                .members
                .iter_mut()
                .find(|member| member.person.reference == person.reference);
            if let Some(member) = known {
                member.level = member.level.max(level);
                if !member.names.contains(&reference) {
                    member.names.push(reference);
                }
                continue;
            }
            roster.changes_at(person.next_change(&Instant::now()));
            if !roster.depends.contains(&person.reference) {
                roster.depends.push(person.reference.clone());
            }
            for endpoint in &person.endpoints {
                if !roster.depends.contains(endpoint) {
                    roster.depends.push(endpoint.clone());
                }
            }
            let member = self.member(person, reference, &seat.roles, level).await?;
            roster.members.push(member);
        }
        if left_out > 0 {
            tracing::info!(
                left_out,
                "some members are nobody on this FHIR server and are not invited"
            );
        }
        Ok(())
    }

    /// Reads a care team; `None` when there is none.
    pub(crate) async fn care_team(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<CareTeam>, HandlerError> {
        let Some(raw) = self.fhir.read(reference).await.map_err(failure::fhir)? else {
            return Ok(None);
        };
        CareTeam::from_json(&raw.json, self.fhir.base())
            .map(Some)
            .map_err(|odd| HandlerError::never(odd.what))
    }

    async fn member(
        &self,
        person: Person,
        seated_as: ResourceRef,
        roles: &[Coding],
        level: i64,
    ) -> Result<Member, HandlerError> {
        let account = self.account(&person, &seated_as).await?;
        let ghost = account.is_none();
        let user = match account {
            Some(account) => account,
            None => self.ghost_id(&person.reference)?,
        };
        let ura = if self.network.user_mappings.ura && ghost {
            self.ura(&person).await?
        } else {
            None
        };
        let role_code = roles::code(roles)
            .or_else(|| roles::code(&person.codes))
            .map(str::to_owned);
        let mut names = vec![person.reference.clone()];
        if seated_as != person.reference {
            names.push(seated_as);
        }
        Ok(Member {
            person,
            names,
            user,
            ghost,
            level,
            standing: Standing { ura, role_code },
        })
    }
}

/// The seats of a care team whose time has come and has not ended.
fn seats_of(team: &CareTeam, depth: usize, roster: &mut Roster) -> Vec<Seat> {
    let now = Instant::now();
    roster.changes_at(team.next_change(&now));
    team.participants
        .iter()
        .filter(|participant| participant.is_current(&now))
        .map(|participant| Seat {
            reference: participant.member.clone(),
            roles: participant.roles.clone(),
            depth,
        })
        .collect()
}
