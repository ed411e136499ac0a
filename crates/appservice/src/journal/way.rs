//! Who makes way for whom: what is pushed is stored first, and handled when nothing is being stored.
//!
//! A homeserver sends its next transaction when it has the answer to the last one, and keeps all that waits behind it.
//! Handlers that go on meanwhile would take the processor from the thread that stores, for a slice of time that is
//! longer than storing takes. They lose nothing by waiting: what waits is worked off all the same.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{sync::Notify, time::Duration};

/// How long is waited at the most for pushes that follow each other without a pause.
const AT_MOST: Duration = Duration::from_millis(1);

/// Pushes that are being stored.
#[derive(Debug)]
pub(super) struct Way {
    pushes: AtomicUsize,
    free: Notify,
    at_most: Duration,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            pushes: AtomicUsize::new(0),
            free: Notify::new(),
            at_most: AT_MOST,
        }
    }
}

impl Way {
    /// A push begins. It ends when what is returned is dropped.
    pub(super) fn take(&self) -> Taken<'_> {
        self.pushes.fetch_add(1, Ordering::AcqRel);
        Taken(self)
    }

    /// Waits until nothing is being stored, but not for long.
    pub(super) async fn make(&self) {
        // It hears of what happens from here on, also before it is polled.
        let free = self.free.notified();
        if self.pushes.load(Ordering::Acquire) > 0 {
            let _ = tokio::time::timeout(self.at_most, free).await;
        }
    }
}

/// A push that is being stored.
#[must_use]
pub(super) struct Taken<'a>(&'a Way);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.0.pushes.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.free.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_is_pushed_goes_first_until_the_last_of_it_is_stored() {
        let way = Way {
            at_most: Duration::from_hours(1),
            ..Way::default()
        };
        assert!(way.make().now_or_never().is_some(), "nobody is on the way");
        let (one, other) = (way.take(), way.take());
        let mut waiting = Box::pin(way.make());
        assert!((&mut waiting).now_or_never().is_none());
        drop(one);
        let still = (&mut waiting).now_or_never();
        assert!(still.is_none(), "another one is on the way");
        drop(other);
        waiting.await;
        assert!(way.make().now_or_never().is_some(), "it is free again");
    }

    #[tokio::test]
    async fn one_that_does_not_come_to_an_end_holds_nobody_up_for_ever() {
        let way = Way::default();
        let _stuck = way.take();
        way.make().await;
    }
}
