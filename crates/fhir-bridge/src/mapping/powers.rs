//! Who may do what in a room, as its state says.
//!
//! [Specification](https://spec.matrix.org/v1.17/client-server-api/#mroompower_levels)

use std::fmt;

use matrix_appservice::ruma::UserId;
use serde_json::{Map, Value};

use super::room_state::RoomState;

/// Something that takes power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// To invite somebody.
    Invite,
    /// To remove somebody.
    Kick,
    /// To write messages.
    Write,
    /// To set state of this type.
    Set(&'static str),
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invite => f.write_str("to invite"),
            Self::Kick => f.write_str("to remove"),
            Self::Write => f.write_str("to write"),
            Self::Set(kind) => write!(f, "to set {kind}"),
        }
    }
}

/// The power levels of a room.
#[derive(Debug)]
pub struct Powers<'a> {
    state: &'a RoomState,
    content: Option<&'a Map<String, Value>>,
}

impl<'a> Powers<'a> {
    /// Reads them.
    #[must_use]
    pub fn of(state: &'a RoomState) -> Self {
        let content = state.content("m.room.power_levels", "");
        Self {
            state,
            content: content.and_then(Value::as_object),
        }
    }

    /// What a user has. The creators of a room of version 12 have more than anybody.
    #[must_use]
    pub fn of_user(&self, user: &UserId) -> i64 {
        let is_creator = self.state.creator() == Some(user);
        if self.state.has_privileged_creators() && (is_creator || self.created_with(user)) {
            return i64::MAX;
        }
        match self.content {
            None if is_creator => 100,
            None => 0,
            Some(content) => content
                .get("users")
                .and_then(|users| level(users.get(user.as_str())))
                .unwrap_or_else(|| self.field("users_default", 0)),
        }
    }

    /// What something takes.
    #[must_use]
    pub fn needed(&self, act: Act) -> i64 {
        match act {
            Act::Invite => self.field("invite", 0),
            Act::Kick => self.field("kick", 50),
            Act::Write => self
                .event("m.room.message")
                .unwrap_or_else(|| self.field("events_default", 0)),
            Act::Set(kind) => self.event(kind).unwrap_or_else(|| {
                // Without power levels, anybody may.
                self.field("state_default", if self.content.is_some() { 50 } else { 0 })
            }),
        }
    }

    fn created_with(&self, user: &UserId) -> bool {
        let create = self.state.content("m.room.create", "");
        create
            .and_then(|create| create.get("additional_creators")?.as_array())
            .is_some_and(|creators| creators.iter().any(|one| one == user.as_str()))
    }

    fn field(&self, name: &str, default: i64) -> i64 {
        let field = self.content.and_then(|content| content.get(name));
        level(field).unwrap_or(default)
    }

    fn event(&self, kind: &str) -> Option<i64> {
        level(self.content?.get("events")?.get(kind))
    }
}

/// A level; in rooms before version 10 it may be a text.
fn level(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::user_id;
    use serde_json::json;

    use super::*;

    fn room(version: &str, levels: Option<Value>) -> RoomState {
        let mut state = vec![
            json!({"type": "m.room.create", "state_key": "", "sender": "@maker:x",
            "content": {"room_version": version, "additional_creators": ["@other:x"]}}),
        ];
        if let Some(levels) = levels {
            state.push(json!({"type": "m.room.power_levels", "state_key": "", "content": levels}));
        }
        RoomState::read(state)
    }

    #[test]
    fn creators_of_new_rooms_have_every_power_and_those_of_older_ones_what_is_listed() {
        let (maker, other, any) = (
            user_id!("@maker:x"),
            user_id!("@other:x"),
            user_id!("@any:x"),
        );
        let levels = json!({"users": {"@any:x": "75"}, "users_default": 5});
        for (version, of_maker, of_other) in [("12", i64::MAX, i64::MAX), ("11", 5, 5)] {
            let state = room(version, Some(levels.clone()));
            let powers = Powers::of(&state);
            assert_eq!(powers.of_user(maker), of_maker);
            assert_eq!(powers.of_user(other), of_other);
            assert_eq!(powers.of_user(any), 75);
        }
        let bare = room("11", None);
        assert_eq!(Powers::of(&bare).of_user(maker), 100);
        assert_eq!(Powers::of(&bare).of_user(any), 0);
    }

    #[test]
    fn what_is_not_said_is_as_the_specification_says() {
        let acts = [
            Act::Invite,
            Act::Kick,
            Act::Write,
            Act::Set("m.space.child"),
        ];
        for (levels, needed) in [
            (None, [0, 50, 0, 0]),
            (Some(json!({})), [0, 50, 0, 50]),
            (
                Some(json!({"invite": 1, "kick": 2, "events_default": 3, "state_default": 4})),
                [1, 2, 3, 4],
            ),
            (
                Some(json!({"events": {"m.room.message": 7, "m.space.child": 8}})),
                [0, 50, 7, 8],
            ),
            (
                Some(json!({"events": 5, "users": [], "kick": {}})),
                [0, 50, 0, 50],
            ),
        ] {
            let state = room("11", levels);
            let powers = Powers::of(&state);
            assert_eq!(acts.map(|act| powers.needed(act)), needed);
        }
    }
}
