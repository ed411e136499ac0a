use std::fmt;

use serde_json::Value;

use super::{care_teams, codes::RequestStatus, communication::Payload, lens};
use crate::{BaseUrl, Identifier, Instant, Odd, Ref, ResourceRef, ResourceType};

/// A conversation ("thread"): its messages are the `Communication`s that are `partOf` it.
///
/// Spec: <http://hl7.org/fhir/R4/communicationrequest.html>
#[derive(Clone, PartialEq)]
pub struct CommunicationRequest {
    /// Type and id.
    pub reference: ResourceRef,
    /// The version that was read.
    pub version_id: Option<String>,
    /// Its state.
    pub status: RequestStatus,
    /// The client it is about.
    pub subject: Option<Ref>,
    /// Who began it.
    pub requester: Option<Ref>,
    /// Who sends in it (in R4 a person or organisation, never a team).
    pub sender: Option<Ref>,
    /// Who takes part in it.
    pub recipients: Vec<Ref>,
    /// The care teams it belongs to, without doubles; the first is the one whose space holds its room.
    ///
    /// R4 has no element for it, and applications differ. In front are the `CareTeam`s among
    /// `recipient` (OZO's form), then those in `basedOn`, then in `about`, then in any extension of the
    /// resource that is a reference to one (OZO's `ozo-sender-careteam`, which names the team that
    /// began a conversation between teams and is not always a recipient too).
    pub care_teams: Vec<ResourceRef>,
    /// The text of the first `reasonCode` that has any: the nearest that R4 has to a subject line.
    pub reason_text: Option<String>,
    /// Its first message, where the application puts one here.
    pub payload: Vec<Payload>,
    /// When it was made.
    pub authored_on: Option<Instant>,
    /// Its business identifiers.
    pub identifiers: Vec<Identifier>,
}

impl CommunicationRequest {
    /// Reads a `CommunicationRequest`.
    ///
    /// # Errors
    ///
    /// When it is another type of resource or has no id.
    pub fn from_json(json: &Value, base: &BaseUrl) -> Result<Self, Odd> {
        let raw = lens::resource(
            json,
            &ResourceType::CommunicationRequest,
            "CommunicationRequest",
        )?;
        let recipients = lens::references(json, "recipient", base);
        Ok(Self {
            reference: raw.reference,
            version_id: raw.version_id,
            status: RequestStatus::from_json(json.get("status")),
            subject: lens::reference(json, "subject", base),
            requester: lens::reference(json, "requester", base),
            sender: lens::reference(json, "sender", base),
            care_teams: care_teams::of(json, &recipients, base),
            recipients,
            reason_text: lens::items(json, "reasonCode")
                .find_map(|reason| lens::text(reason, "text"))
                .map(str::to_owned),
            payload: Payload::all_from_json(json, base),
            authored_on: lens::text(json, "authoredOn").and_then(Instant::parse),
            identifiers: lens::items(json, "identifier")
                .filter_map(Identifier::from_json)
                .collect(),
        })
    }
}

impl fmt::Debug for CommunicationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommunicationRequest")
            .field("reference", &self.reference)
            .field("version_id", &self.version_id)
            .field("status", &self.status)
            .field("recipients", &self.recipients.len())
            .field("care_teams", &self.care_teams)
            .finish_non_exhaustive()
    }
}
