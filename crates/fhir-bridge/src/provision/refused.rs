//! Why a room can't be linked, in words for whoever asked: what is wrong, where, and what to do. Ids only.

use std::fmt;

use fhir::ResourceRef;
use matrix_appservice::ruma::{OwnedRoomId, OwnedServerName, OwnedUserId};

use crate::mapping::powers::Act;

/// A power that the bridge lacks in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) act: Act,
    pub(crate) needed: i64,
}

/// What was asked for can't be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Neither a care team nor a conversation.
    WrongType,
    /// There is no FHIR server of this name.
    NoServer,
    /// The FHIR server has no such resource.
    NoResource(ResourceRef),
    /// It has ended, or has not begun.
    NotOpen(ResourceRef),
    /// The alias leads nowhere.
    NoRoom,
    /// The bridge is not in the room and may not join it.
    NotInvited(OwnedUserId),
    /// A care team needs a space.
    NoSpace,
    /// A conversation needs a room that is no space.
    Space,
    /// The room has a successor.
    Replaced,
    /// The bridge can't read what is said there.
    Encrypted,
    /// Everybody may read what is said there.
    Open,
    /// The bridge can't do its work there.
    Powerless {
        user: OwnedUserId,
        has: i64,
        missing: Vec<Missing>,
    },
    /// Whoever asks may not change the room's state.
    AskerPowerless { needed: i64, has: i64 },
    /// Whoever asks is of a homeserver that may not take part.
    AskerBarred,
    /// People of these homeservers are there, and may not take part.
    Policy(Vec<OwnedServerName>),
    /// The resource has another room.
    ResourceHas(OwnedRoomId),
    /// The room belongs to another resource.
    RoomHas(ResourceRef),
    /// The room is not linked.
    NoLink,
    /// The resource was not unlinked.
    NotUnlinked,
}

impl Refused {
    /// The status and the error code in the API's answer.
    pub(crate) fn code(&self) -> (u16, &'static str) {
        match self {
            Self::WrongType => (400, "M_INVALID_PARAM"),
            Self::NotInvited(_)
            | Self::Powerless { .. }
            | Self::AskerPowerless { .. }
            | Self::AskerBarred
            | Self::Policy(_) => (403, "M_FORBIDDEN"),
            Self::Encrypted => (403, "FHIR_BRIDGE_ENCRYPTED"),
            Self::NoServer
            | Self::NoResource(_)
            | Self::NoRoom
            | Self::NoLink
            | Self::NotUnlinked => (404, "M_NOT_FOUND"),
            Self::NotOpen(_) | Self::NoSpace | Self::Space | Self::Replaced | Self::Open => {
                (409, "FHIR_BRIDGE_UNSUITABLE")
            }
            Self::ResourceHas(_) | Self::RoomHas(_) => (409, "FHIR_BRIDGE_LINKED"),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongType => f.write_str(
                "Only a CareTeam (to a space) or a conversation (to a room) can be linked: a CommunicationRequest, the header of messages, or `Conversation/` with the id of a care team, as `threads` in the configuration says",
            ),
            Self::NoServer => f.write_str(
                "There is no such FHIR server: name one of those in the configuration as `server`",
            ),
            Self::NoResource(resource) => {
                write!(f, "The FHIR server has no {resource}")
            }
            Self::NotOpen(resource) => write!(
                f,
                "{resource} has ended or is in error: only one that is open or on hold can be linked"
            ),
            Self::NoRoom => f.write_str("That address leads to no room"),
            Self::NotInvited(bot) => write!(
                f,
                "The bridge is not in that room and may not join it: invite {bot}"
            ),
            Self::NoSpace => f.write_str("A CareTeam is linked to a space, and that room is none"),
            Self::Space => {
                f.write_str("A conversation is linked to a room, and that is a space")
            }
            Self::Replaced => {
                f.write_str("That room has a successor (it was upgraded): link that one")
            }
            Self::Encrypted => f.write_str(
                "That room is encrypted, and the bridge can't read it: encryption can't be switched off again, so make another room",
            ),
            Self::Open => f.write_str(
                "Everybody may read what is said in that room: set its join rule to invite and its history to members, then ask again",
            ),
            Self::Powerless { user, has, missing } => {
                write!(f, "The bridge can't do its work there: ")?;
                for (index, one) in missing.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}it needs power level {} {}", one.needed, one.act)?;
                }
                let most = missing.iter().map(|one| one.needed).max().unwrap_or(0);
                write!(f, ", and has {has}: give {user} the power level {most}")
            }
            Self::AskerPowerless { needed, has } => write!(
                f,
                "You may not change that room: it takes to be there with power level {needed}, and you have {has}"
            ),
            Self::AskerBarred => f.write_str("Your homeserver may not take part"),
            Self::Policy(servers) => {
                f.write_str("People of homeservers that may not take part are in that room: ")?;
                for (index, server) in servers.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{server}")?;
                }
                Ok(())
            }
            Self::ResourceHas(room) => write!(
                f,
                "It has another room, {room}: unlink that one first, or ask with `replace`"
            ),
            Self::RoomHas(resource) => write!(
                f,
                "That room belongs to {resource}: unlink it first"
            ),
            Self::NoLink => f.write_str("That room is not linked"),
            Self::NotUnlinked => f.write_str("That resource was not unlinked"),
        }
    }
}
