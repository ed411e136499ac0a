//! Handlers of what is pushed besides events, and what is taken in at all.

use std::{future::Future, sync::Arc, time::Duration};

use ruma::RoomId;
use serde::de::DeserializeOwned;

use super::Builder;
use crate::{
    device::{DeviceLists, KeyCounts, ToDevice},
    dispatch::{Delivery, HandlerError, HandlerResult},
    ephemeral::{Presence, Receipt, Typing},
    journal::{DEVICE_LISTS, KEY_COUNTS, PRESENCE, RECEIPT, TO_DEVICE, TYPING},
    thirdparty::ThirdParty,
};

/// Ephemeral events and what encryption needs. Handlers of the same thing are called in the order in
/// which they were added; when one fails, all are called again later.
///
/// Ephemeral events come when the registration has `receive_ephemeral: true` (before Synapse 1.156:
/// `de.sorunome.msc2409.push_ephemeral: true`). The homeserver sends each only once, never again
/// after a failure. They have workers of their own, a quarter of [`Builder::parallel_lanes`], so
/// that events never wait for them, and are not in order with events. **The latest counts**: one that
/// waits, or is to be tried again, goes when a newer one takes its place. One that fails for good is
/// given up, not a dead letter. Those that nobody handles, and those that can't be read, are not
/// stored.
impl Builder {
    /// Calls `handler` with who types in a room, whenever that changes. The latest counts for each
    /// room. After an outage it may be long out of date: see [`Entry::received_at`].
    ///
    /// [`Entry::received_at`]: crate::Entry::received_at
    #[must_use]
    pub fn on_typing<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Typing) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(TYPING, handler)
    }

    /// Calls `handler` with each receipt, one at a time for each user in a room, in order. The latest
    /// counts for each user, thread and room, and for each event where the receipt names no thread.
    /// When the registration begins to ask for them, Synapse may send those of years.
    #[must_use]
    pub fn on_receipt<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Receipt) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(RECEIPT, handler)
    }

    /// Calls `handler` with who is there, whenever that changes: often. The latest counts for each
    /// user.
    #[must_use]
    pub fn on_presence<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Presence) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(PRESENCE, handler)
    }

    /// Calls `handler` with each message to a device of one of our users, in order for each device.
    /// None is lost: what came while there was no handler is kept and comes first, and one that fails
    /// for good becomes a dead letter. A message that comes again (with the `org.matrix.msgid` that
    /// clients give them, or in a transaction that is repeated) is handled once.
    ///
    /// [MSC4203](https://github.com/matrix-org/matrix-spec-proposals/pull/4203)
    #[must_use]
    pub fn on_to_device<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, ToDevice) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_pushed(TO_DEVICE, move |delivery: Delivery| {
            let handler = handler.clone();
            async move {
                let message = ToDevice::parse(&delivery.entry().payload).map_err(|_| {
                    HandlerError::never("to-device message without sender, receiver or type")
                })?;
                handler(delivery, message).await
            }
        })
    }

    /// Calls `handler` with whose devices changed. What came while it was at work, or while there was
    /// no handler, is put together into one call; a user may be named again whose change has already
    /// been seen. One that fails for good becomes a dead letter, and is part of the next call.
    ///
    /// [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202)
    #[must_use]
    pub fn on_device_lists<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, DeviceLists) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(DEVICE_LISTS, handler)
    }

    /// Calls `handler` with the keys that a device of one of our users has left. The latest counts for
    /// each device, also of what came while there was no handler.
    ///
    /// [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202)
    #[must_use]
    pub fn on_key_counts<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, KeyCounts) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(KEY_COUNTS, handler)
    }

    /// Answers the homeserver's questions about third-party networks. Default: nothing is found.
    #[must_use]
    pub fn third_party(mut self, third_party: impl ThirdParty) -> Self {
        self.third_party = Some(Arc::new(third_party));
        self
    }

    /// How long the application may take to answer a query about a user, a room or a third-party
    /// network. Default: 20 s. The homeserver delivers nothing while it waits for a user's, and gives
    /// up after 60 s.
    #[must_use]
    pub fn query_timeout(mut self, timeout: Duration) -> Self {
        self.query_timeout = timeout;
        self
    }

    /// Stores what happens in rooms that `wanted` says yes to, and nothing of the others: neither
    /// their events nor who types or has read what there. Default: all rooms.
    ///
    /// What isn't stored is gone: the homeserver has its acknowledgement and doesn't send it again
    /// when the room is wanted later. Stored in any case are membership events of the application
    /// service's own user and its exclusive ghosts (an invitation is the way into a room that isn't
    /// wanted yet), presence, and what encryption needs. A transaction is on disk as a whole until it
    /// has been looked through, right behind its acknowledgement.
    ///
    /// `wanted` is asked once for each room of a transaction, between the acknowledgement and the
    /// handlers, and holds all rooms up while it thinks: let it look into memory, not into a database.
    /// It must know the application's rooms before [`AppService::run`](crate::AppService::run). When it
    /// panics, the room is stored.
    #[must_use]
    pub fn only_rooms<F>(mut self, wanted: F) -> Self
    where
        F: Fn(&RoomId) -> bool + Send + Sync + 'static,
    {
        self.wanted = Some(Arc::new(wanted));
        self
    }

    fn on_json<T, F, Fut>(self, source: &'static str, handler: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        F: Fn(Delivery, T) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_pushed(source, move |delivery: Delivery| {
            let handler = handler.clone();
            async move {
                let value = serde_json::from_slice(&delivery.entry().payload)
                    .map_err(|_| HandlerError::never("entry that can't be read"))?;
                handler(delivery, value).await
            }
        })
    }

    fn on_pushed<F, Fut>(mut self, source: &'static str, handler: F) -> Self
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let handlers = self.pushed.entry(source).or_default();
        handlers.push(Arc::new(handler));
        self
    }
}
