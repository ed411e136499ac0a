//! The limits of calls to the homeserver.

use std::time::Duration;

/// How calls to the homeserver are made, repeated and bounded; see
/// [`Builder::client_config`](crate::Builder::client_config).
///
/// ```
/// use std::time::Duration;
/// use matrix_appservice::ClientConfig;
///
/// let config = ClientConfig {
///     longest_wait: Duration::from_secs(5),
///     ..ClientConfig::default()
/// };
/// assert_eq!(config.max_attempts, 3);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ClientConfig {
    /// How often a call is made in all when the homeserver is away for a moment (not reachable, 502,
    /// 503, 504). Only calls that may be repeated are. 1 means once. Default: 3.
    pub max_attempts: u32,
    /// The pause after the first such failure; doubled after each further one. Default: 100 ms.
    pub first_pause: Duration,
    /// The longest such pause. Default: 2 s.
    pub longest_pause: Duration,
    /// How long after its begin a call may still be repeated. Then the error goes to the handler, and
    /// the dispatcher takes over. Default: 10 s.
    pub retry_budget: Duration,
    /// How long a call may wait, in all, because the homeserver asked for a pause (429). A longer
    /// pause is returned as an error at once, so that the dispatcher waits and not a worker. Keep it
    /// below [`Builder::handler_timeout`](crate::Builder::handler_timeout). Default: 30 s.
    pub longest_wait: Duration,
    /// Calls that are made at the same time. Default: 128.
    pub parallel_calls: usize,
    /// How long an upload or a download may take. Default: 10 minutes.
    pub media_timeout: Duration,
    /// Of how many rooms it is remembered who of ours is there; the room that was not looked at for
    /// the longest time is forgotten first. 0 remembers nothing. Default: 10,000.
    pub remembered_rooms: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
            retry_budget: Duration::from_secs(10),
            longest_wait: Duration::from_secs(30),
            parallel_calls: 128,
            media_timeout: Duration::from_mins(10),
            remembered_rooms: 10_000,
        }
    }
}

impl ClientConfig {
    /// The pause before a call that has failed `attempts` times and began `elapsed` ago is made again;
    /// `None` when it isn't. `jitter` is a number between 0 and 1 that spreads the pauses.
    pub(crate) fn pause(&self, attempts: u32, elapsed: Duration, jitter: f64) -> Option<Duration> {
        if attempts >= self.max_attempts {
            return None;
        }
        let doublings = attempts.saturating_sub(1).min(30);
        let pause = self
            .first_pause
            .saturating_mul(1 << doublings)
            .min(self.longest_pause)
            .mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        (elapsed.saturating_add(pause) < self.retry_budget).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_spread_until_attempts_or_time_are_used_up() {
        let config = ClientConfig {
            max_attempts: 8,
            ..ClientConfig::default()
        };
        let pause = |attempts, elapsed, jitter| {
            config
                .pause(attempts, Duration::from_millis(elapsed), jitter)
                .map(|pause| pause.as_millis())
        };
        let all: Vec<_> = (1..=8).map(|attempts| pause(attempts, 0, 1.0)).collect();
        let expected = [100, 200, 400, 800, 1600, 2000, 2000].map(Some);
        assert_eq!(all[..7], expected);
        assert_eq!(all[7], None, "the eighth was the last");
        assert_eq!(pause(1, 0, 0.0), Some(50));
        assert_eq!(pause(1, 9_899, 1.0), Some(100));
        assert_eq!(pause(1, 9_900, 1.0), None, "it would begin too late");
        assert_eq!(pause(1, u64::MAX, 1.0), None);
    }
}
