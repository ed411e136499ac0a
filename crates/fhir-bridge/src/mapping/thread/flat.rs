//! Messages to a care team that are part of nothing: all of them together are one conversation, which has no resource of
//! its own. Its care team says who takes part, whom it is about and how open it is.

use fhir::{CareTeam, Communication, Odd, ResourceRef, ResourceType};

use super::Thread;
use crate::mapping::phase::Phase;

/// In the place of a type of resources, in references: no resource is called so, in any release of FHIR.
pub(super) const TYPE: &str = "Conversation";

/// What stands for the conversation of a care team: `Conversation/7` for `CareTeam/7`.
pub(super) fn of_team(team: &ResourceRef) -> Option<ResourceRef> {
    if *team.resource_type() != ResourceType::CareTeam {
        return None;
    }
    ResourceRef::try_new(ResourceType::parse(TYPE)?, team.id())
}

/// The care team whose conversation this stands for.
pub(super) fn team_of(conversation: &ResourceRef) -> Option<ResourceRef> {
    if conversation.resource_type().as_str() != TYPE {
        return None;
    }
    ResourceRef::try_new(ResourceType::CareTeam, conversation.id())
}

/// The conversation of a message: that of the first care team that it is for. What is part of something is part of
/// another conversation.
pub(super) fn of_message(message: &Communication) -> Option<ResourceRef> {
    if !message.part_of.is_empty() {
        return None;
    }
    let mut teams =
        (message.recipients.iter()).filter_map(|to| to.resource_of(&ResourceType::CareTeam));
    teams.next().and_then(of_team)
}

/// The conversation of a care team.
pub(super) fn of(team: CareTeam) -> Result<Thread, Odd> {
    let reference = of_team(&team.reference).ok_or(Odd {
        resource: "CareTeam",
        what: "a care team whose conversation can't be named",
    })?;
    Ok(Thread {
        reference,
        phase: Phase::of_team(team.status),
        subject: team.subject,
        participants: vec![team.reference.clone().into()],
        care_teams: vec![team.reference],
        subject_line: None,
        payload: Vec::new(),
        author: None,
        began: None,
        began_as: None,
    })
}

#[cfg(test)]
mod tests {
    use fhir::BaseUrl;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Threads;

    fn base() -> BaseUrl {
        BaseUrl::parse("http://fhir.example/fhir").unwrap()
    }

    fn reference(text: &str) -> ResourceRef {
        ResourceRef::parse(text).unwrap()
    }

    #[test]
    fn a_care_team_says_what_its_conversation_is() {
        let json = json!({"resourceType": "CareTeam", "id": "7", "status": "suspended",
            "subject": {"reference": "Patient/1"},
            "participant": [{"member": {"reference": "Practitioner/2"}}]});
        let thread = Threads::Flat.read(&json, &base()).unwrap();
        assert_eq!(thread.reference, reference("Conversation/7"));
        assert_eq!(thread.care_team(), Some(&reference("CareTeam/7")));
        assert_eq!(thread.participants, [reference("CareTeam/7").into()]);
        assert_eq!(thread.subject, Some(reference("Patient/1").into()));
        assert_eq!(thread.phase, Some(Phase::Held));
        assert!(thread.payload.is_empty() && thread.subject_line.is_none());
    }

    #[test]
    fn a_care_team_and_its_conversation_are_told_apart_and_lead_to_each_other() {
        let (team, conversation) = (reference("CareTeam/aB-1"), reference("Conversation/aB-1"));
        let flat = Threads::Flat;
        assert_eq!(flat.of_team(&team), Some(conversation.clone()));
        assert_eq!(flat.source(&conversation), team);
        assert!(flat.is_of(&conversation) && !flat.is_of(&team));
        for other in ["CareTeam/1", "Communication/1", "Patient/1"] {
            assert_eq!(flat.source(&reference(other)), reference(other));
        }
        assert_eq!(flat.of_team(&reference("Patient/1")), None);
        for other in [Threads::CommunicationRequest, Threads::CommunicationHeader] {
            assert_eq!(other.of_team(&team), None);
            assert!(!other.is_of(&conversation));
        }
    }

    #[test]
    fn what_is_for_a_care_team_and_part_of_nothing_is_its_message() {
        let of = |change: &dyn Fn(&mut Value)| {
            let mut json = json!({"resourceType": "Communication", "id": "1", "recipient": [
                {"reference": "Practitioner/2"}, {"reference": "CareTeam/7"}, {"reference": "CareTeam/8"}]});
            change(&mut json);
            let message = Communication::from_json(&json, &base()).unwrap();
            Threads::Flat.of_message(&message)
        };
        assert_eq!(of(&|_| {}), Some(reference("Conversation/7")));
        let part_of = |json: &mut Value| json["partOf"] = json!([{"display": "on paper"}]);
        assert_eq!(of(&part_of), None);
        let to_people = |json: &mut Value| json["recipient"] = json!([{"reference": "Patient/1"}]);
        assert_eq!(of(&to_people), None);
        let about = |json: &mut Value| {
            json["recipient"] = json!([]);
            json["basedOn"] = json!([{"reference": "CareTeam/7"}]);
        };
        assert_eq!(of(&about), None, "it can't be searched for");
        let conversation = reference("Conversation/7");
        assert_eq!(Threads::Flat.part_of(&conversation), None);
        let search = Threads::Flat.messages_of(&conversation);
        assert_eq!(search, ("recipient", "CareTeam/7".to_owned()));
    }
}
