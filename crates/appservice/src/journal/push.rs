//! What a homeserver pushes, into the journal before it is answered.

use std::sync::{Arc, atomic::Ordering};

use axum::body::Bytes;
use tokio::sync::oneshot;

use super::{
    Journal, JournalError,
    inbox::Fresh,
    intake::Intake,
    lock, now_ms,
    split::{self, BadBody},
};
use crate::store::Settlement;

/// Why a transaction was not taken.
#[derive(Debug)]
pub(crate) enum PushError {
    Bad(BadBody),
    NotStored(JournalError),
    /// A fault of ours. The transaction may be stored; the homeserver sends it again.
    Panicked,
}

impl Journal {
    /// Stores a homeserver's transaction as it came, and takes it apart meanwhile. It is durable when
    /// this returns.
    pub(crate) async fn push(
        &self,
        txn_id: String,
        body: Bytes,
        intake: Arc<Intake>,
    ) -> Result<(), PushError> {
        let this = self.clone();
        let (done, pushed) = oneshot::channel();
        // In a task of its own: a homeserver that hangs up must not leave behind a transaction that is
        // stored and that nobody knows of.
        tokio::spawn(async move {
            let _way = this.0.way.take();
            let _ = done.send(this.push_now(&txn_id, &body, &intake).await);
            // The answer first. Handlers that are woken before it take its place on the processor: a homeserver
            // would wait for all of a large transaction to be handled.
            tokio::task::yield_now().await;
            this.0.pushed.notify_one();
        });
        pushed.await.unwrap_or_else(|_| {
            lock(&self.0.inbox).put_back();
            self.0.pushed.notify_one();
            Err(PushError::Panicked)
        })
    }

    async fn push_now(&self, txn_id: &str, body: &Bytes, intake: &Intake) -> Result<(), PushError> {
        let _turn = self.0.push_turn.lock().await;
        let received_at = now_ms();
        // The database works in a thread of its own.
        let (stored, split) = tokio::join!(self.0.store.push(txn_id, body, received_at), async {
            split::split(txn_id, body, intake)
        });
        let id = stored.map_err(PushError::NotStored)?;
        self.0.pushed_at.store(received_at, Ordering::Relaxed);
        match split {
            Ok(split) => {
                let fresh = Fresh {
                    id,
                    received_at,
                    split,
                };
                lock(&self.0.inbox).push(fresh);
                Ok(())
            }
            Err(bad) => {
                let settlement = Settlement {
                    now: received_at,
                    transactions: vec![id],
                    ..Settlement::default()
                };
                // If that fails it is looked at again after the next start, and nothing is in it.
                if let Err(error) = self.0.store.settle(&Arc::new(settlement)).await {
                    tracing::warn!(%error, "a body that was refused is still in the journal");
                }
                Err(PushError::Bad(bad))
            }
        }
    }
}
