use std::fmt;

use serde_json::Value;

use super::{lens, matrix_id::matrix_user_id};
use crate::{
    BaseUrl, Coding, Identifier, Instant, Odd, RawResource, Ref, ResourceRef, ResourceType,
};

/// The extension that says what a contact point is for.
const PURPOSE_EXTENSION: &str = "http://hl7.org/fhir/StructureDefinition/contactpoint-purpose";

/// The purpose of a contact point that is a Matrix account.
const PURPOSE_MATRIX: &str = "matrix-messaging";

/// Someone who can take part in a conversation: a person, a person's role, or an organisation.
///
/// Spec: <http://hl7.org/fhir/R4/practitioner.html>,
/// <http://hl7.org/fhir/R4/practitionerrole.html>, <http://hl7.org/fhir/R4/relatedperson.html>,
/// <http://hl7.org/fhir/R4/patient.html>, <http://hl7.org/fhir/R4/organization.html>
#[derive(Clone, PartialEq)]
pub struct Person {
    /// Type and id.
    pub reference: ResourceRef,
    /// The version that was read.
    pub version_id: Option<String>,
    /// Which of the types.
    pub kind: PersonKind,
    /// Whether the record is in use; true when it doesn't say.
    pub active: bool,
    /// The name to show. The usual or else the official name, as its `text`, or put together from
    /// prefix, given and family name; an organisation's name. A role has none of its own.
    pub display_name: Option<String>,
    /// Its Matrix accounts, the preferred one first, without doubles.
    pub matrix_accounts: Vec<MatrixAccount>,
    /// Of a role: the practitioner whose it is. Its name and accounts are there.
    pub practitioner: Option<ResourceRef>,
    /// Of a role: the organisation it is in.
    pub organization: Option<Ref>,
    /// Its business identifiers.
    pub identifiers: Vec<Identifier>,
    /// Of a role: what the practitioner does there.
    pub codes: Vec<Coding>,
    /// Its technical addresses: a directory may keep Matrix accounts there, see
    /// [`Endpoint`](crate::Endpoint).
    pub endpoints: Vec<ResourceRef>,
    /// Its e-mail addresses.
    pub emails: Vec<String>,
}

/// Which type of resource a [`Person`] was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PersonKind {
    /// A care professional.
    Practitioner,
    /// A care professional in one role at one organisation.
    PractitionerRole,
    /// Someone of the client's own circle.
    RelatedPerson,
    /// The client.
    Patient,
    /// An organisation.
    Organization,
    /// A service of an organisation, such as a department that is written to as one.
    HealthcareService,
}

/// A Matrix account from a directory entry.
#[derive(Clone, PartialEq, Eq)]
pub struct MatrixAccount {
    /// The user id, `@name:server`.
    pub user_id: String,
    /// From when it is in use, when the entry says so.
    pub starts: Option<Instant>,
    /// Until when it is in use, when the entry says so; a date counts to the end of that day in
    /// UTC.
    pub ends: Option<Instant>,
}

impl PersonKind {
    /// The kind for a type of resource; `None` when a resource of that type isn't one.
    #[must_use]
    pub fn of(resource_type: &ResourceType) -> Option<Self> {
        Some(match resource_type {
            ResourceType::Practitioner => Self::Practitioner,
            ResourceType::PractitionerRole => Self::PractitionerRole,
            ResourceType::RelatedPerson => Self::RelatedPerson,
            ResourceType::Patient => Self::Patient,
            ResourceType::Organization => Self::Organization,
            ResourceType::HealthcareService => Self::HealthcareService,
            _ => return None,
        })
    }
}

impl Person {
    /// Reads a `Practitioner`, `PractitionerRole`, `RelatedPerson`, `Patient`, `Organization` or
    /// `HealthcareService`.
    ///
    /// A Matrix account is a `telecom` entry of system `other` or `url` whose value
    /// [`matrix_user_id`] reads. The entries that carry the extension `contactpoint-purpose` =
    /// `matrix-messaging` come first, then by `rank`, then in the resource's order. Entries with
    /// `use` = `old` are skipped.
    ///
    /// # Errors
    ///
    /// When it is another type of resource or has no id.
    pub fn from_json(json: &Value, base: &BaseUrl) -> Result<Self, Odd> {
        let odd = |what| Odd {
            resource: "Person",
            what,
        };
        let resource_type = json
            .get("resourceType")
            .and_then(Value::as_str)
            .and_then(ResourceType::parse)
            .ok_or_else(|| odd("it has no resourceType"))?;
        let kind = PersonKind::of(&resource_type)
            .ok_or_else(|| odd("it is not a person, a role or an organisation"))?;
        let RawResource {
            reference,
            version_id,
            ..
        } = lens::resource(json, &resource_type, "Person")?;
        let role = kind == PersonKind::PractitionerRole;
        Ok(Self {
            reference,
            version_id,
            kind,
            active: json.get("active").and_then(Value::as_bool).unwrap_or(true),
            display_name: match kind {
                PersonKind::Organization | PersonKind::HealthcareService => organization_name(json),
                PersonKind::PractitionerRole => None,
                PersonKind::Practitioner | PersonKind::RelatedPerson | PersonKind::Patient => {
                    human_name(json)
                }
            },
            matrix_accounts: matrix_accounts(json),
            practitioner: role
                .then(|| lens::reference(json, "practitioner", base))
                .flatten()
                .and_then(|r| r.resource_of(&ResourceType::Practitioner).cloned()),
            organization: role
                .then(|| lens::reference(json, "organization", base))
                .flatten(),
            identifiers: lens::items(json, "identifier")
                .filter_map(Identifier::from_json)
                .collect(),
            codes: if role {
                lens::codings(json, "code")
            } else {
                Vec::new()
            },
            endpoints: lens::references(json, "endpoint", base)
                .iter()
                .filter_map(|endpoint| endpoint.resource_of(&ResourceType::Endpoint).cloned())
                .collect(),
            emails: lens::items(json, "telecom")
                .filter(|entry| lens::text(entry, "system") == Some("email"))
                .filter(|entry| lens::text(entry, "use") != Some("old"))
                .filter_map(|entry| lens::text(entry, "value").map(str::to_owned))
                .collect(),
        })
    }

    /// When one of its accounts begins or ends to be in use next, after this time.
    #[must_use]
    pub fn next_change(&self, now: &Instant) -> Option<Instant> {
        self.matrix_accounts
            .iter()
            .flat_map(|account| [&account.starts, &account.ends])
            .flatten()
            .filter(|at| *at > now)
            .min()
            .cloned()
    }

    /// The value of its first identifier of this system.
    #[must_use]
    pub fn identifier(&self, system: &str) -> Option<&str> {
        self.identifiers
            .iter()
            .find(|identifier| identifier.system.as_deref() == Some(system))
            .map(|identifier| identifier.value.as_str())
    }

    /// The Matrix user ids in use at this time, the preferred one first.
    pub fn matrix_ids(&self, now: &Instant) -> impl Iterator<Item = &str> {
        self.matrix_accounts
            .iter()
            .filter(move |a| {
                a.starts.as_ref().is_none_or(|start| start <= now)
                    && a.ends.as_ref().is_none_or(|end| now <= end)
            })
            .map(|a| a.user_id.as_str())
    }
}

fn matrix_accounts(json: &Value) -> Vec<MatrixAccount> {
    let mut found: Vec<(bool, u64, MatrixAccount)> = lens::items(json, "telecom")
        .filter(|entry| matches!(lens::text(entry, "system"), Some("other" | "url")))
        .filter(|entry| lens::text(entry, "use") != Some("old"))
        .filter_map(|entry| {
            let period = entry.get("period");
            let bound = |name| period.and_then(|period| lens::text(period, name));
            let account = MatrixAccount {
                user_id: matrix_user_id(lens::text(entry, "value")?)?,
                starts: bound("start").and_then(Instant::parse_period_start),
                ends: bound("end").and_then(Instant::parse_period_end),
            };
            let rank = entry
                .get("rank")
                .and_then(Value::as_u64)
                .unwrap_or(u64::MAX);
            Some((!is_for_messaging(entry), rank, account))
        })
        .collect();
    found.sort_by_key(|(unmarked, rank, _)| (*unmarked, *rank));
    let mut accounts: Vec<MatrixAccount> = Vec::new();
    for (_, _, account) in found {
        if !accounts.contains(&account) {
            accounts.push(account);
        }
    }
    accounts
}

fn is_for_messaging(entry: &Value) -> bool {
    lens::extensions(entry).any(|(url, extension)| {
        url == PURPOSE_EXTENSION
            && ["valueString", "valueCode"]
                .into_iter()
                .any(|name| lens::text(extension, name) == Some(PURPOSE_MATRIX))
    })
}

fn organization_name(json: &Value) -> Option<String> {
    lens::text(json, "name")
        .or_else(|| lens::items(json, "alias").find_map(Value::as_str))
        .and_then(one_line)
}

/// The name to use among the resource's `HumanName`s.
///
/// Spec: <http://hl7.org/fhir/R4/datatypes.html#HumanName>
fn human_name(json: &Value) -> Option<String> {
    let mut names: Vec<(u8, String)> = lens::items(json, "name")
        .filter_map(|name| {
            let rank = match lens::text(name, "use") {
                Some("usual") => 0,
                Some("official") => 1,
                None => 2,
                Some("old" | "maiden") => 4,
                Some(_) => 3,
            };
            Some((rank, format_name(name)?))
        })
        .collect();
    names.sort_by_key(|(rank, _)| *rank);
    names.into_iter().next().map(|(_, name)| name)
}

fn format_name(name: &Value) -> Option<String> {
    // Some servers and old records give the whole name as one text.
    if let Some(text) = name.as_str() {
        return one_line(text);
    }
    if let Some(text) = lens::text(name, "text") {
        return one_line(text);
    }
    let parts: Vec<&str> = ["prefix", "given", "family", "suffix"]
        .into_iter()
        .flat_map(|part| lens::items(name, part).filter_map(Value::as_str))
        .collect();
    one_line(&parts.join(" "))
}

/// Control characters and line breaks out, white space single: a name goes into a list, not into a
/// text.
fn one_line(text: &str) -> Option<String> {
    let line = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    (!line.is_empty()).then_some(line)
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person")
            .field("reference", &self.reference)
            .field("version_id", &self.version_id)
            .field("active", &self.active)
            .field("matrix_accounts", &self.matrix_accounts.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MatrixAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatrixAccount").finish_non_exhaustive()
    }
}
