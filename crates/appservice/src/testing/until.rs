//! Waiting for a condition.

use std::time::Duration;

/// More than a test takes on a machine that is busy, and less than a person waits.
const PATIENCE: Duration = Duration::from_mins(2);

/// Between two looks. Looking without a pause keeps those from working who are waited for.
const PAUSE: Duration = Duration::from_millis(2);

/// Returns when `holds` says that it does; false when that takes too long.
pub(super) async fn until(holds: impl AsyncFn() -> bool) -> bool {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.is_ok()
}
