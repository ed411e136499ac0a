//! Handlers of events: messages and state.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use ruma::events::{reaction::OriginalReactionEvent, room::message::OriginalRoomMessageEvent};

use super::{Handlers, OurUsers};
use crate::{
    dispatch::{Delivery, Handler, HandlerError, HandlerResult},
    event::{Edit, Event, Invitation, Membership, Redaction, TypedEvent},
};

type Work = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// Begins to work on an event, or says at once that it isn't asked for (`None`) or can't be read.
pub(super) type OnEvent =
    Box<dyn Fn(&Seen<'_>) -> Result<Option<Work>, HandlerError> + Send + Sync>;

/// Works on an event before all others, and says whether it was a command and no message.
pub(super) type TakeFirst = Box<dyn Fn(&Seen<'_>) -> Option<Taking> + Send + Sync>;
type Taking = Pin<Box<dyn Future<Output = Result<bool, HandlerError>> + Send>>;

/// What takes first has numbers of its own, so that it changes none of the others'.
const FIRST_NUMBER: usize = 1_000_000;

/// An event as one handler sees it.
pub(crate) struct Seen<'a> {
    pub(crate) event: &'a Event,
    delivery: &'a Delivery,
    number: usize,
    ours: &'a OurUsers,
    /// There is a handler of edits.
    edits_apart: bool,
    /// It was a command.
    taken: bool,
}

impl Seen<'_> {
    pub(crate) fn delivery(&self) -> Delivery {
        self.delivery.for_handler(self.number)
    }

    /// Whether we said it ourselves.
    fn is_own_message(&self) -> bool {
        self.event.state_key().is_none() && self.ours.contain(self.event.sender())
    }

    fn read<E: TypedEvent>(&self) -> Result<Option<E>, HandlerError> {
        if !E::asks_for(self.event) || self.is_own_message() {
            return Ok(None);
        }
        E::read(self.event)
            .map(Some)
            .map_err(|_| HandlerError::never(format!("{} that can't be read", E::TYPE)))
    }

    /// The message, when it is one that can be read, somebody else's, and nobody has taken it yet.
    #[cfg(feature = "commands")]
    pub(crate) fn message(&self) -> Option<OriginalRoomMessageEvent> {
        (!self.taken).then(|| self.read().ok().flatten()).flatten()
    }

    /// The invitation, when it is for one of us.
    fn invitation(&self) -> Option<Invitation> {
        Invitation::of(self.event).filter(|invitation| self.ours.contain(&invitation.user_id))
    }
}

impl Handlers {
    /// Calls `handler` with each event of the type of its argument: any of [`ruma::events`], one of your
    /// own, or one of this crate's, as [`TypedEvent`] lists them.
    ///
    /// What the application service's own user and its exclusive ghosts say is left out, so that a bot
    /// can't talk to itself; what they set as state isn't. [`Handlers::on_event`] gets all. An event of
    /// that type whose content can't be read becomes a dead letter, once the other handlers have seen it.
    ///
    /// ```
    /// use matrix_appservice::{Handlers, ruma::events::{OriginalStateEvent, room::topic::RoomTopicEventContent}};
    ///
    /// Handlers::new().on(|delivery, event: OriginalStateEvent<RoomTopicEventContent>| async move {
    ///     delivery.reply(format!("So now it is about {}.", event.content.topic)).await?;
    ///     Ok(())
    /// });
    /// ```
    pub fn on<E, F, Fut>(self, handler: F) -> Self
    where
        E: TypedEvent,
        F: Fn(Delivery, E) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.add(move |seen| {
            let event = seen.read::<E>()?;
            Ok(event.map(|event| -> Work { Box::pin(handler(seen.delivery(), event)) }))
        })
    }

    /// Calls `handler` with each Matrix event, messages and state, redacted or not, also those of our
    /// own ghosts. No more than its head has been read: see [`Event::content`], [`Event::raw`].
    pub fn on_event<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.add(move |seen| {
            let work = handler(seen.delivery(), seen.event.clone());
            Ok(Some(Box::pin(work)))
        })
    }

    /// Calls `handler` with each `m.room.message` that somebody else sent: not with those of the
    /// application service's own user and of its exclusive ghosts, so a bot can't talk to itself,
    /// and not with redacted ones.
    ///
    /// Edits come as messages too, unless they have a handler of their own: see [`Handlers::on_edit`].
    pub fn on_message<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, OriginalRoomMessageEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.add(move |seen| {
            if seen.taken {
                return Ok(None);
            }
            let message = seen
                .read::<OriginalRoomMessageEvent>()?
                .filter(|message| !(seen.edits_apart && Edit::of(message).is_some()));
            Ok(message.map(|message| -> Work { Box::pin(handler(seen.delivery(), message)) }))
        })
    }

    /// Calls `handler` with each edit of a message by somebody else. Handlers of
    /// [`Handlers::on_message`] no longer get them.
    pub fn on_edit<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Edit) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.edits_apart = true;
        self.add(move |seen| {
            let message = seen.read::<OriginalRoomMessageEvent>()?;
            let edit = message.as_ref().and_then(Edit::of);
            Ok(edit.map(|edit| -> Work { Box::pin(handler(seen.delivery(), edit)) }))
        })
    }

    /// Calls `handler` with each `m.reaction` by somebody else.
    pub fn on_reaction<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, OriginalReactionEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on(handler)
    }

    /// Calls `handler` with each event that somebody else takes back or removes. The event itself may
    /// have been handled before, may never come, or may come redacted.
    pub fn on_redaction<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Redaction) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on(handler)
    }

    /// Calls `handler` with who comes and goes, our own users too, and with changes of names and
    /// pictures.
    pub fn on_membership<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Membership) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on(handler)
    }

    /// Calls `handler` with each invitation to the application service's own user and its exclusive
    /// ghosts. It may be out of date: the inviter can have taken it back meanwhile.
    pub fn on_invitation<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Invitation) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.add(move |seen| {
            let invitation = seen.invitation();
            Ok(invitation
                .map(|invitation| -> Work { Box::pin(handler(seen.delivery(), invitation)) }))
        })
    }

    /// Accepts each invitation to the application service's own user and its exclusive ghosts.
    pub fn accept_invitations(self) -> Self {
        self.on_invitation(|delivery, invitation| async move {
            let room = &invitation.room_id;
            match delivery.intent(&invitation.user_id).join(room).await {
                // It is pushed before the inviting homeserver has stored it: we can be too fast.
                Err(error) if error.is("M_FORBIDDEN") && delivery.age() < INVITATION_SETTLES => {
                    Err(HandlerError::after(
                        "the invitation is not known yet",
                        INVITATION_PAUSE,
                    ))
                }
                Err(error) if error.is("M_FORBIDDEN") => {
                    tracing::info!(%room, "an invitation was withdrawn before it was accepted");
                    Ok(())
                }
                other => Ok(other?),
            }
        })
    }

    #[cfg(feature = "commands")]
    pub(crate) fn take_first(
        mut self,
        handler: impl Fn(&Seen<'_>) -> Option<Taking> + Send + Sync + 'static,
    ) -> Self {
        self.first.push(Box::new(handler));
        self
    }

    fn add(
        mut self,
        handler: impl Fn(&Seen<'_>) -> Result<Option<Work>, HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.events.push(Box::new(handler));
        self
    }
}

/// How long a homeserver elsewhere may take to store an invitation that it has sent.
const INVITATION_SETTLES: Duration = Duration::from_secs(10);
const INVITATION_PAUSE: Duration = Duration::from_millis(500);

/// Calls the handlers of events in the order in which they were added.
pub(super) struct Events(Arc<Inner>);

struct Inner {
    first: Vec<TakeFirst>,
    handlers: Vec<OnEvent>,
    edits_apart: bool,
    ours: Arc<OurUsers>,
}

impl Events {
    pub(super) fn new(
        first: Vec<TakeFirst>,
        handlers: Vec<OnEvent>,
        edits_apart: bool,
        ours: Arc<OurUsers>,
    ) -> Self {
        Self(Arc::new(Inner {
            first,
            handlers,
            edits_apart,
            ours,
        }))
    }
}

impl Handler for Events {
    fn handle(&self, delivery: Delivery) -> Work {
        let this = self.0.clone();
        Box::pin(async move { this.handle(&delivery).await })
    }
}

impl Inner {
    async fn handle(&self, delivery: &Delivery) -> HandlerResult {
        if self.handlers.is_empty() && self.first.is_empty() {
            return Ok(());
        }
        // Once for all handlers; what none of them asks for is read no further.
        let event = delivery
            .event()
            .ok_or_else(|| HandlerError::never("event without sender or type"))?;
        let seen = |number, taken| Seen {
            event,
            delivery,
            number,
            ours: &self.ours,
            edits_apart: self.edits_apart,
            taken,
        };
        let mut taken = false;
        for (number, take) in self.first.iter().enumerate() {
            if let Some(taking) = take(&seen(FIRST_NUMBER + number, taken)) {
                taken |= taking.await?;
            }
        }
        let mut unreadable = None;
        for (number, handler) in self.handlers.iter().enumerate() {
            match handler(&seen(number, taken)) {
                Ok(None) => {}
                Ok(Some(work)) => work.await?,
                // The others may well be able to read it.
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        unreadable.map_or(Ok(()), Err)
    }
}
