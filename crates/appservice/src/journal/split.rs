//! From a transaction's body to entries, one for each event.
//!
//! Events are cut out as they stand and looked at just enough to give each a key and a lane: what a
//! handler doesn't ask for is never parsed, and one odd event can't spoil the others.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{MATRIX, NewEntry};

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// What a homeserver's body is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadBody {
    NotJson,
    NoEvents,
}

/// Checks, before the answer, that [`entries`] will be able to read `body`.
pub(crate) fn check(body: &[u8]) -> Result<(), BadBody> {
    match serde_json::from_slice::<Transaction<'_>>(body) {
        Ok(_) => Ok(()),
        Err(error) if error.is_data() => Err(BadBody::NoEvents),
        Err(_) => Err(BadBody::NotJson),
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    event_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    room_id: std::borrow::Cow<'a, str>,
}

/// The entries of a body that has passed [`check`]; of any other, none.
pub(crate) fn entries(body: &[u8]) -> Vec<NewEntry> {
    let Ok(transaction) = serde_json::from_slice::<Transaction<'_>>(body) else {
        return Vec::new();
    };
    transaction.events.into_iter().map(entry).collect()
}

fn entry(event: &RawValue) -> NewEntry {
    let payload = event.get().as_bytes().to_vec();
    match serde_json::from_str::<Head<'_>>(event.get()) {
        Ok(head) => NewEntry::new(MATRIX, head.event_id, head.room_id, payload),
        Err(_) => NewEntry {
            source: MATRIX,
            // The same malformed event, pushed again, is still one dead letter.
            key: Some(format!("sha256:{:x}", Sha256::digest(&payload))),
            lane: "malformed".to_owned(),
            payload,
            dead: Some("event without event_id or room_id"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_event_costs_only_itself() {
        let body = br#"{"events":[
            {"event_id":"$1","room_id":"!a","type":"m.room.message","content":{"body":"x"}},
            17, null, "text", {"event_id":5,"room_id":"!a"}, {"event_id":"$2"},
            {"event_id":"$3","room_id":"!b","\u0074ype":"m"}
        ],"unknown":{}}"#;
        assert_eq!(check(body), Ok(()));
        let entries = entries(body);
        let good: Vec<_> = entries
            .iter()
            .filter(|entry| entry.dead.is_none())
            .map(|entry| (entry.key.as_deref(), entry.lane.as_str()))
            .collect();
        assert_eq!(good, [(Some("$1"), "!a"), (Some("$3"), "!b")]);
        assert_eq!(entries.len(), 7);
    }

    #[test]
    fn a_body_without_events_is_told_from_one_that_is_no_json() {
        for body in [
            "{}",
            "[]",
            "null",
            "7",
            r#"{"events":{}}"#,
            r#"{"events":null}"#,
        ] {
            assert_eq!(check(body.as_bytes()), Err(BadBody::NoEvents), "{body}");
        }
        for body in [
            "",
            "{",
            "events",
            "{\"events\":[}",
            "\u{0}",
            "{\"events\":[]} x",
        ] {
            assert_eq!(check(body.as_bytes()), Err(BadBody::NotJson), "{body}");
        }
        assert_eq!(check(b"{\"events\":[\"\xff\"]}"), Err(BadBody::NotJson));
    }
}
