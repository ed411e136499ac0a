//! Handlers: what an application does with what comes in, by source.

mod events;
mod ours;
mod pushed;
mod reply;

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::Arc,
};

use self::events::{Events, OnEvent, TakeFirst};
pub(crate) use self::ours::OurUsers;
use crate::{
    dispatch::{Delivery, Handler, HandlerResult, Sources},
    journal::MATRIX,
};

/// The name of a reader: who works the journal off with a progress of its own.
pub(crate) type ReaderName = String;
/// All readers.
pub(crate) type Readers = BTreeMap<ReaderName, Arc<Sources>>;

/// The name of the reader that the handlers of a [`Builder`](crate::Builder) belong to.
pub(crate) const DEFAULT_READER: &str = "";

/// What an application does with what comes in: a set of handlers.
///
/// Handlers of the same thing are called one after another, in the order in which they were added.
/// When one fails, the entry is tried again later, and all are called again: each effect has to be one
/// that can be repeated, as those of an [`Intent`](crate::Intent) are.
///
/// Handlers share what they capture; the [`Delivery`] that each gets is the means to act:
///
/// ```
/// use std::{collections::HashSet, sync::{Arc, Mutex}};
/// use matrix_appservice::Handlers;
///
/// let greeted: Arc<Mutex<HashSet<_>>> = Arc::default();
/// Handlers::new().on_message(move |delivery, event| {
///     let greeted = greeted.clone();
///     async move {
///         let is_new = greeted.lock().is_ok_and(|greeted| !greeted.contains(&event.sender));
///         if is_new {
///             delivery.reply("Good morning!").await?;
///             // Only now: had the reply failed, it would be tried again, and must not find it done.
///             if let Ok(mut greeted) = greeted.lock() {
///                 greeted.insert(event.sender);
///             }
///         }
///         Ok(())
///     }
/// });
/// ```
///
/// A [`Builder`](crate::Builder) has the same methods.
#[derive(Default)]
#[must_use]
pub struct Handlers {
    first: Vec<TakeFirst>,
    events: Vec<OnEvent>,
    edits_apart: bool,
    /// Handlers of what is pushed besides events, by source.
    pushed: HashMap<&'static str, Vec<Arc<dyn Handler>>>,
    entries: Sources,
}

impl Handlers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// These, and behind them `others`.
    pub fn and(mut self, others: Self) -> Self {
        self.first.extend(others.first);
        self.events.extend(others.events);
        self.edits_apart |= others.edits_apart;
        for (source, handlers) in others.pushed {
            self.pushed.entry(source).or_default().extend(handlers);
        }
        self.entries.extend(others.entries);
        self
    }

    /// Calls `handler` with each entry that the application itself appends under the name `source`
    /// (see [`Journal::append`](crate::Journal::append)); no name that begins with `matrix`. A second
    /// handler of the same source takes the first one's place.
    pub fn on_entry<F, Fut>(mut self, source: &str, handler: F) -> Self
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.entries.insert(source.to_owned(), Arc::new(handler));
        self
    }

    /// One handler for each source that there is a handler for.
    pub(crate) fn into_named_sources(self, ours: Arc<OurUsers>) -> Sources {
        let asks_for_events = !self.events.is_empty() || !self.first.is_empty();
        let mut sources = self.into_sources(ours);
        if !asks_for_events {
            sources.remove(MATRIX);
        }
        sources
    }

    /// One handler for each source, and one for events in any case.
    pub(crate) fn into_sources(self, ours: Arc<OurUsers>) -> Sources {
        let mut sources = self.entries;
        let events: Arc<dyn Handler> =
            Arc::new(Events::new(self.first, self.events, self.edits_apart, ours));
        sources.insert(MATRIX.to_owned(), events);
        for (source, handlers) in self.pushed {
            sources.insert(source.to_owned(), pushed::one_after_another(handlers));
        }
        sources
    }
}
