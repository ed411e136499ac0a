//! When a failed entry is tried again: a pure function of what happened.

use std::time::Duration;

/// What shall become of work that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Again later, with growing pauses, until the budget of attempts is used up.
    Backoff,
    /// Again after at least this long (at most [`RetryPolicy::patience`]); counts against the budget.
    After(Duration),
    /// A peer is away: again with growing pauses for as long as [`RetryPolicy::patience`]. Does not
    /// count against the budget, so an outage of a day makes no dead letters.
    WhenAvailable,
    /// Never: it would fail the same way.
    Never,
}

/// How often and how long a failed entry is tried again before it becomes a dead letter.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Attempts in all, for [`Retry::Backoff`] and [`Retry::After`]. Default: 10.
    pub max_attempts: u32,
    /// The pause after the first failure; doubled after each further one. Default: 500 ms.
    pub first_pause: Duration,
    /// The longest pause. Default: 5 minutes.
    pub longest_pause: Duration,
    /// How long [`Retry::WhenAvailable`] waits for a peer to come back, counted from when the entry
    /// was stored. Default: 7 days.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_mins(5),
            patience: Duration::from_hours(7 * 24),
        }
    }
}

/// The longest pause while a peer is away.
const OUTAGE_PAUSE: Duration = Duration::from_secs(15);

/// The verdict on a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Again(Duration),
    Dead,
}

impl RetryPolicy {
    /// Judges the `attempt`-th failed attempt (counted from 1) of an entry that is `age` old.
    /// `jitter` is a number between 0 and 1 that spreads the pauses.
    pub(crate) fn judge(self, retry: Retry, attempt: u32, age: Duration, jitter: f64) -> Verdict {
        let spent = attempt >= self.max_attempts;
        match retry {
            Retry::Never => Verdict::Dead,
            Retry::Backoff | Retry::After(_) if spent => Verdict::Dead,
            Retry::WhenAvailable if spent && age > self.patience => Verdict::Dead,
            Retry::Backoff => Verdict::Again(self.pause(attempt, jitter)),
            // A peer that is back should not be kept waiting for the longest pause.
            Retry::WhenAvailable => Verdict::Again(self.pause(attempt, jitter).min(OUTAGE_PAUSE)),
            // A server may ask for any time; a lane that waits for years is as good as lost.
            Retry::After(pause) => {
                Verdict::Again(pause.min(self.patience).max(self.pause(attempt, jitter)))
            }
        }
    }

    /// Between half and the whole of `first_pause * 2^(attempt - 1)`, capped.
    fn pause(self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        let whole = self
            .first_pause
            .saturating_mul(1 << doublings)
            .min(self.longest_pause);
        whole.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy::default();
        let pauses: Vec<_> = (1..=9)
            .map(|attempt| policy.judge(Retry::Backoff, attempt, HOUR, 1.0))
            .collect();
        let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
        assert_eq!(
            pauses,
            seconds.map(|pause| Verdict::Again(Duration::from_secs_f64(pause)))
        );
        assert_eq!(
            policy.judge(Retry::WhenAvailable, u32::MAX, HOUR, 0.0),
            Verdict::Again(OUTAGE_PAUSE)
        );
    }

    #[test]
    fn the_budget_ends_in_a_dead_letter_but_an_outage_does_not() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.judge(Retry::Backoff, 10, HOUR, 0.0), Verdict::Dead);
        assert_eq!(
            policy.judge(Retry::After(HOUR), 10, HOUR, 0.0),
            Verdict::Dead
        );
        assert_eq!(policy.judge(Retry::Never, 1, HOUR, 0.0), Verdict::Dead);
        assert_ne!(
            policy.judge(Retry::WhenAvailable, 500, HOUR, 0.0),
            Verdict::Dead
        );
        assert_eq!(
            policy.judge(Retry::WhenAvailable, 500, 200 * HOUR, 0.0),
            Verdict::Dead
        );
    }

    #[test]
    fn a_pause_that_a_server_asked_for_is_kept() {
        let policy = RetryPolicy::default();
        assert_eq!(
            policy.judge(Retry::After(HOUR), 1, HOUR, 0.0),
            Verdict::Again(HOUR)
        );
    }

    #[test]
    fn nobody_can_ask_for_a_pause_without_end() {
        let policy = RetryPolicy::default();
        assert_eq!(
            policy.judge(Retry::After(Duration::MAX), 1, HOUR, 0.0),
            Verdict::Again(policy.patience)
        );
    }
}
