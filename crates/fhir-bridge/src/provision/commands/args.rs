//! What stands behind the commands' names.

use fhir::ResourceRef;
use matrix_appservice::{
    commands::{Args, BadArgument, FromArg},
    ruma::OwnedRoomOrAliasId,
};

/// A resource.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference(pub(super) ResourceRef);

impl FromArg for Reference {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        args.read("a resource like CommunicationRequest/7", |word| {
            ResourceRef::parse(word).map(Self)
        })
    }
}

/// What may follow `link`, in any order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LinkOptions {
    pub(super) room: Option<OwnedRoomOrAliasId>,
    pub(super) replace: bool,
    pub(super) server: Option<String>,
}

impl FromArg for LinkOptions {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        let mut options = Self::default();
        while !args.is_empty() {
            if options.room.is_none()
                && let Some(room) = room(args)
            {
                options.room = Some(room);
                continue;
            }
            let set = |word: &str| match word.split_once('=') {
                None if word == "replace" => {
                    options.replace = true;
                    Some(())
                }
                Some(("server", name)) => {
                    options.server = Some(name.to_owned());
                    Some(())
                }
                _ => None,
            };
            args.read("a room, `replace` or `server=…`", set)?;
        }
        Ok(options)
    }
}

/// A room, and whether to stay in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RoomOptions {
    pub(super) room: Option<OwnedRoomOrAliasId>,
    pub(super) keep: bool,
}

impl FromArg for RoomOptions {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        let mut options = Self::default();
        while !args.is_empty() {
            if options.room.is_none()
                && let Some(room) = room(args)
            {
                options.room = Some(room);
                continue;
            }
            args.read("a room or `keep`", |word| (word == "keep").then_some(()))?;
            options.keep = true;
        }
        Ok(options)
    }
}

/// What to do about dead letters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    List,
    Retry(i64),
    Skip(i64),
}

impl FromArg for What {
    fn read(args: &mut Args<'_>) -> Result<Self, BadArgument> {
        if args.is_empty() {
            return Ok(Self::List);
        }
        let make = args.read("`retry` or `skip`", |word| match word {
            "retry" => Some(Self::Retry as fn(i64) -> Self),
            "skip" => Some(Self::Skip as fn(i64) -> Self),
            _ => None,
        })?;
        i64::read(args).map(make)
    }
}

/// The room that comes next, if one does.
fn room(args: &mut Args<'_>) -> Option<OwnedRoomOrAliasId> {
    let mut ahead = *args;
    let room = OwnedRoomOrAliasId::read(&mut ahead).ok()?;
    *args = ahead;
    Some(room)
}
