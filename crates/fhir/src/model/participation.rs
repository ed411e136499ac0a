//! Changes of who takes part, on raw JSON: whatever else stands there survives.

use serde_json::{Map, Value, json};

use super::lens;
use crate::{BaseUrl, Instant, Ref, ResourceRef};

/// Ends the memberships of a care team that name one of these and hold now: sets `period.end`.
/// Returns whether there was one.
///
/// Spec: <http://hl7.org/fhir/R4/careteam-definitions.html#CareTeam.participant.period>
pub fn end_participation(
    team: &mut Value,
    names: &[ResourceRef],
    now: &Instant,
    base: &BaseUrl,
) -> bool {
    let mut changed = false;
    for participant in participants(team) {
        if !is_named(participant.get("member"), names, base) || !is_current(participant, now) {
            continue;
        }
        let Some(participant) = participant.as_object_mut() else {
            continue;
        };
        let period = participant
            .entry("period")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(period) = period.as_object_mut() {
            period.insert("end".to_owned(), now.as_str().into());
            changed = true;
        }
    }
    changed
}

/// Makes somebody a member of a care team from now on, unless one of its names is a member already.
/// Who was one before comes back with the same entry's role and whatever else it says. Returns
/// whether there was something to add.
pub fn add_participant(
    team: &mut Value,
    names: &[ResourceRef],
    now: &Instant,
    base: &BaseUrl,
) -> bool {
    let Some(name) = names.first() else {
        return false;
    };
    let mut before = None;
    for participant in participants(team) {
        if is_named(participant.get("member"), names, base) {
            if is_current(participant, now) {
                return false;
            }
            before = Some(participant.clone());
        }
    }
    let mut participant =
        before.unwrap_or_else(|| json!({"member": {"reference": name.to_string()}}));
    if let Some(fields) = participant.as_object_mut() {
        // An element's id is its own.
        fields.remove("id");
        fields.insert("period".to_owned(), json!({"start": now.as_str()}));
    }
    append(team, "participant", participant)
}

/// Takes the recipients of a conversation away that name one of these. Returns whether there was one.
pub fn remove_recipient(request: &mut Value, names: &[ResourceRef], base: &BaseUrl) -> bool {
    let Some(fields) = request.as_object_mut() else {
        return false;
    };
    let Some(Value::Array(recipients)) = fields.get_mut("recipient") else {
        return false;
    };
    let before = recipients.len();
    recipients.retain(|recipient| !is_named(Some(recipient), names, base));
    let changed = recipients.len() != before;
    if recipients.is_empty() {
        // FHIR has no empty lists.
        fields.remove("recipient");
    }
    changed
}

/// Adds a recipient to a conversation, unless one of its names is one. Returns whether it had to.
pub fn add_recipient(request: &mut Value, names: &[ResourceRef], base: &BaseUrl) -> bool {
    let Some(name) = names.first() else {
        return false;
    };
    let there = lens::items(request, "recipient").any(|one| is_named(Some(one), names, base));
    !there && append(request, "recipient", json!({"reference": name.to_string()}))
}

fn participants(team: &mut Value) -> impl Iterator<Item = &mut Value> {
    team.get_mut("participant")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn append(resource: &mut Value, name: &str, item: Value) -> bool {
    let Some(fields) = resource.as_object_mut() else {
        return false;
    };
    match fields
        .entry(name)
        .or_insert_with(|| Value::Array(Vec::new()))
    {
        Value::Array(items) => {
            items.push(item);
            true
        }
        _ => false,
    }
}

fn is_named(reference: Option<&Value>, names: &[ResourceRef], base: &BaseUrl) -> bool {
    reference
        .and_then(|reference| Ref::from_json(reference, base))
        .as_ref()
        .and_then(Ref::resource)
        .is_some_and(|resource| names.contains(resource))
}

fn is_current(participant: &Value, now: &Instant) -> bool {
    let period = participant.get("period");
    let bound = |name| period.and_then(|period| lens::text(period, name));
    let begun = bound("start")
        .and_then(Instant::parse_period_start)
        .is_none_or(|start| start <= *now);
    begun
        && bound("end")
            .and_then(Instant::parse_period_end)
            .is_none_or(|end| *now < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> BaseUrl {
        BaseUrl::parse("http://fhir.example/fhir").unwrap()
    }

    fn reference(text: &str) -> ResourceRef {
        ResourceRef::parse(text).unwrap()
    }

    fn now() -> Instant {
        Instant::parse("2026-11-21T10:00:00Z").unwrap()
    }

    #[test]
    fn who_leaves_keeps_the_entry_with_an_end_and_all_else_survives() {
        let mut team = json!({"resourceType": "CareTeam", "id": "1", "foreign": 1, "participant": [
            {"member": {"reference": "http://fhir.example/fhir/Practitioner/7"}, "role": [{"text": "x"}], "extension": [{"url": "u"}]},
            {"member": {"reference": "Practitioner/8"}},
        ]});
        let names = [reference("Practitioner/7")];
        assert!(end_participation(&mut team, &names, &now(), &base()));
        assert_eq!(
            team["participant"][0],
            json!({
                "member": {"reference": "http://fhir.example/fhir/Practitioner/7"}, "role": [{"text": "x"}],
                "extension": [{"url": "u"}], "period": {"end": "2026-11-21T10:00:00Z"},
            })
        );
        assert_eq!(
            team["participant"][1],
            json!({"member": {"reference": "Practitioner/8"}})
        );
        assert_eq!(team["foreign"], 1);
        assert!(
            !end_participation(&mut team, &names, &now(), &base()),
            "it may be repeated"
        );
    }

    #[test]
    fn who_comes_back_has_the_role_from_before() {
        let mut team = json!({"participant": [{
            "id": "e1", "member": {"reference": "Practitioner/7"}, "role": [{"text": "lead"}], "period": {"end": "2026-01-01"},
        }]});
        let names = [reference("Practitioner/7")];
        assert!(add_participant(&mut team, &names, &now(), &base()));
        assert_eq!(team["participant"][1]["role"][0]["text"], "lead");
        assert_eq!(
            team["participant"][1]["period"],
            json!({"start": "2026-11-21T10:00:00Z"})
        );
        assert_eq!(team["participant"][1].get("id"), None);
        assert_eq!(team["participant"][0]["period"]["end"], "2026-01-01");
        assert!(!add_participant(&mut team, &names, &now(), &base()));
    }

    #[test]
    fn a_first_participant_makes_the_list() {
        let mut team = json!({"resourceType": "CareTeam"});
        assert!(add_participant(
            &mut team,
            &[reference("Practitioner/7")],
            &now(),
            &base()
        ));
        assert_eq!(
            team["participant"][0]["member"]["reference"],
            "Practitioner/7"
        );
        assert!(!add_participant(&mut team, &[], &now(), &base()));
    }

    #[test]
    fn recipients_come_and_go_by_any_of_their_names() {
        let mut request =
            json!({"recipient": [{"reference": "PractitionerRole/2"}, {"display": "somebody"}]});
        let names = [reference("Practitioner/7"), reference("PractitionerRole/2")];
        assert!(
            !add_recipient(&mut request, &names, &base()),
            "there already, by another name"
        );
        assert!(remove_recipient(&mut request, &names, &base()));
        assert_eq!(request["recipient"], json!([{"display": "somebody"}]));
        assert!(add_recipient(&mut request, &names, &base()));
        assert_eq!(request["recipient"][1]["reference"], "Practitioner/7");
        let mut alone = json!({"recipient": [{"reference": "Practitioner/7"}]});
        assert!(remove_recipient(&mut alone, &names, &base()));
        assert_eq!(alone, json!({}), "no empty list stays behind");
    }
}
