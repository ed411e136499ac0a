//! What admins are told. Ids only, and of clients not even those.

use std::fmt::Write as _;

use fhir::{ResourceRef, ResourceType};
use matrix_appservice::{
    DeadLetter, HandlerError, Intent, Stats,
    ruma::{RoomId, UserId},
};

use super::super::Link;
use crate::{bridge::Bridge, mapping::room_state::RoomState};

/// The most members of a room that are listed.
const MOST_MEMBERS: usize = 100;

/// How the bridge is.
pub(super) fn status(homeserver: &str, servers: &[Option<&str>], stats: &Stats) -> String {
    let named: Vec<&str> = servers.iter().copied().flatten().collect();
    let mut text = format!(
        "fhir-bridge {} on {homeserver}, with {} FHIR server(s)",
        env!("CARGO_PKG_VERSION"),
        servers.len()
    );
    if !named.is_empty() {
        // Writing to a string does not fail.
        let _ = write!(text, ": {}", named.join(", "));
    }
    let _ = write!(
        text,
        ".\n{} waiting, {} dead letter(s).",
        stats.waiting, stats.dead
    );
    text
}

/// To what a room is linked, and who is there.
pub(super) async fn who(
    bridge: &Bridge,
    bot: &Intent,
    link: &Link,
    state: &RoomState,
) -> Result<String, HandlerError> {
    let mut text = format!("{} is linked to {}", link.room, link.resource);
    if let Some(server) = &link.server {
        let _ = write!(text, " on {server}");
    }
    text.push('.');
    let there = state
        .members()
        .filter(|(_, membership)| matches!(*membership, "join" | "invite"));
    for (number, (user, membership)) in there.enumerate() {
        if number == MOST_MEMBERS {
            text.push_str("\n…");
            break;
        }
        let who = stands_for(bridge, bot, &link.resource, &link.room, &user).await?;
        let invited = if membership == "invite" {
            ", invited"
        } else {
            ""
        };
        let _ = write!(text, "\n{user}: {who}{invited}");
    }
    Ok(text)
}

async fn stands_for(
    bridge: &Bridge,
    bot: &Intent,
    resource: &ResourceRef,
    room: &RoomId,
    user: &UserId,
) -> Result<String, HandlerError> {
    if user == bridge.sender {
        return Ok("the bridge".to_owned());
    }
    if bridge.is_ghost(user) {
        // Of a client's ghost, nobody can tell whose it is.
        let person = bridge.ids.resource(user.localpart());
        return Ok(person.map_or_else(
            || "ghost of a client".to_owned(),
            |person| format!("ghost of {person}"),
        ));
    }
    let person = bridge.person_in(bot, resource, room, user).await?;
    Ok(match person {
        Some(person) if *person.resource_type() == ResourceType::Patient => "a client".to_owned(),
        Some(person) => person.to_string(),
        None => "a guest, whom the record doesn't know".to_owned(),
    })
}

/// What could not be handled.
pub(super) fn dead_letters(letters: &[DeadLetter], most: u32) -> String {
    if letters.is_empty() {
        return "There are no dead letters.".to_owned();
    }
    let mut text = String::new();
    for letter in letters {
        let DeadLetter {
            id,
            source,
            lane,
            error,
            attempts,
            ..
        } = letter;
        let _ = writeln!(
            text,
            "{id}: {source} in {lane}, {attempts} attempt(s): {error}"
        );
    }
    if letters.len() == usize::try_from(most).unwrap_or(usize::MAX) {
        let _ = writeln!(text, "There may be more: these are the oldest {most}.");
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_sees_how_the_bridge_is_and_what_failed() {
        let stats = Stats {
            waiting: 2,
            dead: 1,
            ..Stats::default()
        };
        let text = status("vvt.example", &[None, Some("north")], &stats);
        assert!(
            text.contains("on vvt.example, with 2 FHIR server(s): north."),
            "{text}"
        );
        assert!(text.ends_with("2 waiting, 1 dead letter(s)."), "{text}");
        let letter = DeadLetter {
            id: 7,
            reader: String::new(),
            source: "matrix".to_owned(),
            key: Some("$e".to_owned()),
            lane: "!r:x".to_owned(),
            attempts: 3,
            received_at: 0,
            error: "FHIR server answered 422".to_owned(),
        };
        assert_eq!(
            dead_letters(&[letter], 20),
            "7: matrix in !r:x, 3 attempt(s): FHIR server answered 422"
        );
    }
}
