//! Events as Synapse pushes them: in the old format of clients.

use serde_json::{Value, json};

/// What Synapse copies to the top level, besides `age`.
const COPIED: [&str; 4] = [
    "prev_content",
    "replaces_state",
    "invite_room_state",
    "redacted_because",
];

/// An event of `server`'s as it is pushed when it is `age_ms` old. Those of other homeservers have no
/// age. After a restart, Synapse knows what an event replaces, but not its content any more.
pub(super) fn pushed(event: &Value, server: &str, age_ms: u64, after_restart: bool) -> Value {
    let mut event = event.clone();
    let sender = event["sender"].as_str().unwrap_or_default().to_owned();
    event["user_id"] = json!(sender);
    let local = sender.ends_with(&format!(":{server}"));
    let mut unsigned = event["unsigned"].clone();
    if let Some(unsigned) = unsigned.as_object_mut() {
        // Only its sender sees that.
        unsigned.remove("transaction_id");
        if after_restart {
            unsigned.remove("prev_content");
            unsigned.remove("prev_sender");
        }
    }
    if unsigned["redacted_because"].is_object() {
        unsigned["redacted_because"] =
            pushed(&unsigned["redacted_because"], server, age_ms, after_restart);
    }
    if local {
        unsigned["age"] = json!(age_ms);
        event["age"] = json!(age_ms);
    }
    for key in COPIED {
        if let Some(value) = unsigned.get(key) {
            event[key] = value.clone();
        }
    }
    event["unsigned"] = unsigned;
    event
}
