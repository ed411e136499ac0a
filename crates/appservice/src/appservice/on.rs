//! The handlers of a builder: those of [`Handlers`](crate::Handlers), and the answers to questions.

use std::{future::Future, sync::Arc};

use ruma::{
    OwnedRoomAliasId, OwnedUserId,
    events::{reaction::OriginalReactionEvent, room::message::OriginalRoomMessageEvent},
};

use super::Builder;
use crate::{
    device::{DeviceLists, KeyCounts, ToDevice},
    dispatch::{Delivery, HandlerError, HandlerResult},
    ephemeral::{Presence, Receipt, Typing},
    event::{Edit, Event, Invitation, Membership, Redaction, TypedEvent},
    handlers::Handlers,
    intent::Intent,
    server::AnyQuery,
    thirdparty::ThirdParty,
};

/// What the application does with what comes in, as with [`Handlers`](crate::Handlers).
impl Builder {
    /// Adds a set of handlers, behind those that are there.
    #[must_use]
    pub fn handlers(mut self, handlers: Handlers) -> Self {
        self.handlers = self.handlers.and(handlers);
        self
    }

    /// Calls `handler` with each event of the type of its argument: any of [`ruma::events`], one of your
    /// own, or one of this crate's, as [`TypedEvent`] lists them.
    ///
    /// What the application service's own user and its exclusive ghosts say is left out, so that a bot
    /// can't talk to itself; what they set as state isn't. [`Builder::on_event`] gets all. An event of
    /// that type whose content can't be read becomes a dead letter, once the other handlers have seen it.
    ///
    /// See [`Handlers::on`] for an example.
    #[must_use]
    pub fn on<E, F, Fut>(mut self, handler: F) -> Self
    where
        E: TypedEvent,
        F: Fn(Delivery, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on(handler);
        self
    }

    /// Calls `handler` with each Matrix event, messages and state, redacted or not, also those of our
    /// own ghosts. No more than its head has been read: see [`Event::content`], [`Event::raw`].
    #[must_use]
    pub fn on_event<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_event(handler);
        self
    }

    /// Calls `handler` with each `m.room.message` that somebody else sent: not with those of the
    /// application service's own user and of its exclusive ghosts, so a bot can't talk to itself,
    /// and not with redacted ones.
    ///
    /// Edits come as messages too, unless they have a handler of their own: see [`Builder::on_edit`].
    #[must_use]
    pub fn on_message<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, OriginalRoomMessageEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_message(handler);
        self
    }

    /// Calls `handler` with each edit of a message by somebody else. Handlers of
    /// [`Builder::on_message`] no longer get them.
    #[must_use]
    pub fn on_edit<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Edit) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_edit(handler);
        self
    }

    /// Calls `handler` with each `m.reaction` by somebody else.
    #[must_use]
    pub fn on_reaction<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, OriginalReactionEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_reaction(handler);
        self
    }

    /// Calls `handler` with each event that somebody else takes back or removes. The event itself may
    /// have been handled before, may never come, or may come redacted.
    #[must_use]
    pub fn on_redaction<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Redaction) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_redaction(handler);
        self
    }

    /// Calls `handler` with who comes and goes, our own users too, and with changes of names and
    /// pictures.
    #[must_use]
    pub fn on_membership<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Membership) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_membership(handler);
        self
    }

    /// Calls `handler` with each invitation to the application service's own user and its exclusive
    /// ghosts. It may be out of date: the inviter can have taken it back meanwhile.
    #[must_use]
    pub fn on_invitation<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Invitation) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_invitation(handler);
        self
    }

    /// Accepts each invitation to the application service's own user and its exclusive ghosts.
    #[must_use]
    pub fn accept_invitations(mut self) -> Self {
        self.handlers = self.handlers.accept_invitations();
        self
    }

    /// Lets people type commands. A message that is one goes to these only, and no longer to handlers of
    /// [`Builder::on_message`]. Several sets, with prefixes of their own, may stand side by side.
    #[cfg(feature = "commands")]
    #[must_use]
    pub fn commands(mut self, commands: crate::commands::Commands) -> Self {
        self.handlers = self.handlers.commands(commands);
        self
    }

    /// Calls `handler` with who types in a room, whenever that changes. The latest counts for each
    /// room. After an outage it may be long out of date: see [`Entry::received_at`].
    ///
    /// [`Entry::received_at`]: crate::Entry::received_at
    #[must_use]
    pub fn on_typing<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Typing) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_typing(handler);
        self
    }

    /// Calls `handler` with each receipt, one at a time for each user in a room, in order. The latest
    /// counts for each user, thread and room, and for each event where the receipt names no thread.
    /// When the registration begins to ask for them, Synapse may send those of years.
    #[must_use]
    pub fn on_receipt<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Receipt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_receipt(handler);
        self
    }

    /// Calls `handler` with who is there, whenever that changes: often. The latest counts for each
    /// user.
    #[must_use]
    pub fn on_presence<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Presence) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_presence(handler);
        self
    }

    /// Calls `handler` with each message to a device of one of our users, in order for each device.
    /// None is lost: what came while there was no handler is kept and comes first, and one that fails
    /// for good becomes a dead letter. A message that comes again (with the `org.matrix.msgid` that
    /// clients give them, or in a transaction that is repeated) is handled once.
    ///
    /// [MSC4203](https://github.com/matrix-org/matrix-spec-proposals/pull/4203)
    #[must_use]
    pub fn on_to_device<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, ToDevice) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_to_device(handler);
        self
    }

    /// Calls `handler` with whose devices changed. What came while it was at work, or while there was
    /// no handler, is put together into one call; a user may be named again whose change has already
    /// been seen. One that fails for good becomes a dead letter, and is part of the next call.
    ///
    /// [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202)
    #[must_use]
    pub fn on_device_lists<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, DeviceLists) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_device_lists(handler);
        self
    }

    /// Calls `handler` with the keys that a device of one of our users has left. The latest counts for
    /// each device, also of what came while there was no handler.
    ///
    /// [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202)
    #[must_use]
    pub fn on_key_counts<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, KeyCounts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_key_counts(handler);
        self
    }

    /// Calls `handler` with each entry that the application itself appends under the name `source`
    /// (see [`Journal::append`](crate::Journal::append)); no name that begins with `matrix`. A second
    /// handler of the same source takes the first one's place.
    #[must_use]
    pub fn on_entry<F, Fut>(mut self, source: &str, handler: F) -> Self
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.handlers = self.handlers.on_entry(source, handler);
        self
    }

    /// Answers the homeserver's question whether a user of ours exists; the handler may make it
    /// first. It gets the bot's [`Intent`], to make it with, and the user's id; it has [`Builder::query_timeout`], and
    /// the homeserver delivers nothing while it waits. What is no user id doesn't exist. Default: no.
    #[must_use]
    pub fn on_user_query<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Intent, OwnedUserId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, HandlerError>> + Send + 'static,
    {
        self.users = Some(typed(handler));
        self
    }

    /// Answers the homeserver's question whether a room alias of ours exists, as
    /// [`Builder::on_user_query`]; the handler may make the room.
    ///
    /// ```
    /// use matrix_appservice::{Builder, CreateRoom};
    ///
    /// fn portals(builder: Builder) -> Builder {
    ///     builder.on_room_query(|bot, alias| async move {
    ///         let Some(channel) = alias.alias().strip_prefix("_irc_") else {
    ///             return Ok(false);
    ///         };
    ///         let room = CreateRoom::new().alias(alias.alias()).name(channel);
    ///         bot.create_room(&room).await?;
    ///         Ok(true)
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn on_room_query<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Intent, OwnedRoomAliasId) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, HandlerError>> + Send + 'static,
    {
        self.rooms = Some(typed(handler));
        self
    }

    /// Answers the homeserver's questions about third-party networks. Default: nothing is found.
    #[must_use]
    pub fn third_party(mut self, third_party: impl ThirdParty) -> Self {
        self.third_party = Some(Arc::new(third_party));
        self
    }
}

/// Asks `handler` only for what is an id.
fn typed<Id, F, Fut>(handler: F) -> Arc<dyn AnyQuery>
where
    Id: TryFrom<String>,
    F: Fn(Intent, Id) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<bool, HandlerError>> + Send + 'static,
{
    Arc::new(move |bot: Intent, id: String| {
        let answer = Id::try_from(id).ok().map(|id| handler(bot, id));
        async move {
            match answer {
                Some(answer) => answer.await,
                None => Ok(false),
            }
        }
    })
}
