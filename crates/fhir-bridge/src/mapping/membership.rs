//! Who has to come into a room and who has to leave it.
//!
//! Three things are compared: whom the FHIR server has as members now (*wanted*), whom it had when the room was last
//! brought in line (*placed*), and who is there. Only what the FHIR server changed since is carried over; what people
//! decided in Matrix meanwhile (declining, leaving, inviting a guest) is left alone.

use std::collections::BTreeSet;

use matrix_appservice::ruma::{OwnedUserId, UserId};

use super::room_state::RoomState;

/// A member as the FHIR server has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The user that takes part.
    pub user: OwnedUserId,
    /// Whether that is one of our ghosts.
    pub ghost: bool,
    /// The ghost that speaks for the member when it writes in FHIR, also where it has an account of its own.
    pub voice: OwnedUserId,
    /// The person, as `Type/id`.
    pub person: String,
}

/// A member as the room was last brought in line with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The user.
    pub user: OwnedUserId,
    /// The person, as `Type/id`.
    pub person: String,
}

/// What has to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Ghosts that have to join.
    pub join: Vec<OwnedUserId>,
    /// People who have to be invited, also when they had left before.
    pub invite: Vec<OwnedUserId>,
    /// Ghosts and people who have to go.
    pub remove: Vec<OwnedUserId>,
    /// Users who are members no longer, whether they are there or not.
    pub gone: Vec<OwnedUserId>,
    /// Users whom somebody else stands in for, but not yet: they stay until that one has joined.
    pub waiting: Vec<OwnedUserId>,
}

/// Compares. `is_ghost` says of a user whether it is one of our ghosts; the bridge's own user is none.
#[must_use]
pub fn plan(
    state: &RoomState,
    wanted: &[Wanted],
    placed: &[Placed],
    is_ghost: impl Fn(&UserId) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    for one in wanted {
        let membership = state.membership(&one.user);
        if one.ghost {
            if membership != Some("join") {
                plan.join.push(one.user.clone());
            }
            continue;
        }
        let was_placed = placed.iter().any(|placed| placed.user == one.user);
        match membership {
            Some("join" | "invite" | "ban") => {}
            // Somebody decided so, and the FHIR server has not changed its mind since.
            Some("leave") if was_placed => {}
            _ => plan.invite.push(one.user.clone()),
        }
    }
    for placed in placed {
        if wanted.iter().any(|one| one.user == placed.user) {
            continue;
        }
        let successor = wanted.iter().find(|one| one.person == placed.person);
        if successor.is_some_and(|one| !one.ghost && state.membership(&one.user) != Some("join")) {
            plan.waiting.push(placed.user.clone());
            continue;
        }
        plan.gone.push(placed.user.clone());
        if is_there(state, &placed.user) {
            plan.remove.push(placed.user.clone());
        }
    }
    // Ghosts that nobody needs: who spoke for a member that has gone, or was brought in by a guest.
    let needed: BTreeSet<&UserId> = wanted
        .iter()
        .flat_map(|one| [&*one.user, &*one.voice])
        .chain(plan.waiting.iter().map(|user| &**user))
        .collect();
    let idle: Vec<OwnedUserId> = state
        .members()
        .filter(|(user, membership)| {
            matches!(*membership, "join" | "invite")
                && is_ghost(user)
                && !needed.contains(&**user)
                && !plan.remove.contains(user)
        })
        .map(|(user, _)| user)
        .collect();
    plan.remove.extend(idle);
    plan
}

fn is_there(state: &RoomState, user: &UserId) -> bool {
    matches!(state.membership(user), Some("join" | "invite" | "knock"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(members: &[(&str, &str)]) -> RoomState {
        RoomState::read(
            members
                .iter()
                .map(|(user, membership)| {
                    json!({"type": "m.room.member", "state_key": user, "content": {"membership": membership}})
                })
                .collect(),
        )
    }

    fn wanted(user: &str, person: &str) -> Wanted {
        Wanted {
            user: UserId::parse(user).unwrap(),
            ghost: user.ends_with(":vvt"),
            voice: UserId::parse(format!("@g{person}:vvt")).unwrap(),
            person: person.to_owned(),
        }
    }

    fn placed(user: &str, person: &str) -> Placed {
        Placed {
            user: UserId::parse(user).unwrap(),
            person: person.to_owned(),
        }
    }

    fn is_ghost(user: &UserId) -> bool {
        user.server_name() == "vvt"
    }

    fn users(list: &[OwnedUserId]) -> Vec<&str> {
        list.iter().map(|user| user.as_str()).collect()
    }

    #[test]
    fn the_new_ones_are_brought_in_and_the_others_left_as_they_are() {
        let plan = plan(
            &state(&[("@a:x", "join"), ("@b:x", "invite"), ("@guest:x", "join")]),
            &[
                wanted("@a:x", "1"),
                wanted("@b:x", "2"),
                wanted("@c:x", "3"),
                wanted("@g4:vvt", "4"),
            ],
            &[],
            is_ghost,
        );
        assert_eq!(users(&plan.invite), ["@c:x"]);
        assert_eq!(users(&plan.join), ["@g4:vvt"]);
        assert!(plan.remove.is_empty() && plan.gone.is_empty());
    }

    #[test]
    fn who_left_is_not_asked_again_until_the_record_names_them_anew() {
        let there = state(&[("@a:x", "leave")]);
        let members = [wanted("@a:x", "1")];
        assert!(
            plan(&there, &members, &[placed("@a:x", "1")], is_ghost)
                .invite
                .is_empty()
        );
        assert_eq!(
            users(&plan(&there, &members, &[], is_ghost).invite),
            ["@a:x"]
        );
        let banned = state(&[("@a:x", "ban")]);
        assert!(plan(&banned, &members, &[], is_ghost).invite.is_empty());
    }

    #[test]
    fn an_invitation_that_was_noted_but_never_sent_is_sent() {
        let plan = plan(
            &state(&[]),
            &[wanted("@a:x", "1")],
            &[placed("@a:x", "1")],
            is_ghost,
        );
        assert_eq!(users(&plan.invite), ["@a:x"]);
    }

    #[test]
    fn who_is_a_member_no_longer_goes_and_guests_stay() {
        let plan = plan(
            &state(&[
                ("@a:x", "join"),
                ("@b:x", "invite"),
                ("@c:x", "leave"),
                ("@guest:x", "join"),
                ("@g4:vvt", "join"),
                // Spoke for somebody who is no longer a member.
                ("@g1:vvt", "join"),
            ]),
            &[],
            &[
                placed("@a:x", "1"),
                placed("@b:x", "2"),
                placed("@c:x", "3"),
                placed("@g4:vvt", "4"),
            ],
            is_ghost,
        );
        assert_eq!(users(&plan.remove), ["@a:x", "@b:x", "@g4:vvt", "@g1:vvt"]);
        assert_eq!(plan.gone.len(), 4);
    }

    #[test]
    fn the_old_identity_stays_until_the_new_one_has_joined() {
        let members = [wanted("@new:y", "1")];
        let before = [placed("@old:x", "1")];
        let invited = plan(
            &state(&[("@old:x", "join"), ("@new:y", "invite")]),
            &members,
            &before,
            is_ghost,
        );
        assert!(invited.remove.is_empty() && invited.gone.is_empty());
        assert_eq!(users(&invited.waiting), ["@old:x"]);
        let joined = plan(
            &state(&[("@old:x", "join"), ("@new:y", "join")]),
            &members,
            &before,
            is_ghost,
        );
        assert_eq!(users(&joined.remove), ["@old:x"]);
        assert_eq!(users(&joined.gone), ["@old:x"]);
    }

    #[test]
    fn the_ghost_that_speaks_for_a_member_with_an_account_may_be_there() {
        let there = state(&[("@a:x", "join"), ("@g1:vvt", "join")]);
        let members = [wanted("@a:x", "1")];
        let stood_in = [placed("@a:x", "1"), placed("@g1:vvt", "1")];
        assert_eq!(
            users(&plan(&there, &members, &stood_in, is_ghost).remove),
            ["@g1:vvt"],
            "it was the member, and the account has joined"
        );
        let spoke = plan(&there, &members, &stood_in[..1], is_ghost);
        assert!(spoke.remove.is_empty());
    }
}
