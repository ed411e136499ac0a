//! Reading people, and finding them by what they are known by. Values of identifiers travel in bodies only.

use fhir::{Person, PersonKind, Ref, ResourceRef, ResourceType};
use matrix_appservice::HandlerError;

use crate::{
    bridge::Bridge,
    failure,
    mapping::identity::{URA, UZI},
};

/// Whom an identifier may name, and in which order they are asked.
const IDENTIFIED: [ResourceType; 5] = [
    ResourceType::Practitioner,
    ResourceType::Organization,
    ResourceType::PractitionerRole,
    ResourceType::RelatedPerson,
    ResourceType::Patient,
];

impl Bridge {
    /// Reads a person. A practitioner's role is the practitioner, with what the role adds: its organisation, its
    /// codes, its accounts where it has any. `None` when there is no such person.
    pub(crate) async fn person(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<Person>, HandlerError> {
        let Some(role) = self.read_person(reference).await? else {
            return Ok(None);
        };
        let Some(practitioner) = role.practitioner.clone() else {
            return Ok(Some(role));
        };
        let Some(mut person) = self.read_person(&practitioner).await? else {
            return Ok(Some(role));
        };
        if !role.matrix_accounts.is_empty() {
            person.matrix_accounts = role.matrix_accounts;
        }
        person.organization = role.organization;
        person.codes = role.codes;
        person.endpoints.extend(role.endpoints);
        person.emails.splice(0..0, role.emails);
        person.identifiers.extend(role.identifiers);
        Ok(Some(person))
    }

    pub(super) async fn read_person(
        &self,
        reference: &ResourceRef,
    ) -> Result<Option<Person>, HandlerError> {
        if PersonKind::of(reference.resource_type()).is_none() {
            return Ok(None);
        }
        if let Some(known) = self.people.get(reference) {
            return Ok(known);
        }
        let mark = self.people.mark();
        let raw = self.fhir.read(reference).await.map_err(failure::fhir)?;
        let person = raw.and_then(|raw| Person::from_json(&raw.json, self.fhir.base()).ok());
        self.people.put(reference.clone(), person.clone(), mark);
        Ok(person)
    }

    /// The resource that a reference names: as it says, or by its identifier when exactly one has that.
    pub(super) async fn named(&self, reference: &Ref) -> Result<Option<ResourceRef>, HandlerError> {
        let identifier = match reference {
            Ref::Resource(resource) => return Ok(Some(resource.clone())),
            Ref::Other(other) => other.identifier.as_ref(),
        };
        let Some(identifier) = identifier else {
            return Ok(None);
        };
        // Without a system it may be anybody's.
        let Some(system) = identifier.system.as_deref() else {
            return Ok(None);
        };
        let token = fhir::search_token(Some(system), &identifier.value);
        if let Some(known) = self.found.get(&token) {
            return Ok(known);
        }
        let only = match system {
            UZI => &IDENTIFIED[..1],
            URA => &IDENTIFIED[1..2],
            _ => &IDENTIFIED[..],
        };
        let mark = self.found.mark();
        let mut found = Vec::new();
        for resource_type in only {
            let result = self
                .fhir
                .search(resource_type, &[("identifier", &token)], 10)
                .await
                .map_err(failure::fhir)?;
            found.extend(
                result
                    .resources
                    .iter()
                    .filter_map(|raw| Person::from_json(&raw.json, self.fhir.base()).ok())
                    // Servers differ in what they take for a match: look at the entry itself.
                    .filter(|person| person.identifiers.contains(identifier))
                    .map(|person| person.reference),
            );
        }
        let one = (found.len() == 1).then(|| found.remove(0));
        self.found.put(token, one.clone(), mark);
        Ok(one)
    }

    /// The roles of a practitioner that were in use a moment ago.
    pub(super) async fn recent_roles_of(
        &self,
        practitioner: &ResourceRef,
    ) -> Result<Vec<Person>, HandlerError> {
        if let Some(known) = self.roles.get(practitioner) {
            return Ok(known);
        }
        let mark = self.roles.mark();
        let roles = self.roles_of(practitioner).await?;
        self.roles.put(practitioner.clone(), roles.clone(), mark);
        Ok(roles)
    }

    /// The roles of a practitioner that are in use.
    pub(super) async fn roles_of(
        &self,
        practitioner: &ResourceRef,
    ) -> Result<Vec<Person>, HandlerError> {
        let name = practitioner.to_string();
        let found = self
            .fhir
            .search(
                &ResourceType::PractitionerRole,
                &[("practitioner", &name)],
                20,
            )
            .await
            .map_err(failure::fhir)?;
        let mut roles: Vec<Person> = found
            .resources
            .iter()
            .filter_map(|raw| Person::from_json(&raw.json, self.fhir.base()).ok())
            .filter(|role| role.active && role.practitioner.as_ref() == Some(practitioner))
            .collect();
        roles.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(roles)
    }

    /// The URA number of the organisation that somebody acts in.
    pub(super) async fn ura(&self, person: &Person) -> Result<Option<String>, HandlerError> {
        if let Some(own) = person.identifier(URA) {
            return Ok(Some(own.to_owned()));
        }
        match &person.organization {
            Some(Ref::Resource(organization)) => Ok(self
                .read_person(organization)
                .await?
                .and_then(|organization| organization.identifier(URA).map(str::to_owned))),
            Some(Ref::Other(other)) => Ok(other
                .identifier
                .as_ref()
                .filter(|identifier| identifier.system.as_deref() == Some(URA))
                .map(|identifier| identifier.value.clone())),
            None => Ok(None),
        }
    }
}
