//! Handlers of events: messages and state.

use std::{future::Future, pin::Pin, sync::Arc};

use ruma::events::room::message::OriginalRoomMessageEvent;

use super::{Handlers, OurUsers};
use crate::{
    dispatch::{Delivery, Handler, HandlerError, HandlerResult},
    event::Event,
};

type Work = Pin<Box<dyn Future<Output = HandlerResult> + Send>>;

/// Begins to work on an event, or says at once that it isn't asked for (`None`) or can't be read.
pub(super) type OnEvent =
    Box<dyn Fn(&Delivery, &Event, &OurUsers) -> Result<Option<Work>, HandlerError> + Send + Sync>;

impl Handlers {
    /// Calls `handler` with each Matrix event, messages and state, also those of our own ghosts.
    pub fn on_event<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.events.push(Box::new(move |delivery, event, _| {
            Ok(Some(Box::pin(handler(delivery.clone(), event.clone()))))
        }));
        self
    }

    /// Calls `handler` with each `m.room.message` that somebody else sent: not with those of the
    /// application service's own user and of its exclusive ghosts, so a bot can't talk to itself,
    /// and not with redacted ones.
    pub fn on_message<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, OriginalRoomMessageEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.events.push(Box::new(move |delivery, event, ours| {
            if ours.contain(event.sender()) {
                return Ok(None);
            }
            let message = event
                .message()
                .map_err(|_| HandlerError::never("m.room.message with a content that is none"))?;
            Ok(message.map(|message| -> Work { Box::pin(handler(delivery.clone(), message)) }))
        }));
        self
    }

    /// Accepts each invitation to the application service's own user and its exclusive ghosts.
    pub fn accept_invitations(mut self) -> Self {
        self.events.push(Box::new(|delivery, event, ours| {
            let invited = event.invited_user().filter(|user| ours.contain(user));
            let (delivery, room) = (delivery.clone(), event.room_id().to_owned());
            Ok(invited.map(|user| -> Work {
                Box::pin(async move {
                    match delivery.intent(&user).join(&room).await {
                        Err(error) if error.is("M_FORBIDDEN") => {
                            tracing::info!(%room, "an invitation was withdrawn before it was accepted");
                            Ok(())
                        }
                        other => Ok(other?),
                    }
                })
            }))
        }));
        self
    }
}

/// Calls the handlers of events in the order in which they were added.
pub(super) struct Events {
    handlers: Arc<[OnEvent]>,
    ours: Arc<OurUsers>,
}

impl Events {
    pub(super) fn new(handlers: Vec<OnEvent>, ours: Arc<OurUsers>) -> Self {
        Self {
            handlers: handlers.into(),
            ours,
        }
    }
}

impl Handler for Events {
    fn handle(&self, delivery: Delivery) -> Work {
        let (handlers, ours) = (self.handlers.clone(), self.ours.clone());
        Box::pin(async move {
            if handlers.is_empty() {
                return Ok(());
            }
            // Once for all handlers; what none of them asks for is read no further.
            let event = delivery
                .event()
                .ok_or_else(|| HandlerError::never("event without sender or type"))?;
            let mut unreadable = None;
            for (number, handler) in handlers.iter().enumerate() {
                match handler(&delivery.for_handler(number), &event, &ours) {
                    Ok(None) => {}
                    Ok(Some(work)) => work.await?,
                    // The others may well be able to read it.
                    Err(error) => unreadable = unreadable.or(Some(error)),
                }
            }
            unreadable.map_or(Ok(()), Err)
        })
    }
}
