//! `m.room.member`: who comes and goes.
//!
//! [Specification](https://spec.matrix.org/v1.17/client-server-api/#mroommember)

use std::fmt;

use ruma::{
    OwnedEventId, OwnedMxcUri, OwnedRoomId, OwnedUserId, UserId,
    events::room::member::MembershipState,
};
use serde::de::Error as _;
use serde_json::{Map, Value};

use super::{Event, TypedEvent};

/// Somebody's membership of a room, and what changed about it.
///
/// What a stranger may have written into it (a name that is a number, say) is left out rather than
/// refused, so that nobody can join unseen.
#[derive(Clone)]
#[non_exhaustive]
pub struct Membership {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The event.
    pub event_id: OwnedEventId,
    /// Who did it.
    pub sender: OwnedUserId,
    /// Whose membership it is.
    pub user_id: OwnedUserId,
    /// What it is now.
    pub membership: MembershipState,
    /// What it was before; `None` when the user was never there, or the homeserver doesn't say: see
    /// [`Event::prev_content`].
    pub previous: Option<MembershipState>,
    /// What that means. Where `previous` isn't known, the user was not in the room.
    pub change: MembershipChange,
    /// The user's name in this room.
    pub display_name: Option<String>,
    /// The user's picture in this room.
    pub avatar_url: Option<OwnedMxcUri>,
    /// Why, in people's words.
    pub reason: Option<String>,
}

/// What changed about a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MembershipChange {
    /// Invited, perhaps after having knocked.
    Invited,
    /// Joined, perhaps on an invitation.
    Joined,
    /// Left.
    Left,
    /// Thrown out; may come back.
    Kicked,
    /// Banned, from inside or outside.
    Banned,
    /// No longer banned.
    Unbanned,
    /// Asks to be let in.
    Knocked,
    /// The user turned an invitation down.
    InvitationRejected,
    /// Somebody took an invitation back.
    InvitationRevoked,
    /// The user no longer asks to be let in.
    KnockRetracted,
    /// The user isn't let in.
    KnockDenied,
    /// In the room as before, with another name or picture.
    ProfileChanged,
    /// Nothing that can be seen here.
    Unchanged,
}

impl MembershipChange {
    fn between(before: &MembershipState, after: &MembershipState, by_user: bool) -> Self {
        use MembershipState::{Ban, Invite, Join, Knock, Leave};
        match (before, after) {
            (before, after) if before == after => Self::Unchanged,
            (_, Invite) => Self::Invited,
            (_, Join) => Self::Joined,
            (_, Ban) => Self::Banned,
            (_, Knock) => Self::Knocked,
            (Join, Leave) if by_user => Self::Left,
            (Join, Leave) => Self::Kicked,
            (Invite, Leave) if by_user => Self::InvitationRejected,
            (Invite, Leave) => Self::InvitationRevoked,
            (Knock, Leave) if by_user => Self::KnockRetracted,
            (Knock, Leave) => Self::KnockDenied,
            (Ban, Leave) => Self::Unbanned,
            _ => Self::Unchanged,
        }
    }
}

/// A content, as far as it can be read.
struct Content(Map<String, Value>);

impl Content {
    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key)?.as_str().map(ToOwned::to_owned)
    }

    fn membership(&self) -> Option<MembershipState> {
        self.text("membership").map(Into::into)
    }

    fn profile(&self) -> [Option<String>; 2] {
        ["displayname", "avatar_url"].map(|key| self.text(key))
    }
}

impl TypedEvent for Membership {
    const TYPE: &'static str = "m.room.member";

    fn asks_for(event: &Event) -> bool {
        event.kind() == Self::TYPE && event.state_key().is_some()
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        let wrong = serde_json::Error::custom;
        let user_id = UserId::parse(event.state_key().unwrap_or_default())
            .map_err(|_| wrong("the state key is no user"))?;
        let content = Content(event.content()?);
        let membership = content.membership().ok_or_else(|| wrong("no membership"))?;
        let before = event.prev_content().unwrap_or_default().map(Content);
        let previous = before.as_ref().and_then(Content::membership);
        let by_user = user_id == event.sender();
        let mut change = MembershipChange::between(
            previous.as_ref().unwrap_or(&MembershipState::Leave),
            &membership,
            by_user,
        );
        if change == MembershipChange::Unchanged
            && membership == MembershipState::Join
            && before.is_some_and(|before| before.profile() != content.profile())
        {
            change = MembershipChange::ProfileChanged;
        }
        Ok(Self {
            room_id: event.room_id().to_owned(),
            event_id: event.event_id().to_owned(),
            sender: event.sender().to_owned(),
            user_id,
            membership,
            previous,
            change,
            display_name: content.text("displayname"),
            avatar_url: content.text("avatar_url").map(Into::into),
            reason: content.text("reason"),
        })
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("room_id", &self.room_id)
            .field("event_id", &self.event_id)
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a change is, from the point of view of the user and of somebody else.
    fn change(before: Option<Value>, after: &Value, by_user: bool) -> MembershipChange {
        let sender = if by_user { "@a:x" } else { "@mod:x" };
        let mut event = json!({
            "type": "m.room.member", "event_id": "$1", "room_id": "!r", "sender": sender,
            "state_key": "@a:x", "content": after,
        });
        if let Some(before) = before {
            event["unsigned"] = json!({"prev_content": before});
        }
        let event = Event::parse(event.to_string().as_bytes()).unwrap();
        Membership::read(&event).unwrap().change
    }

    #[test]
    fn each_change_of_the_specification_has_its_name() {
        use MembershipChange::{
            Banned, Invited, Joined, Kicked, Knocked, Left, Unbanned, Unchanged,
        };
        let of = |state: &str| json!({"membership": state});
        for (before, after, by_user, expected) in [
            ("leave", "invite", false, Invited),
            ("leave", "join", true, Joined),
            ("leave", "knock", true, Knocked),
            ("leave", "ban", false, Banned),
            ("leave", "leave", true, Unchanged),
            ("invite", "invite", false, Unchanged),
            ("invite", "join", true, Joined),
            (
                "invite",
                "leave",
                true,
                MembershipChange::InvitationRejected,
            ),
            (
                "invite",
                "leave",
                false,
                MembershipChange::InvitationRevoked,
            ),
            ("invite", "ban", false, Banned),
            ("join", "join", true, Unchanged),
            ("join", "leave", true, Left),
            ("join", "leave", false, Kicked),
            ("join", "ban", false, Banned),
            ("knock", "invite", false, Invited),
            ("knock", "join", true, Joined),
            ("knock", "leave", true, MembershipChange::KnockRetracted),
            ("knock", "leave", false, MembershipChange::KnockDenied),
            ("knock", "ban", false, Banned),
            ("ban", "leave", false, Unbanned),
            ("ban", "ban", false, Unchanged),
        ] {
            let what = format!("{before} to {after}, by the user: {by_user}");
            assert_eq!(
                change(Some(of(before)), &of(after), by_user),
                expected,
                "{what}"
            );
        }
        assert_eq!(change(None, &of("join"), true), Joined);
        assert_eq!(change(None, &of("ban"), false), Banned);
    }

    #[test]
    fn a_new_name_or_picture_is_a_change_of_profile() {
        let with = |name: &str, picture: &str| json!({"membership": "join", "displayname": name, "avatar_url": picture});
        let before = Some(with("A", "mxc://x/1"));
        let changed = |after: &Value| change(before.clone(), after, true);
        assert_eq!(
            changed(&with("A", "mxc://x/1")),
            MembershipChange::Unchanged
        );
        assert_eq!(
            changed(&with("B", "mxc://x/1")),
            MembershipChange::ProfileChanged
        );
        assert_eq!(
            changed(&with("A", "mxc://x/2")),
            MembershipChange::ProfileChanged
        );
        assert_eq!(
            changed(&json!({"membership": "join"})),
            MembershipChange::ProfileChanged
        );
    }
}
