//! Time and chance, passed in so that tests turn the hands.

use std::time::Duration;

use tokio::time::Instant;

/// What the client knows of the time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock {
    #[cfg(test)]
    by_hand: Option<ByHand>,
}

impl Clock {
    #[cfg_attr(
        not(test),
        expect(clippy::unused_self, reason = "tests have another clock")
    )]
    pub(crate) fn now(&self) -> Instant {
        #[cfg(test)]
        if let Some(by_hand) = &self.by_hand {
            return by_hand.now();
        }
        Instant::now()
    }

    pub(crate) async fn sleep(&self, pause: Duration) {
        self.sleep_until(self.now() + pause).await;
    }

    pub(crate) async fn sleep_until(&self, at: Instant) {
        #[cfg(test)]
        if let Some(by_hand) = &self.by_hand {
            return by_hand.sleep_until(at).await;
        }
        tokio::time::sleep_until(at).await;
    }

    /// What `work` returns, or `None` when it isn't done in time.
    pub(crate) async fn until<T>(&self, at: Instant, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.sleep_until(at) => None,
        }
    }

    /// A number between 0 and 1.
    #[expect(clippy::unused_self, reason = "chance belongs to what is passed in")]
    pub(crate) fn jitter(&self) -> f64 {
        let mut bytes = [0; 2];
        // Without chance the pauses are the longest.
        if getrandom::fill(&mut bytes).is_err() {
            return 1.0;
        }
        f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX)
    }
}

/// A clock that stands still until it is told to go on.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(crate) struct ByHand {
    start: Instant,
    passed: std::sync::Arc<tokio::sync::watch::Sender<Duration>>,
    /// How often somebody went to sleep.
    sleeps: std::sync::Arc<tokio::sync::watch::Sender<usize>>,
}

#[cfg(test)]
impl ByHand {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            passed: tokio::sync::watch::Sender::new(Duration::ZERO).into(),
            sleeps: tokio::sync::watch::Sender::new(0).into(),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock {
            by_hand: Some(self.clone()),
        }
    }

    pub(crate) fn go_on(&self, time: Duration) {
        self.passed.send_modify(|passed| *passed += time);
    }

    fn now(&self) -> Instant {
        self.start + *self.passed.borrow()
    }

    /// Returns when somebody has gone to sleep so many times.
    pub(crate) async fn slept(&self, times: usize) {
        let mut sleeps = self.sleeps.subscribe();
        let _ = sleeps.wait_for(|sleeps| *sleeps >= times).await;
    }

    async fn sleep_until(&self, at: Instant) {
        let mut passed = self.passed.subscribe();
        self.sleeps.send_modify(|sleeps| *sleeps += 1);
        let _ = passed
            .wait_for(|passed| self.start + *passed >= at)
            .await
            .map(|_| ());
    }
}
