use std::fmt;

use serde_json::Value;

use super::{codes::CareTeamStatus, lens};
use crate::{BaseUrl, Coding, Instant, Odd, Ref, ResourceRef, ResourceType};

/// The people who care for a client, or an organisation's team when it has no `subject`.
///
/// Spec: <http://hl7.org/fhir/R4/careteam.html>
#[derive(Clone, PartialEq)]
pub struct CareTeam {
    /// Type and id.
    pub reference: ResourceRef,
    /// The version that was read.
    pub version_id: Option<String>,
    /// Its state.
    pub status: CareTeamStatus,
    /// The client it is about; none for an organisational team.
    pub subject: Option<Ref>,
    /// Its members, in the resource's order; a participant without a `member` is left out.
    pub participants: Vec<Participant>,
    /// The organisations responsible for it.
    pub managing_organizations: Vec<Ref>,
}

/// A member of a care team.
#[derive(Clone, PartialEq)]
pub struct Participant {
    /// Who: a person, a role of a person, an organisation or another care team.
    pub member: Ref,
    /// In which roles; a role that has only words is a coding with only `display`.
    pub roles: Vec<Coding>,
    /// When the membership began or begins.
    pub period_start: Option<Instant>,
    /// When the membership ended or ends; a date counts to the end of that day in UTC.
    pub period_end: Option<Instant>,
}

impl CareTeam {
    /// Reads a `CareTeam`.
    ///
    /// # Errors
    ///
    /// When it is another type of resource or has no id.
    pub fn from_json(json: &Value, base: &BaseUrl) -> Result<Self, Odd> {
        let raw = lens::resource(json, &ResourceType::CareTeam, "CareTeam")?;
        Ok(Self {
            reference: raw.reference,
            version_id: raw.version_id,
            status: CareTeamStatus::from_json(json.get("status")),
            subject: lens::reference(json, "subject", base),
            participants: lens::items(json, "participant")
                .filter_map(|participant| Participant::from_json(participant, base))
                .collect(),
            managing_organizations: lens::references(json, "managingOrganization", base),
        })
    }

    /// When a membership begins or ends next, after this time.
    #[must_use]
    pub fn next_change(&self, now: &Instant) -> Option<Instant> {
        self.participants
            .iter()
            .flat_map(|one| [&one.period_start, &one.period_end])
            .flatten()
            .filter(|at| *at > now)
            .min()
            .cloned()
    }
}

impl Participant {
    fn from_json(json: &Value, base: &BaseUrl) -> Option<Self> {
        let period = json.get("period");
        let end = |name| period.and_then(|period| lens::text(period, name));
        Some(Self {
            member: lens::reference(json, "member", base)?,
            roles: lens::codings(json, "role"),
            period_start: end("start").and_then(Instant::parse_period_start),
            period_end: end("end").and_then(Instant::parse_period_end),
        })
    }

    /// Whether the membership holds at this time. One without a period always does.
    #[must_use]
    pub fn is_current(&self, now: &Instant) -> bool {
        self.period_start.as_ref().is_none_or(|start| start <= now)
            && self.period_end.as_ref().is_none_or(|end| now <= end)
    }
}

impl fmt::Debug for CareTeam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CareTeam")
            .field("reference", &self.reference)
            .field("version_id", &self.version_id)
            .field("status", &self.status)
            .field("participants", &self.participants.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant")
            .field("member", &self.member)
            .field("period_end", &self.period_end)
            .finish_non_exhaustive()
    }
}
