//! Proof for a sender who asks for it that a message is in the record.
//!
//! [MSC4300](https://github.com/matrix-org/matrix-spec-proposals/pull/4300)

use fhir::Instant;
use matrix_appservice::{Delivery, Event, HandlerResult, NewEvent};
use serde_json::{Map, Value, json};

use super::received::written_at;
use crate::bridge::Bridge;

/// What stands before `request.status` and `response.status`: as in the proposal once it is accepted, as in
/// it now, and as gematik has it.
const PREFIXES: [&str; 3] = ["m.", "de.gematik.msc4300.", GEMATIK];
const GEMATIK: &str = "de.gematik.";
/// The bridge has no device; clients need a word to tell answers apart.
const DEVICE: &str = "fhir-bridge";

impl Bridge {
    /// Answers a sender who asks what became of an event, after the record has it or was told that it was
    /// left out.
    pub(super) async fn prove(
        &self,
        delivery: &Delivery,
        event: &Event,
        content: &Value,
        left_out: Option<&str>,
    ) -> HandlerResult {
        if !self.settings.proof {
            return Ok(());
        }
        let now = i64::try_from(Instant::now().unix_millis()).unwrap_or(i64::MAX);
        let age = now.saturating_sub(written_at(event));
        let Some((kind, answer)) = answer(content, event.event_id().as_str(), age, left_out) else {
            return Ok(());
        };
        let bot = delivery.part("proof").bot();
        bot.send(event.room_id(), NewEvent::new(kind, answer))
            .await?;
        Ok(())
    }
}

/// The type and content of the answer to whoever asks in `content`; `None` when nobody does, or its time is
/// over.
fn answer(
    content: &Value,
    event: &str,
    age_ms: i64,
    left_out: Option<&str>,
) -> Option<(String, Map<String, Value>)> {
    let (prefix, request) = PREFIXES.iter().find_map(|prefix| {
        let request = content.get(format!("{prefix}request.status"))?;
        Some((prefix, request.as_object()?))
    })?;
    let lifetime = request.get("lifetime").and_then(Value::as_i64);
    if lifetime.is_some_and(|lifetime| age_ms > lifetime) {
        return None;
    }
    let mut status = json!({
        "from_device": DEVICE,
        "status": if left_out.is_some() { "error" } else { "success" },
    });
    if let Some(device) = request
        .get("from_device")
        .filter(|device| device.is_string())
    {
        status["to_device"] = device.clone();
    }
    if let Some(why) = left_out {
        let text = if *prefix == GEMATIK {
            "de.gematik.text"
        } else {
            "m.text"
        };
        status["messages"] = json!([{"type": "error", text: [{"body": why}]}]);
    }
    let kind = format!("{prefix}response.status");
    let mut answer = Map::new();
    answer.insert(kind.clone(), status);
    let relation = json!({"rel_type": "m.reference", "event_id": event});
    answer.insert("m.relates_to".to_owned(), relation);
    Some((kind, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_in_time_is_answered_in_the_same_words() {
        for prefix in PREFIXES {
            let mut content = json!({"body": "a"});
            content[format!("{prefix}request.status")] =
                json!({"from_device": "D", "lifetime": 1000});
            let (kind, said) = answer(&content, "$1", 500, None).unwrap();
            assert_eq!(kind, format!("{prefix}response.status"));
            assert_eq!(
                Value::Object(said),
                json!({
                    kind: {"from_device": DEVICE, "to_device": "D", "status": "success"},
                    "m.relates_to": {"rel_type": "m.reference", "event_id": "$1"},
                })
            );
            let (kind, said) = answer(&content, "$1", 500, Some("a sticker")).unwrap();
            assert_eq!(said[&kind]["status"], "error");
            let text = ["m.text", "de.gematik.text"][usize::from(prefix == GEMATIK)];
            assert_eq!(
                said[&kind]["messages"],
                json!([{"type": "error", text: [{"body": "a sticker"}]}])
            );
            assert!(answer(&content, "$1", 1001, None).is_none(), "too late");
        }
        assert!(answer(&json!({"body": "a"}), "$1", 0, None).is_none());
    }
}
