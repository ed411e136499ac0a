//! When a failed entry is tried again: a pure function of what happened.

use std::time::Duration;

/// What shall become of work that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Again later, with growing pauses, until the budget of attempts is used up.
    Backoff,
    /// A peer asked for this pause: again after it (at most [`RetryPolicy::patience`]). Does not count
    /// against the budget, so that a rate limit makes no dead letters.
    After(Duration),
    /// A peer is away: again with growing pauses for as long as [`RetryPolicy::patience`]. Does not
    /// count against the budget, so that an outage of a day makes no dead letters.
    WhenAvailable,
    /// Never: it would fail the same way.
    Never,
}

/// How often and how long a failed entry is tried again before it becomes a dead letter.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Attempts in all that may fail with [`Retry::Backoff`]. Default: 10.
    pub max_attempts: u32,
    /// How old an entry is at the least before it becomes a dead letter for its attempts, so that a
    /// homeserver that answers 500 for a while makes none. Default: 30 minutes.
    pub give_up_after: Duration,
    /// The pause after the first failure; doubled after each further one. Default: 500 ms.
    pub first_pause: Duration,
    /// The longest pause. Default: 5 minutes.
    pub longest_pause: Duration,
    /// How long [`Retry::WhenAvailable`] and [`Retry::After`] wait for a peer, counted from when the
    /// entry was stored. Default: 7 days.
    pub patience: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            give_up_after: Duration::from_mins(30),
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

impl Retry {
    /// Whether such a failure uses up the budget.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Backoff | Self::Never)
    }
}

impl RetryPolicy {
    /// Judges a failed attempt of an entry that is `age` old and has failed `counted` times (this one
    /// included, if it [counts](Retry::counts)). `jitter` is a number between 0 and 1 that spreads the
    /// pauses.
    pub(crate) fn judge(self, retry: Retry, counted: u32, age: Duration, jitter: f64) -> Verdict {
        let spread = |pause: Duration| pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        match retry {
            Retry::Never => Verdict::Dead,
            Retry::Backoff if counted >= self.max_attempts && age >= self.give_up_after => {
                Verdict::Dead
            }
            Retry::WhenAvailable | Retry::After(_) if age > self.patience => Verdict::Dead,
            Retry::Backoff => Verdict::Again(spread(self.pause(counted))),
            // The pauses grow with the time that was waited already. A peer that is back should not be
            // kept waiting for the longest pause.
            Retry::WhenAvailable => Verdict::Again(spread(
                (age / 2).clamp(self.first_pause, self.outage_pause()),
            )),
            // A server may ask for any time; a lane that waits for years is as good as lost.
            Retry::After(pause) => {
                Verdict::Again(pause.min(self.patience).max(self.first_pause / 2))
            }
        }
    }

    /// `first_pause * 2^(counted - 1)`, capped.
    fn pause(self, counted: u32) -> Duration {
        let doublings = counted.saturating_sub(1).min(30);
        self.first_pause
            .saturating_mul(1 << doublings)
            .min(self.longest_pause)
    }

    fn outage_pause(self) -> Duration {
        OUTAGE_PAUSE.min(self.longest_pause).max(self.first_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn again(seconds: f64) -> Verdict {
        Verdict::Again(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let policy = RetryPolicy {
            max_attempts: 12,
            ..RetryPolicy::default()
        };
        let pauses: Vec<_> = (1..=11)
            .map(|counted| policy.judge(Retry::Backoff, counted, HOUR, 1.0))
            .collect();
        let seconds = [
            0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0,
        ];
        assert_eq!(pauses, seconds.map(again));
        assert_eq!(policy.judge(Retry::Backoff, 1, HOUR, 0.0), again(0.25));
    }

    #[test]
    fn the_budget_ends_in_a_dead_letter_but_an_outage_does_not() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.judge(Retry::Backoff, 10, HOUR, 0.0), Verdict::Dead);
        assert_ne!(
            policy.judge(Retry::Backoff, 10, HOUR / 3, 0.0),
            Verdict::Dead
        );
        assert_eq!(policy.judge(Retry::Never, 1, HOUR, 0.0), Verdict::Dead);
        for patient in [Retry::WhenAvailable, Retry::After(HOUR)] {
            assert!(!patient.counts());
            assert_ne!(policy.judge(patient, 10, 100 * HOUR, 0.0), Verdict::Dead);
            assert_eq!(policy.judge(patient, 0, 200 * HOUR, 0.0), Verdict::Dead);
        }
    }

    #[test]
    fn pauses_in_an_outage_grow_with_its_length_and_stay_short() {
        let policy = RetryPolicy::default();
        for (age, seconds) in [(0, 0.5), (1, 0.5), (4, 2.0), (20, 10.0), (3600, 15.0)] {
            let age = Duration::from_secs(age);
            assert_eq!(
                policy.judge(Retry::WhenAvailable, 3, age, 1.0),
                again(seconds)
            );
        }
    }

    #[test]
    fn a_pause_that_a_server_asked_for_is_kept_within_reason() {
        let policy = RetryPolicy::default();
        let asked = |pause| policy.judge(Retry::After(pause), 1, HOUR, 0.0);
        assert_eq!(asked(HOUR), Verdict::Again(HOUR));
        assert_eq!(asked(Duration::MAX), Verdict::Again(policy.patience));
        assert_eq!(
            asked(Duration::ZERO),
            Verdict::Again(policy.first_pause / 2)
        );
    }
}
