//! Commands that people type: what each bridge's admin room needs. Feature `commands`, on by default.
//!
//! ```
//! use matrix_appservice::{
//!     Handlers,
//!     commands::{CommandError, Commands, Permission},
//!     ruma::OwnedRoomId,
//! };
//!
//! # let admin_room: OwnedRoomId = "!admin:example.org".try_into().unwrap();
//! let commands = Commands::new("!bridge")
//!     .only_in([admin_room])
//!     .allow(Permission::power_level(50))
//!     .command("ping", "Says whether the bridge is there.", |_, ()| async { Ok("Here I am.") })
//!     .command(
//!         "link <room> <channel>",
//!         "Connects a room with a channel.",
//!         |call, (room, channel): (OwnedRoomId, String)| async move {
//!             if !channel.starts_with('#') {
//!                 return Err(CommandError::say("A channel's name begins with #."));
//!             }
//!             call.bot().ensure_joined(&room).await?;
//!             Ok(format!("{room} is now {channel}."))
//!         },
//!     );
//! Handlers::new().commands(commands);
//! ```
//!
//! `!bridge help` lists them; a wrong argument is answered with the command's usage, and an unknown
//! command with the one that was probably meant. Answers are notices in reply to the command.
//!
//! A command is a handler like any other: each message runs it once, and it runs again only when the
//! process dies in between, or when the homeserver is away and its answer can't be sent. What it does
//! through the [`Invocation`]'s intents, it does once.

mod answer;
mod args;
mod direct;
mod invocation;
mod nearest;
mod permission;
mod run;
mod words;

use std::{collections::HashSet, future::Future, pin::Pin, sync::Arc};

use ruma::{OwnedRoomId, RoomId};

use self::direct::DirectRooms;
pub use self::{
    answer::{Answer, CommandError},
    args::{Args, BadArgument, FromArg, FromArgs, Rest},
    invocation::Invocation,
    permission::{BadPattern, Permission},
};
use crate::handlers::Handlers;

type Work = Pin<Box<dyn Future<Output = Result<Answer, CommandError>> + Send>>;
type Run = Box<dyn Fn(Invocation, Args<'_>) -> Result<Work, BadArgument> + Send + Sync>;
type RoomPredicate = Box<dyn Fn(&RoomId) -> bool + Send + Sync>;

/// A set of commands that begin with the same prefix.
#[must_use]
pub struct Commands {
    prefix: String,
    known: Vec<Command>,
    permission: Permission,
    rooms: Option<RoomPredicate>,
    /// Direct chats, where the prefix may be left out.
    direct: Option<DirectRooms>,
}

struct Command {
    name: String,
    usage: String,
    help: String,
    permission: Option<Permission>,
    run: Run,
}

impl Commands {
    /// Commands that begin with `prefix`, such as `!bridge`, and a space. For anyone, in any room. Only in direct chats can
    /// the prefix be left out.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            known: Vec::new(),
            permission: Permission::anyone(),
            rooms: None,
            direct: None,
        }
    }

    /// Adds a command.
    ///
    /// `usage` is its name (one word, in small letters or not: people may type either) and the names of
    /// its arguments, as people shall see them: `link <room> [channel]`. `help` is a sentence.
    ///
    /// `handler` gets the [`Invocation`] and the arguments as a tuple: `()`, `(OwnedRoomId,)`,
    /// `(OwnedRoomId, Option<u32>, Rest)` and so on, see [`FromArg`]. What it returns is the answer: text,
    /// a [`Message`](crate::Message), or `()` for none. See [`CommandError`] for what becomes of errors.
    pub fn command<A, R, F, Fut>(
        self,
        usage: impl Into<String>,
        help: impl Into<String>,
        handler: F,
    ) -> Self
    where
        A: FromArgs,
        R: Into<Answer>,
        F: Fn(Invocation, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, CommandError>> + Send + 'static,
    {
        self.add(None, usage.into(), help.into(), handler)
    }

    /// As [`Commands::command`], for those with this permission instead of that of the set.
    pub fn command_for<A, R, F, Fut>(
        self,
        permission: Permission,
        usage: impl Into<String>,
        help: impl Into<String>,
        handler: F,
    ) -> Self
    where
        A: FromArgs,
        R: Into<Answer>,
        F: Fn(Invocation, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, CommandError>> + Send + 'static,
    {
        self.add(Some(permission), usage.into(), help.into(), handler)
    }

    /// Who may use the commands that don't say otherwise themselves. Default: anyone.
    pub fn allow(mut self, permission: Permission) -> Self {
        self.permission = permission;
        self
    }

    /// Listens in these rooms only: an admin room, say. In others, a command is a message like any other.
    pub fn only_in(self, rooms: impl IntoIterator<Item = OwnedRoomId>) -> Self {
        let rooms: HashSet<OwnedRoomId> = rooms.into_iter().collect();
        self.only_where(move |room| rooms.contains(room))
    }

    /// Listens in rooms that `wanted` says yes to, as [`Commands::only_in`].
    pub fn only_where(mut self, wanted: impl Fn(&RoomId) -> bool + Send + Sync + 'static) -> Self {
        self.rooms = Some(Box::new(wanted));
        self
    }

    /// In a room that the application service's own user shares with one other, each text is a command,
    /// with the prefix or without. Costs a look at who is in the room, once until that changes.
    pub fn without_prefix_in_direct_chats(mut self) -> Self {
        self.direct = Some(DirectRooms::default());
        self
    }

    fn add<A, R, F, Fut>(
        mut self,
        permission: Option<Permission>,
        usage: String,
        help: String,
        handler: F,
    ) -> Self
    where
        A: FromArgs,
        R: Into<Answer>,
        F: Fn(Invocation, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, CommandError>> + Send + 'static,
    {
        let run: Run = Box::new(move |call, args| {
            let answer = handler(call, args.read_all()?);
            Ok(Box::pin(async move { answer.await.map(Into::into) }))
        });
        let name = usage.split_whitespace().next().unwrap_or_default();
        self.known.push(Command {
            name: name.to_lowercase(),
            usage,
            help,
            permission,
            run,
        });
        self
    }
}

impl Handlers {
    /// Lets people type commands. A message that is one goes to these only, and no longer to handlers of
    /// [`Handlers::on_message`]. Several sets, with prefixes of their own, may stand side by side.
    pub fn commands(self, commands: Commands) -> Self {
        let commands = Arc::new(commands);
        self.take_first(move |seen| {
            commands.pass_by(seen.event);
            let message = seen.message()?;
            let (commands, delivery) = (commands.clone(), seen.delivery());
            Some(Box::pin(
                async move { commands.handle(delivery, message).await },
            ))
        })
    }
}
