//! Who is who: people on the FHIR server and users in Matrix.

use fhir::{Instant, Person, PersonKind, Ref, ResourceRef, ResourceType};
use matrix_appservice::{
    HandlerError, Intent,
    ruma::{OwnedUserId, UserId},
};

use crate::{
    bridge::{Bridge, lock},
    failure,
};

/// How deep care teams may be members of care teams.
const DEEPEST_TEAM: usize = 4;

/// A person and the Matrix user that takes part for it.
#[derive(Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) person: Person,
    /// Its own account; `None`: it takes part as a ghost.
    pub(crate) account: Option<OwnedUserId>,
}

impl Bridge {
    /// Reads a person; of a role, the practitioner's name and accounts are filled in where the role has
    /// none. `None` when there is no such person.
    pub(crate) async fn person(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<Person>, HandlerError> {
        let Some(mut person) = self.read_person(reference).await? else {
            return Ok(None);
        };
        if let Some(practitioner) = person.practitioner.clone()
            && let Some(practitioner) = self.read_person(&practitioner).await?
        {
            person.display_name = person.display_name.or(practitioner.display_name);
            if person.matrix_accounts.is_empty() {
                person.matrix_accounts = practitioner.matrix_accounts;
            }
        }
        Ok(Some(person))
    }

    async fn read_person(&self, reference: &ResourceRef) -> Result<Option<Person>, HandlerError> {
        let Some(raw) = self.fhir.read(reference).await.map_err(failure::fhir)? else {
            return Ok(None);
        };
        Ok(Person::from_json(&raw.json, self.fhir.base()).ok())
    }

    /// The members that references name, each once: people, and the current participants of care teams.
    /// What names nobody on this server is left out, and counted in the log.
    pub(crate) async fn members(&self, references: Vec<Ref>) -> Result<Vec<Member>, HandlerError> {
        let mut waiting: Vec<(Ref, usize)> = references.into_iter().map(|one| (one, 0)).collect();
        waiting.reverse();
        let mut seen: Vec<ResourceRef> = Vec::new();
        let mut members = Vec::new();
        let mut left_out = 0;
        while let Some((reference, depth)) = waiting.pop() {
            let Some(reference) = reference.resource().cloned() else {
                left_out += 1;
                continue;
            };
            if seen.contains(&reference) {
                continue;
            }
            seen.push(reference.clone());
            if *reference.resource_type() == ResourceType::CareTeam {
                if depth < DEEPEST_TEAM {
                    let participants = self.participants(&reference).await?;
                    waiting.extend(participants.into_iter().rev().map(|one| (one, depth + 1)));
                }
                continue;
            }
            let known = PersonKind::of(reference.resource_type()).is_some();
            match if known {
                self.person(&reference).await?
            } else {
                None
            } {
                Some(person) => members.push(self.member(person).await?),
                None => left_out += 1,
            }
        }
        if left_out > 0 {
            tracing::info!(
                left_out,
                "some members are nobody on this FHIR server and are not invited"
            );
        }
        Ok(members)
    }

    async fn participants(&self, team: &ResourceRef) -> Result<Vec<Ref>, HandlerError> {
        let Some(raw) = self.fhir.read(team).await.map_err(failure::fhir)? else {
            return Ok(Vec::new());
        };
        let team = fhir::CareTeam::from_json(&raw.json, self.fhir.base())
            .map_err(|_| HandlerError::never("CareTeam that can't be read"))?;
        Ok(current_members(&team))
    }

    async fn member(&self, person: Person) -> Result<Member, HandlerError> {
        let account = person
            .matrix_ids(&Instant::now())
            .filter_map(|id| UserId::parse(id).ok())
            .find(|user| !self.is_ours(user));
        if let Some(account) = &account {
            self.links
                .link_person(account, &person.reference)
                .await
                .map_err(failure::links)?;
        }
        Ok(Member { person, account })
    }

    /// The user id of a person's ghost.
    pub(crate) fn ghost_id(&self, person: &ResourceRef) -> Result<OwnedUserId, HandlerError> {
        UserId::parse(format!("@{}:{}", self.ids.ghost(person), self.server_name))
            .map_err(|_| HandlerError::never("FHIR id too long for a Matrix user id"))
    }

    /// Makes sure that a person's ghost exists and bears its name. Clients' names stay off Matrix.
    pub(crate) async fn ensure_ghost(
        &self,
        bot: &Intent,
        person: &Person,
    ) -> Result<Intent, HandlerError> {
        let ghost = bot.as_user(&self.ghost_id(&person.reference)?);
        ghost.ensure_registered().await?;
        let name = match person.kind {
            PersonKind::Patient => "Client".to_owned(),
            _ => person
                .display_name
                .clone()
                .unwrap_or_else(|| "Care team member".to_owned()),
        };
        let named = (ghost.user_id().to_owned(), name);
        if !lock(&self.named).contains(&named) {
            ghost.set_display_name(&named.1).await?;
            lock(&self.named).insert(named);
        }
        Ok(ghost)
    }

    /// The person whose Matrix account this is: as noted when it was invited, else as the FHIR
    /// directory says. `None` when nobody there has this account.
    pub(crate) async fn person_of(
        &self,
        user: &UserId,
    ) -> Result<Option<ResourceRef>, HandlerError> {
        if let Some(person) = self.links.person(user).await.map_err(failure::links)? {
            return Ok(Some(person));
        }
        for resource_type in [
            ResourceType::Practitioner,
            ResourceType::RelatedPerson,
            ResourceType::PractitionerRole,
            ResourceType::Patient,
        ] {
            let telecom = fhir::search_token(None, user.as_str());
            let found = self
                .fhir
                .search(&resource_type, &[("telecom", &telecom)], 10)
                .await
                .map_err(failure::fhir)?;
            let person = found
                .resources
                .iter()
                .filter_map(|raw| Person::from_json(&raw.json, self.fhir.base()).ok())
                // Servers differ in what they take for a match: look at the entry itself.
                .find(|person| {
                    person
                        .matrix_ids(&Instant::now())
                        .any(|id| id == user.as_str())
                });
            if let Some(person) = person {
                self.links
                    .link_person(user, &person.reference)
                    .await
                    .map_err(failure::links)?;
                return Ok(Some(person.reference));
            }
        }
        Ok(None)
    }
}

/// The members of a care team whose time has come and has not ended.
pub(crate) fn current_members(team: &fhir::CareTeam) -> Vec<Ref> {
    let now = Instant::now();
    team.participants
        .iter()
        .filter(|participant| participant.is_current(&now))
        .map(|participant| participant.member.clone())
        .collect()
}
