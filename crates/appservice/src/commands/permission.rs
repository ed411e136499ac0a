//! Who may use a command.

use std::{collections::BTreeSet, fmt};

use regex_automata::meta::Regex;
use ruma::{OwnedUserId, RoomId, UserId, events::room::power_levels::UserPowerLevel};

use crate::{client::Error, intent::Intent};

/// Who may use a command. `Debug` doesn't show whom.
#[derive(Clone)]
pub struct Permission {
    anyone: bool,
    users: BTreeSet<OwnedUserId>,
    patterns: Vec<Regex>,
    power_level: Option<i64>,
}

/// A pattern that is no regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pattern is no regular expression")]
pub struct BadPattern;

impl Permission {
    const NOBODY: Self = Self {
        anyone: false,
        users: BTreeSet::new(),
        patterns: Vec::new(),
        power_level: None,
    };

    /// Anyone who can write in the room.
    #[must_use]
    pub fn anyone() -> Self {
        Self {
            anyone: true,
            ..Self::NOBODY
        }
    }

    /// Those who have at least this power level in the room of the command: 50 is a moderator, 100 an
    /// administrator. The creators of a room of version 12 have every level.
    ///
    /// Whoever makes a room has every level in it. With [`accept_invitations`](crate::Builder::accept_invitations) this
    /// alone allows everybody: add [`Commands::only_in`](super::Commands::only_in), or name [`Permission::users`].
    #[must_use]
    pub fn power_level(level: i64) -> Self {
        Self {
            power_level: Some(level),
            ..Self::NOBODY
        }
    }

    /// These users, in any room.
    #[must_use]
    pub fn users(users: impl IntoIterator<Item = OwnedUserId>) -> Self {
        Self {
            users: users.into_iter().collect(),
            ..Self::NOBODY
        }
    }

    /// Users whose whole id matches a regular expression, in any room: `@.*:example\.org`, say.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn try_matching(pattern: &str) -> Result<Self, BadPattern> {
        // By itself first, so that no parenthesis of its own can end the one around it.
        Regex::new(pattern).map_err(|_| BadPattern)?;
        let whole = Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(|_| BadPattern)?;
        Ok(Self {
            patterns: vec![whole],
            ..Self::NOBODY
        })
    }

    /// Those whom this allows, and those whom `other` allows.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.anyone |= other.anyone;
        self.users.extend(other.users);
        self.patterns.extend(other.patterns);
        self.power_level = match (self.power_level, other.power_level) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self
    }

    /// Asks the homeserver only when it has to.
    pub(super) async fn allows(
        &self,
        bot: &Intent,
        room: &RoomId,
        user: &UserId,
    ) -> Result<bool, Error> {
        if self.allows_anywhere(user) {
            return Ok(true);
        }
        let Some(needed) = self.power_level else {
            return Ok(false);
        };
        match bot.power_levels(room).await {
            Ok(levels) => Ok(match levels.for_user(user) {
                UserPowerLevel::Int(level) => i64::from(level) >= needed,
                // Creators. Anything else that has no number has no power that we know of.
                level => level == UserPowerLevel::Infinite,
            }),
            // Who isn't in the room can't tell.
            Err(error) if error.is("M_FORBIDDEN") => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn allows_anywhere(&self, user: &UserId) -> bool {
        self.anyone
            || self.users.contains(user)
            || self
                .patterns
                .iter()
                .any(|pattern| pattern.is_match(user.as_str()))
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permission")
            .field("anyone", &self.anyone)
            .field("power_level", &self.power_level)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn a_pattern_has_to_match_the_whole_id() {
        let staff = Permission::try_matching(r"@(anne|bob):x\.org").unwrap();
        assert!(staff.allows_anywhere(user_id!("@anne:x.org")));
        assert!(!staff.allows_anywhere(user_id!("@anne:x.org.evil")));
        assert!(!staff.allows_anywhere(user_id!("@anne:xxorg")));
        assert_eq!(
            Permission::try_matching("a)|(?:.*").unwrap_err(),
            BadPattern
        );
        assert_eq!(Permission::try_matching("(").unwrap_err(), BadPattern);
    }

    #[test]
    fn one_permission_or_the_other_is_enough() {
        let some = Permission::users([user_id!("@a:x").to_owned()]);
        let both = some
            .clone()
            .or(Permission::power_level(100))
            .or(Permission::power_level(50));
        assert!(both.allows_anywhere(user_id!("@a:x")));
        assert!(!both.allows_anywhere(user_id!("@b:x")));
        assert_eq!(both.power_level, Some(50));
        assert!(
            some.or(Permission::anyone())
                .allows_anywhere(user_id!("@b:x"))
        );
    }
}
