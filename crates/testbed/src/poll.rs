//! Waiting for a condition of another process.

use std::time::{Duration, Instant};

/// How long between two looks at a condition.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until there is something to see; `None` when there was nothing before the deadline.
///
/// # Errors
///
/// The first error that `look` returns ends the wait.
pub(crate) async fn until<T>(
    patience: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look().await? {
            return Ok(Some(seen));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
