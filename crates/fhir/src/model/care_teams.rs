//! The care teams that a conversation belongs to.

use serde_json::Value;

use super::lens;
use crate::{BaseUrl, Ref, ResourceRef, ResourceType};

/// Those that a conversation names, without doubles, the one to take first in front: among its recipients, in
/// `basedOn`, in `about`, in any extension.
pub(super) fn of(json: &Value, recipients: &[Ref], base: &BaseUrl) -> Vec<ResourceRef> {
    let extensions = lens::extensions(json)
        .filter_map(|(_, extension)| Ref::from_json(extension.get("valueReference")?, base));
    let mut teams = Vec::new();
    for reference in recipients
        .iter()
        .cloned()
        .chain(lens::references(json, "basedOn", base))
        .chain(lens::references(json, "about", base))
        .chain(extensions)
    {
        if let Some(team) = reference.resource_of(&ResourceType::CareTeam)
            && !teams.contains(team)
        {
            teams.push(team.clone());
        }
    }
    teams
}
