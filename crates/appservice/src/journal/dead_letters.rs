//! What nobody could handle, until a person decides.

use std::sync::Arc;

use super::{DeadLetter, Journal, JournalError, lock, uncancelled};
use crate::store::Queue;

impl Journal {
    /// Dead letters with an id above `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// When the database can't be read.
    pub async fn dead_letters(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, JournalError> {
        self.settle_all().await?;
        self.0.store.dead_letters(after, limit).await
    }

    /// A dead letter and what it holds; `None` when there is none with this id. The payload is what
    /// somebody wrote: show it to those only who may read it.
    ///
    /// # Errors
    ///
    /// When the database can't be read.
    pub async fn dead_letter(
        &self,
        id: i64,
    ) -> Result<Option<(DeadLetter, Arc<[u8]>)>, JournalError> {
        self.0.store.dead_letter(id).await
    }

    /// Puts a dead letter back at the end of its lane, with a fresh budget of attempts and a new id.
    /// Returns whether there was one.
    ///
    /// # Errors
    ///
    /// When the database can't be written.
    pub async fn retry_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        let this = self.clone();
        uncancelled(async move {
            let (new_id, marks) = {
                let mut feeds = lock(&this.0.feeds);
                let new_id = feeds.ids(1);
                let each = feeds.storing(Queue::Each, new_id);
                (new_id, [each, feeds.storing(Queue::Latest, new_id)])
            };
            let there = this.0.store.retry_dead_letter(id, new_id).await;
            let mut feeds = lock(&this.0.feeds);
            for mark in marks {
                feeds.stored(mark);
            }
            there
        })
        .await
    }

    /// Gives a dead letter up: its payload is erased, its key stays. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// When the database can't be written.
    pub async fn skip_dead_letter(&self, id: i64) -> Result<bool, JournalError> {
        self.0.store.skip_dead_letter(id).await
    }
}
