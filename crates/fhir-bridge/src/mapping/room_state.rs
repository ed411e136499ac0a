//! A room's state as the homeserver tells it, looked at.

use std::collections::BTreeMap;

use matrix_appservice::ruma::{OwnedUserId, UserId};
use serde_json::Value;

/// The state events of a room, by type and key.
#[derive(Clone, Default)]
pub struct RoomState(BTreeMap<(String, String), StateOf>);

#[derive(Clone)]
struct StateOf {
    sender: Option<OwnedUserId>,
    content: Value,
}

impl RoomState {
    /// Reads what `/state` answers; what is no state event is left out.
    #[must_use]
    pub fn read(events: Vec<Value>) -> Self {
        let one = |mut event: Value| {
            let text = |name: &str| event.get(name)?.as_str().map(str::to_owned);
            let key = (text("type")?, text("state_key")?);
            let sender = text("sender").and_then(|sender| UserId::parse(sender).ok());
            let content = event.get_mut("content").map(Value::take)?;
            Some((key, StateOf { sender, content }))
        };
        Self(events.into_iter().filter_map(one).collect())
    }

    /// The content of a state event.
    #[must_use]
    pub fn content(&self, kind: &str, key: &str) -> Option<&Value> {
        self.0
            .get(&(kind.to_owned(), key.to_owned()))
            .map(|state| &state.content)
    }

    /// Whether everybody may read what is said in the room: by joining it, or without.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let says = |kind: &str, key: &str, word: &str| {
            self.content(kind, "")
                .and_then(|content| content.get(key)?.as_str())
                == Some(word)
        };
        says("m.room.join_rules", "join_rule", "public")
            || says(
                "m.room.history_visibility",
                "history_visibility",
                "world_readable",
            )
    }

    /// Who made the room.
    #[must_use]
    pub fn creator(&self) -> Option<&UserId> {
        self.0
            .get(&("m.room.create".to_owned(), String::new()))?
            .sender
            .as_deref()
    }

    /// Whether those who made the room have every power, and are not listed with a power level.
    #[must_use]
    pub fn has_privileged_creators(&self) -> bool {
        let version = self
            .content("m.room.create", "")
            .and_then(|content| content.get("room_version"))
            .and_then(Value::as_str);
        // Versions that aren't numbers are experiments of the old rules.
        version
            .and_then(|version| version.parse::<u32>().ok())
            .is_some_and(|version| version >= 12)
    }

    /// What somebody's membership is; `None` when it never was any.
    #[must_use]
    pub fn membership(&self, user: &UserId) -> Option<&str> {
        self.content("m.room.member", user.as_str())?
            .get("membership")?
            .as_str()
    }

    /// Everybody who is or was in the room or invited to it.
    pub fn members(&self) -> impl Iterator<Item = (OwnedUserId, &str)> {
        self.of("m.room.member").filter_map(|(key, content)| {
            let membership = content.get("membership")?.as_str()?;
            Some((UserId::parse(key).ok()?, membership))
        })
    }

    /// The keys of relations to spaces or rooms that hold: a relation without `via` is none.
    pub fn relations(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.of(kind).filter_map(|(key, content)| {
            let via = content.get("via")?.as_array()?;
            (!via.is_empty()).then_some(key)
        })
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .range((kind.to_owned(), String::new())..)
            .take_while(move |((found, _), _)| found == kind)
            .map(|((_, key), state)| (key.as_str(), &state.content))
    }
}

impl std::fmt::Debug for RoomState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoomState")
            .field("events", &self.0.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::user_id;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_be_read_is_read_and_the_rest_left_out() {
        let state = RoomState::read(vec![
            json!({"type": "m.room.create", "state_key": "", "sender": "@bot:vvt", "content": {"room_version": "12"}}),
            json!({"type": "m.room.member", "state_key": "@a:x", "sender": "@a:x", "content": {"membership": "join"}}),
            json!({"type": "m.room.member", "state_key": "@b:x", "sender": "@b:x", "content": {"membership": 5}}),
            json!({"type": "m.space.parent", "state_key": "!a", "content": {"via": ["x"]}}),
            json!({"type": "m.space.parent", "state_key": "!b", "content": {}}),
            json!({"type": "no state", "content": {}}),
            json!(null),
        ]);
        assert_eq!(state.creator(), Some(user_id!("@bot:vvt")));
        assert!(state.has_privileged_creators());
        assert_eq!(state.membership(user_id!("@a:x")), Some("join"));
        assert_eq!(state.members().count(), 1);
        assert_eq!(
            state.relations("m.space.parent").collect::<Vec<_>>(),
            ["!a"]
        );
    }

    #[test]
    fn a_room_of_an_older_or_odd_version_has_no_privileged_creators() {
        for version in [
            json!({"room_version": "11"}),
            json!({}),
            json!({"room_version": "org.x"}),
        ] {
            let state = RoomState::read(vec![
                json!({"type": "m.room.create", "state_key": "", "content": version}),
            ]);
            assert!(!state.has_privileged_creators());
        }
    }
}
