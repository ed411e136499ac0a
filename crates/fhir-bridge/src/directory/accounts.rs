//! Which Matrix account a person has, and what it takes to have another one.
//!
//! Accounts stand in `telecom`, else in `Endpoint`s of the person, of its roles, of the organisation. The first one is
//! taken at the directory's word. When a professional's entry shows another one later, it has to prove with the UZI
//! number, the URA number and the role code that it is still the same person in the same place; otherwise nothing
//! changes, and the log says so (`network.moves: directory` does without the proof). Related persons, clients and
//! organisations have no such numbers: of them the directory's word is enough.

use fhir::{Endpoint, Instant, Person, PersonKind, ResourceRef, ResourceType};
use matrix_appservice::{
    HandlerError,
    ruma::{OwnedUserId, UserId},
};

use crate::{
    bridge::Bridge,
    config::Moves,
    failure,
    mapping::{identity::UZI, roles},
};

impl Bridge {
    /// A person's own account, as it takes part under the reference `named`. `None`: it takes part as a ghost.
    pub(super) async fn account(
        &self,
        person: &Person,
        named: &ResourceRef,
    ) -> Result<Option<OwnedUserId>, HandlerError> {
        let listed = self.listed_accounts(person).await?;
        let known = self.links.identity(named).await.map_err(failure::links)?;
        let wanted = listed.first();
        let Some((before, proof)) = known else {
            if let Some(wanted) = wanted {
                self.take(person, named, wanted).await?;
            }
            return Ok(wanted.cloned());
        };
        match wanted {
            Some(wanted) if *wanted == before => {
                if proof.is_none() && self.needs_proof(person) {
                    // The numbers may have come later than the account.
                    let proof = self.proof(person).await?;
                    if proof.is_some() {
                        self.links
                            .set_identity(named, Some(wanted), proof.as_deref())
                            .await
                            .map_err(failure::links)?;
                    }
                }
                self.links
                    .link_person(wanted, &person.reference)
                    .await
                    .map_err(failure::links)?;
                Ok(Some(before))
            }
            Some(wanted) => {
                let verified = !self.needs_proof(person)
                    || (proof.is_some() && self.proof(person).await? == proof);
                if !verified {
                    tracing::warn!(
                        person = ?named,
                        "a new Matrix account is not taken over: UZI number, URA number and role code don't prove that it is the same professional's"
                    );
                    return Ok(Some(before));
                }
                tracing::info!(person = ?named, server = %wanted.server_name(), "moves to a new Matrix account");
                self.take(person, named, wanted).await?;
                self.links
                    .unlink_person(&before, &person.reference)
                    .await
                    .map_err(failure::links)?;
                Ok(Some(wanted.clone()))
            }
            None => {
                self.links
                    .set_identity(named, None, None)
                    .await
                    .map_err(failure::links)?;
                self.links
                    .unlink_person(&before, &person.reference)
                    .await
                    .map_err(failure::links)?;
                Ok(None)
            }
        }
    }

    async fn take(
        &self,
        person: &Person,
        named: &ResourceRef,
        account: &UserId,
    ) -> Result<(), HandlerError> {
        let proof = self.proof(person).await?;
        self.links
            .link_person(account, &person.reference)
            .await
            .map_err(failure::links)?;
        self.links
            .set_identity(named, Some(account), proof.as_deref())
            .await
            .map_err(failure::links)
    }

    fn needs_proof(&self, person: &Person) -> bool {
        self.network.moves == Moves::Verified
            && matches!(
                person.kind,
                PersonKind::Practitioner | PersonKind::PractitionerRole
            )
    }

    /// A keyed hash of UZI number, URA number and role code; `None` unless all three are known.
    pub(crate) async fn proof(&self, person: &Person) -> Result<Option<String>, HandlerError> {
        let Some(uzi) = person.identifier(UZI) else {
            return Ok(None);
        };
        let places = if person.organization.is_some() {
            vec![person.clone()]
        } else {
            self.roles_of(&person.reference).await?
        };
        for place in places {
            if let Some(ura) = self.ura(&place).await?
                && let Some(code) = roles::code(&place.codes)
            {
                return Ok(Some(self.ids.proof(&[uzi, &ura, code])));
            }
        }
        Ok(None)
    }

    /// The accounts that the directory has for somebody now, the preferred one first; none of our own users.
    async fn listed_accounts(&self, person: &Person) -> Result<Vec<OwnedUserId>, HandlerError> {
        let now = Instant::now();
        let mut accounts = self.user_ids(person.matrix_ids(&now));
        if !accounts.is_empty() || !self.network.directory.endpoints {
            return Ok(accounts);
        }
        let mut endpoints = person.endpoints.clone();
        if person.kind == PersonKind::Practitioner && person.organization.is_none() {
            for role in self.recent_roles_of(&person.reference).await? {
                accounts.extend(self.user_ids(role.matrix_ids(&now)));
                endpoints.extend(role.endpoints);
            }
        }
        if !accounts.is_empty() {
            return Ok(accounts);
        }
        for endpoint in endpoints {
            let Some(raw) = self.fhir.read(&endpoint).await.map_err(failure::fhir)? else {
                continue;
            };
            let Ok(endpoint) = Endpoint::from_json(&raw.json, self.fhir.base(), &now) else {
                continue;
            };
            if endpoint.active && self.is_for_messages(&endpoint) {
                accounts.extend(self.user_ids(endpoint.user_id.as_deref()));
            }
        }
        Ok(accounts)
    }

    fn user_ids<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Vec<OwnedUserId> {
        texts
            .into_iter()
            .filter_map(|text| UserId::parse(text).ok())
            .filter(|user| !self.is_ours(user))
            .collect()
    }

    fn is_for_messages(&self, endpoint: &Endpoint) -> bool {
        let code = endpoint
            .connection_type
            .as_ref()
            .and_then(|coding| coding.code.as_deref())
            .unwrap_or_default();
        self.network
            .directory
            .endpoint_types
            .iter()
            .any(|wanted| code.starts_with(wanted.as_str()))
    }

    /// The person whose Matrix account this is: as noted when it was invited, else as the FHIR directory says. `None`
    /// when nobody there has this account.
    pub(crate) async fn person_of(
        &self,
        user: &UserId,
    ) -> Result<Option<ResourceRef>, HandlerError> {
        if let Some(person) = self.links.person(user).await.map_err(failure::links)? {
            return Ok(Some(person));
        }
        let key = user.to_string();
        if let Some(known) = self.found.get(&key) {
            return Ok(known);
        }
        let mark = self.found.mark();
        let found = self.search_account(user).await?;
        if let Some(person) = &found {
            self.links
                .link_person(user, person)
                .await
                .map_err(failure::links)?;
        } else {
            self.found.put(key, None, mark);
        }
        Ok(found)
    }

    async fn search_account(&self, user: &UserId) -> Result<Option<ResourceRef>, HandlerError> {
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
                // A role is the practitioner's.
                let person = self.person(&person.reference).await?.unwrap_or(person);
                return Ok(Some(person.reference));
            }
        }
        Ok(None)
    }
}
