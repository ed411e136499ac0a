//! Who makes way for whom: what is pushed is stored first, and handled when nothing is being stored.
//!
//! A homeserver sends its next transaction when it has the answer to the last one, and keeps all that waits behind it.
//! Handlers that go on meanwhile would take the processor from the thread that stores, for a slice of time that is
//! longer than storing takes. They lose nothing by waiting: what waits is worked off all the same.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::lock;

/// How long each step is held up at the most, to the next tick of the timer.
const AT_MOST: Duration = Duration::from_millis(1);
/// Pushes with a shorter pause between them follow each other: whoever sends them is behind.
const PAUSE: Duration = Duration::from_micros(300);

/// Pushes that are being stored.
#[derive(Debug)]
pub(super) struct Way {
    state: Mutex<State>,
    free: Notify,
    at_most: Duration,
    pause: Duration,
}

#[derive(Debug, Default)]
struct State {
    pushes: usize,
    /// When the last push ended.
    ended: Option<Instant>,
    /// The last push followed another one: the next is to be expected.
    follows: bool,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            free: Notify::new(),
            at_most: AT_MOST,
            pause: PAUSE,
        }
    }
}

impl Way {
    /// Whether a push has ended just now.
    fn ended(&self, state: &State) -> bool {
        let ended = state.ended;
        ended.is_some_and(|ended| ended.elapsed() < self.pause)
    }

    /// Whether a push is being stored, or the next is to be expected.
    fn is_taken(&self) -> bool {
        let state = lock(&self.state);
        state.pushes > 0 || (state.follows && self.ended(&state))
    }

    /// A push begins. It ends when what is returned is dropped.
    pub(super) fn take(&self) -> Taken<'_> {
        let mut state = lock(&self.state);
        state.follows = self.ended(&state);
        state.pushes += 1;
        Taken(self)
    }

    /// Waits until nothing is being stored, but not for long.
    pub(super) async fn make(&self) {
        // It hears of what happens from here on, also before it is polled.
        let free = self.free.notified();
        if !self.is_taken() {
            return;
        }
        let free = async {
            free.await;
            if lock(&self.state).follows {
                // The next would come upon what is begun now.
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(self.at_most, free).await;
    }
}

/// A push that is being stored.
#[must_use]
pub(super) struct Taken<'a>(&'a Way);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.pushes -= 1;
        if state.pushes == 0 {
            state.ended = Some(Instant::now());
            self.0.free.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// One where nobody gives up waiting, and pushes follow each other however late they come.
    fn patient() -> Way {
        Way {
            at_most: Duration::from_hours(1),
            pause: Duration::from_hours(1),
            ..Way::default()
        }
    }

    #[tokio::test]
    async fn what_is_pushed_goes_first_until_the_last_of_it_is_stored() {
        let way = patient();
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
    async fn behind_one_of_a_row_the_next_is_expected_for_a_while() {
        let way = patient();
        drop(way.take());
        assert!(way.make().now_or_never().is_some(), "it came alone");
        let taken = way.take();
        let mut waiting = Box::pin(way.make());
        assert!((&mut waiting).now_or_never().is_none());
        drop(taken);
        let still = (&mut waiting).now_or_never();
        assert!(still.is_none(), "it is free, and will not be for long");
        assert!(way.make().now_or_never().is_none());
        lock(&way.state).ended = None;
        assert!(way.make().now_or_never().is_some(), "nothing followed");
    }

    #[tokio::test]
    async fn one_that_does_not_come_to_an_end_holds_nobody_up_for_ever() {
        let way = Way::default();
        let _stuck = way.take();
        way.make().await;
    }
}
