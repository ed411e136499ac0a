//! Ephemeral events: stored when somebody listens, each in the place of the one before it.
//!
//! What of them can't be read is left out: it would be out of date before a person had looked at it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    super::{PRESENCE, RECEIPT, TYPING},
    Latest, Split, name_of,
};
use crate::{
    ephemeral::{Presence, Receipt, Typing},
    journal::intake::Intake,
};

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
}

pub(super) fn split(list: &RawValue, intake: &Intake, split: &mut Split) {
    if ![TYPING, RECEIPT, PRESENCE]
        .iter()
        .any(|source| intake.handles(source))
    {
        return;
    }
    let Ok(events) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else {
        tracing::warn!("the ephemeral events of a transaction are no list");
        return;
    };
    for event in events {
        let Ok(head) = serde_json::from_str::<Head<'_>>(event.get()) else {
            continue;
        };
        let json = event.get();
        match head.kind.as_ref() {
            "m.typing" if intake.handles(TYPING) => split.latest.extend(typing(json, intake)),
            "m.receipt" if intake.handles(RECEIPT) => split.latest.extend(receipts(json, intake)),
            "m.presence" if intake.handles(PRESENCE) => split.latest.extend(presence(json)),
            _ => {}
        }
    }
}

fn latest(
    source: &'static str,
    lane: String,
    slot: String,
    value: &impl Serialize,
) -> Option<Latest> {
    Some(Latest {
        source,
        lane,
        slot,
        payload: serde_json::to_vec(value).ok()?,
        merge: None,
        kept: false,
    })
}

fn typing(json: &str, intake: &Intake) -> Option<Latest> {
    let typing = Typing::from_wire(json)?;
    if !intake.wants(typing.room_id.as_str()) {
        return None;
    }
    let lane = format!("typing/{}", typing.room_id);
    latest(TYPING, lane.clone(), lane, &typing)
}

fn presence(json: &str) -> Option<Latest> {
    let presence = Presence::from_wire(json)?;
    let lane = format!("presence/{}", name_of(&[presence.user_id.as_str()]));
    latest(PRESENCE, lane.clone(), lane, &presence)
}

/// One for each user, and each thread, since each has read as far as it has read. Synapse leaves out
/// which thread a receipt is for, so one that names none takes the place of one for the same event
/// only: the other may be for another thread.
fn receipts(json: &str, intake: &Intake) -> Vec<Latest> {
    let receipts = Receipt::from_wire(json);
    let wanted = receipts
        .first()
        .is_some_and(|receipt| intake.wants(receipt.room_id.as_str()));
    if !wanted {
        return Vec::new();
    }
    let latest = |receipt: &Receipt| {
        let reader = name_of(&[receipt.user_id.as_str()]);
        let lane = format!("receipt/{}/{reader}", receipt.room_id);
        let place = match receipt.thread.as_str() {
            Some(thread) => name_of(&[receipt.kind.as_str(), "thread", thread]),
            None => name_of(&[receipt.kind.as_str(), "event", receipt.event_id.as_str()]),
        };
        latest(RECEIPT, lane.clone(), format!("{lane}/{place}"), receipt)
    };
    receipts.iter().filter_map(latest).collect()
}
