//! Events as types: those of ruma, and one's own.

use ruma::events::{
    BooleanType, MessageLikeEvent, MessageLikeEventContent, OriginalMessageLikeEvent,
    OriginalStateEvent, RedactContent, RedactedMessageLikeEvent, RedactedMessageLikeEventContent,
    RedactedStateEvent, RedactedStateEventContent, StateEvent, StaticEventContent,
    StaticStateEventContent, TimelineEventType, room::redaction::OriginalRoomRedactionEvent,
};
use serde::de::DeserializeOwned;

use super::{Event, Redaction};

/// What a handler of [`Handlers::on`](crate::Handlers::on) asks for by the type of its argument.
///
/// | type | events |
/// | --- | --- |
/// | [`OriginalMessageLikeEvent<C>`] | message-like events with this content |
/// | [`RedactedMessageLikeEvent`], [`MessageLikeEvent<C>`] | those that were redacted before they got here, and both |
/// | [`OriginalStateEvent<C>`], [`RedactedStateEvent`], [`StateEvent<C>`] | the same for state |
/// | [`OriginalRoomRedactionEvent`] | `m.room.redaction`, which ruma treats apart |
/// | [`Redaction`], [`Membership`](super::Membership) | as their pages say |
///
/// What has a `state_key` is state, whatever its type; what has none is message-like. Contents are
/// those of [`ruma::events`], or types of your own with ruma's derive macro:
///
/// ```
/// use matrix_appservice::{Handlers, ruma::events::macros::EventContent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Deserialize, Serialize, EventContent)]
/// #[ruma_event(type = "com.example.ticket", kind = MessageLike)]
/// struct TicketEventContent {
///     number: u64,
/// }
///
/// // The macro names `OriginalTicketEvent` after the content.
/// Handlers::new().on(|delivery, event: OriginalTicketEvent| async move {
///     delivery.reply(format!("Ticket {} is on its way.", event.content.number)).await?;
///     Ok(())
/// });
/// ```
///
/// The macro needs `ruma` among your own crate's dependencies, of the version of
/// [`matrix_appservice::ruma`](crate::ruma), and `#![allow(unexpected_cfgs)]` spares you a warning about a
/// `cfg` of its own. Implement the trait to read an event in any other way.
pub trait TypedEvent: Sized + Send + 'static {
    /// The type of the events, such as `m.room.topic`: for logs.
    const TYPE: &'static str;

    /// Whether an event is one of these, judged by its head.
    fn asks_for(event: &Event) -> bool;

    /// Reads an event that was asked for.
    ///
    /// # Errors
    ///
    /// When it can't be read as such: then it becomes a dead letter.
    fn read(event: &Event) -> serde_json::Result<Self>;
}

/// Whether the event's type is that of the content, by its name or by one that a proposal gave it.
fn is_of<C: StaticEventContent>(event: &Event) -> bool {
    let kind = event.kind();
    kind == C::TYPE
        || (C::IsPrefix::as_bool() && kind.starts_with(C::TYPE))
        || TimelineEventType::from(kind) == TimelineEventType::from(C::TYPE)
}

fn is_message<C: StaticEventContent>(event: &Event) -> bool {
    event.state_key().is_none() && is_of::<C>(event)
}

fn is_state<C: StaticEventContent>(event: &Event) -> bool {
    event.state_key().is_some() && is_of::<C>(event)
}

impl<C> TypedEvent for OriginalMessageLikeEvent<C>
where
    C: MessageLikeEventContent + StaticEventContent,
    Self: DeserializeOwned + Send + 'static,
{
    const TYPE: &'static str = C::TYPE;

    fn asks_for(event: &Event) -> bool {
        is_message::<C>(event) && !event.is_redacted()
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        event.read()
    }
}

impl<C> TypedEvent for RedactedMessageLikeEvent<C>
where
    C: RedactedMessageLikeEventContent + StaticEventContent,
    Self: DeserializeOwned + Send + 'static,
{
    const TYPE: &'static str = C::TYPE;

    fn asks_for(event: &Event) -> bool {
        is_message::<C>(event) && event.is_redacted()
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        event.read()
    }
}

impl<C> TypedEvent for MessageLikeEvent<C>
where
    C: MessageLikeEventContent + StaticEventContent + RedactContent,
    C::Redacted: RedactedMessageLikeEventContent,
    Self: DeserializeOwned + Send + 'static,
{
    const TYPE: &'static str = C::TYPE;

    fn asks_for(event: &Event) -> bool {
        is_message::<C>(event)
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        event.read()
    }
}

impl<C> TypedEvent for OriginalStateEvent<C>
where
    C: StaticStateEventContent + StaticEventContent,
    Self: DeserializeOwned + Send + 'static,
{
    const TYPE: &'static str = C::TYPE;

    fn asks_for(event: &Event) -> bool {
        is_state::<C>(event) && !event.is_redacted()
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        event.read()
    }
}

impl<C> TypedEvent for RedactedStateEvent<C>
where
    C: RedactedStateEventContent + StaticEventContent,
    Self: DeserializeOwned + Send + 'static,
{
    const TYPE: &'static str = C::TYPE;

    fn asks_for(event: &Event) -> bool {
        is_state::<C>(event) && event.is_redacted()
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        event.read()
    }
}

impl<C> TypedEvent for StateEvent<C>
where
    C: StaticStateEventContent + StaticEventContent + RedactContent,
    C::Redacted: RedactedStateEventContent,
    Self: DeserializeOwned + Send + 'static,
{
    const TYPE: &'static str = C::TYPE;

    fn asks_for(event: &Event) -> bool {
        is_state::<C>(event)
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        event.read()
    }
}

impl TypedEvent for OriginalRoomRedactionEvent {
    const TYPE: &'static str = "m.room.redaction";

    fn asks_for(event: &Event) -> bool {
        Redaction::asks_for(event)
    }

    fn read(event: &Event) -> serde_json::Result<Self> {
        event.read()
    }
}
