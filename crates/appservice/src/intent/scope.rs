//! Where transaction ids come from.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ruma::{OwnedRoomId, OwnedTransactionId, OwnedUserId, RoomId, UserId};
use sha2::{Digest, Sha256};

use crate::dispatch::{Ordinals, Work, next_ordinal};

/// What is known of an earlier run of the same work; shared by all parts of it.
#[derive(Debug)]
pub(crate) struct Before {
    may_be: bool,
    nothing: AtomicBool,
}

impl Before {
    pub(crate) fn new(may_be: bool) -> Self {
        Self {
            may_be,
            nothing: AtomicBool::new(false),
        }
    }

    /// Whether there may have been one.
    pub(crate) fn may_be(&self) -> bool {
        self.may_be
    }

    /// It was looked for what it should have sent, and that isn't there.
    pub(crate) fn sent_nothing(&self) {
        self.nothing.store(true, Ordering::Relaxed);
    }

    /// Whether it surely did not come to its end.
    pub(crate) fn had_no_end(&self) -> bool {
        self.nothing.load(Ordering::Relaxed)
    }
}

/// The piece of work that a send belongs to. The same work, run again, gets the same ids.
#[derive(Debug)]
pub(crate) struct Scope {
    work: Work,
    before: Arc<Before>,
    ordinals: Ordinals,
    /// Who was taken for joined, from memory, and where.
    trusted: Mutex<HashSet<(OwnedUserId, OwnedRoomId)>>,
}

impl Scope {
    pub(crate) fn new(work: Work, before: Arc<Before>) -> Self {
        Self {
            work,
            before,
            ordinals: Mutex::default(),
            trusted: Mutex::default(),
        }
    }

    /// Work that has a name of its own, and may have been begun before.
    pub(crate) fn named(name: String) -> Self {
        Self::new(Work::Named(name), Arc::new(Before::new(true)))
    }

    /// A part of this work, with ids of its own.
    pub(crate) fn part(&self, name: &str) -> Self {
        let name = format!("{}\0part\0{name}", self.work.name());
        Self::new(Work::Named(name), self.before.clone())
    }

    pub(crate) fn may_be_repeat(&self) -> bool {
        self.before.may_be()
    }

    pub(crate) fn before(&self) -> &Arc<Before> {
        &self.before
    }

    /// `user` was taken for joined, from memory.
    pub(crate) fn trust(&self, user: &UserId, room: &RoomId) {
        self.trusted().insert((user.to_owned(), room.to_owned()));
    }

    /// Takes that back; whether there was something to be taken back.
    pub(crate) fn doubt(&self, user: &UserId, room: &RoomId) -> bool {
        self.trusted().remove(&(user.to_owned(), room.to_owned()))
    }

    fn trusted(&self) -> MutexGuard<'_, HashSet<(OwnedUserId, OwnedRoomId)>> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark of the next room that `user` makes.
    pub(crate) fn next_room(&self, user: &UserId) -> OwnedTransactionId {
        // No room has this id.
        self.next_transaction_id(user, ruma::room_id!("!createRoom"))
    }

    /// The id of the next send of `user` in `room`.
    ///
    /// Homeservers keep transaction ids for the whole application service, not for each ghost (two
    /// ghosts with the same id: the second one's message is lost), so the user is part of it.
    pub(crate) fn next_transaction_id(&self, user: &UserId, room: &RoomId) -> OwnedTransactionId {
        let ordinal = next_ordinal(&self.ordinals, user, room);
        let mut hash = Sha256::new();
        for part in [&*self.work.name(), user.as_str(), room.as_str()] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.update(ordinal.to_be_bytes());
        URL_SAFE_NO_PAD.encode(&hash.finalize()[..24]).into()
    }
}

#[cfg(test)]
mod tests {
    use ruma::{room_id, user_id};

    use super::*;

    #[test]
    fn the_same_work_run_again_gets_the_same_ids() {
        let room = room_id!("!room:vvt");
        let ids = |scope: &Scope| {
            [user_id!("@a:vvt"), user_id!("@b:vvt"), user_id!("@a:vvt")]
                .map(|user| scope.next_transaction_id(user, room))
        };
        let scope = |name: &str, again| {
            Scope::new(Work::Named(name.to_owned()), Arc::new(Before::new(again)))
        };
        let first = ids(&scope("matrix\0$1", false));
        let again = ids(&scope("matrix\0$1", true));
        let other = ids(&scope("matrix\0$2", false));
        assert_eq!(first, again);
        let [one, two] = ["1", "2"].map(|part| ids(&scope("matrix\0$1", false).part(part)));
        assert_eq!(one, ids(&scope("matrix\0$1", true).part("1")));
        let mut all = [first, other, one, two].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 12, "each send has an id of its own");
    }
}
