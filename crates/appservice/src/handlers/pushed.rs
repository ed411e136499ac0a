//! Handlers of what is pushed besides events: what passes, and what encryption needs.

use std::{future::Future, sync::Arc};

use serde::de::DeserializeOwned;

use super::Handlers;
use crate::{
    device::{DeviceLists, KeyCounts, ToDevice},
    dispatch::{Delivery, Handler, HandlerError, HandlerResult},
    ephemeral::{Presence, Receipt, Typing},
    journal::{DEVICE_LISTS, KEY_COUNTS, PRESENCE, RECEIPT, TO_DEVICE, TYPING},
};

/// Ephemeral events and what encryption needs.
///
/// Ephemeral events come when the registration has `receive_ephemeral: true` (before Synapse 1.156:
/// `de.sorunome.msc2409.push_ephemeral: true`). The homeserver sends each only once, never again
/// after a failure. They have workers of their own, a quarter of [`Builder::parallel_lanes`](crate::Builder::parallel_lanes), so
/// that events never wait for them, and are not in order with events. **The latest counts**: one that
/// waits, or is to be tried again, goes when a newer one takes its place. One that fails for good is
/// given up, not a dead letter. Those that nobody handles, and those that can't be read, are not
/// stored.
impl Handlers {
    /// Calls `handler` with who types in a room, whenever that changes. The latest counts for each
    /// room. After an outage it may be long out of date: see [`Entry::received_at`].
    ///
    /// [`Entry::received_at`]: crate::Entry::received_at
    pub fn on_typing<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Typing) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(TYPING, handler)
    }

    /// Calls `handler` with each receipt, one at a time for each user in a room, in order. The latest
    /// counts for each user, thread and room, and for each event where the receipt names no thread.
    /// When the registration begins to ask for them, Synapse may send those of years.
    pub fn on_receipt<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Receipt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(RECEIPT, handler)
    }

    /// Calls `handler` with who is there, whenever that changes: often. The latest counts for each
    /// user.
    pub fn on_presence<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, Presence) -> Fut + Send + Sync + 'static,
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
    pub fn on_to_device<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, ToDevice) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_read(TO_DEVICE, handler, |payload| {
            ToDevice::parse(payload).map_err(|_| {
                HandlerError::never("to-device message without sender, receiver or type")
            })
        })
    }

    /// Calls `handler` with whose devices changed. What came while it was at work, or while there was
    /// no handler, is put together into one call; a user may be named again whose change has already
    /// been seen. One that fails for good becomes a dead letter, and is part of the next call.
    ///
    /// [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202)
    pub fn on_device_lists<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, DeviceLists) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(DEVICE_LISTS, handler)
    }

    /// Calls `handler` with the keys that a device of one of our users has left. The latest counts for
    /// each device, also of what came while there was no handler.
    ///
    /// [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202)
    pub fn on_key_counts<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, KeyCounts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_json(KEY_COUNTS, handler)
    }

    fn on_json<T, F, Fut>(self, source: &'static str, handler: F) -> Self
    where
        T: DeserializeOwned + 'static,
        F: Fn(Delivery, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.on_read(source, handler, |payload| {
            serde_json::from_slice(payload)
                .map_err(|_| HandlerError::never("entry that can't be read"))
        })
    }

    fn on_read<T, F, Fut>(
        mut self,
        source: &'static str,
        handler: F,
        read: fn(&[u8]) -> Result<T, HandlerError>,
    ) -> Self
    where
        T: 'static,
        F: Fn(Delivery, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let handler = move |delivery: Delivery| {
            let work = read(&delivery.entry().payload).map(|value| handler(delivery, value));
            async move { work?.await }
        };
        self.pushed
            .entry(source)
            .or_default()
            .push(Arc::new(handler));
        self
    }
}

/// Calls handlers in the order in which they were added.
pub(super) fn one_after_another(handlers: Vec<Arc<dyn Handler>>) -> Arc<dyn Handler> {
    let handlers = Arc::new(handlers);
    Arc::new(move |delivery: Delivery| {
        let handlers = handlers.clone();
        async move {
            for (number, handler) in handlers.iter().enumerate() {
                handler.handle(delivery.for_handler(number)).await?;
            }
            Ok(())
        }
    })
}
