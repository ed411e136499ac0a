//! What the lazy subjects look at: the head of each event, its content as it came.

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// An event's head.
#[derive(Deserialize)]
pub(crate) struct Head<'a> {
    pub(crate) event_id: &'a str,
    pub(crate) room_id: &'a str,
    pub(crate) sender: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
}

/// The heads of a body's events; what can't be read is left out.
pub(crate) fn heads(body: &[u8]) -> Vec<Head<'_>> {
    let Ok(transaction) = serde_json::from_slice::<Transaction<'_>>(body) else {
        return Vec::new();
    };
    let events = transaction.events.iter();
    events
        .filter_map(|event| serde_json::from_str(event.get()).ok())
        .collect()
}
