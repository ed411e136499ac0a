//! An entry on its way to a handler.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use ruma::{RoomId, UserId};

use super::Work;
use crate::{
    client::Client,
    event::Event,
    intent::{Before, Intent, Scope},
    journal::{Entry, MATRIX, now_ms},
};

/// An entry, delivered to a handler, and the means to act on it.
///
/// Intents taken from a delivery derive their transaction ids from the entry, so that a handler that
/// runs again repeats nothing that the homeserver has already done. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Delivery {
    entry: Arc<Entry>,
    client: Client,
    scope: Arc<Scope>,
    /// Read once for all handlers.
    event: Arc<OnceLock<Option<Event>>>,
}

impl Delivery {
    pub(crate) fn new(entry: Arc<Entry>, client: Client, before: Arc<Before>) -> Self {
        let scope = Scope::new(Work::Entry(entry.clone()), before);
        Self {
            entry,
            client,
            scope: Arc::new(scope),
            event: Arc::default(),
        }
    }

    /// The same delivery for the handler with this number: each counts its own sends, so that what
    /// one handler leaves out when it runs again doesn't change the ids of the next one's.
    pub(crate) fn for_handler(&self, number: usize) -> Self {
        let work = Work::Handler(self.entry.clone(), number);
        Self {
            entry: self.entry.clone(),
            client: self.client.clone(),
            scope: Arc::new(Scope::new(work, self.scope.before().clone())),
            event: self.event.clone(),
        }
    }

    /// The same delivery for one part of the work on it, which counts its own sends: what the other
    /// parts send or leave out, when the handler runs again and finds another state of things, doesn't
    /// change the ids of this one's. The name has to be the same each time and must not be used by
    /// another part.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        Self {
            scope: Arc::new(self.scope.part(name)),
            ..self.clone()
        }
    }

    /// What stands in the journal.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// An id for this piece of work, to find it by in logs and records: 16 hexadecimal digits, the same when a
    /// handler runs again, also after a restart, and others for each entry and each reader. (An entry's own id may
    /// come again after a restart.) It tells nothing of the entry.
    #[must_use]
    pub fn work_id(&self) -> String {
        Work::Entry(self.entry.clone()).id()
    }

    /// How long ago the entry was stored.
    #[must_use]
    pub fn age(&self) -> Duration {
        let ms = now_ms().saturating_sub(self.entry.received_at);
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }

    /// Whether a handler may have begun with this entry before: it failed, or the process was
    /// restarted while it waited, unless one before it in its lane has turned out not to have been handled.
    #[must_use]
    pub fn may_be_repeat(&self) -> bool {
        self.scope.may_be_repeat()
    }

    /// The Matrix event, where the entry is one.
    #[must_use]
    pub fn event(&self) -> Option<&Event> {
        let read = || {
            (self.entry.source == MATRIX)
                .then(|| Event::read_head(self.entry.payload.clone()).ok())
                .flatten()
        };
        self.event.get_or_init(read).as_ref()
    }

    /// The room of the Matrix event, where the entry is one.
    #[must_use]
    pub fn room_id(&self) -> Option<&RoomId> {
        self.event().map(Event::room_id)
    }

    /// Who sent the Matrix event, where the entry is one.
    #[must_use]
    pub fn sender(&self) -> Option<&UserId> {
        self.event().map(Event::sender)
    }

    /// Acts as `user`, who is the application service's own user or one of its ghosts.
    #[must_use]
    pub fn intent(&self, user: &UserId) -> Intent {
        Intent::new(self.client.clone(), user.to_owned(), self.scope.clone())
    }

    #[cfg(test)]
    pub(crate) fn next_transaction_id(&self, room: &RoomId) -> ruma::OwnedTransactionId {
        self.scope.next_transaction_id(self.client.sender(), room)
    }

    /// Acts as the application service's own user.
    #[must_use]
    pub fn bot(&self) -> Intent {
        self.intent(self.client.sender())
    }
}
