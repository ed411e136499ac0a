//! Until nothing happens any more.

use super::{FakeHomeserver, Work};
use crate::testing::until::until;

impl FakeHomeserver {
    /// Pushes, and lets the application service work, until there is nothing left to push and nothing
    /// left to do: also what it does with the events that its own calls cause.
    ///
    /// Tries that fail are made again at once. Panics when it takes longer than two minutes.
    pub async fn settle(&self) {
        if !until(async || self.is_settled().await).await {
            let work = match self.target() {
                Some(target) => format!("{:?}", target.work().await),
                None => "not connected".to_owned(),
            };
            panic!(
                "not settled: {} events not acknowledged; the application service's work: {work}",
                self.unacknowledged(),
            );
        }
    }

    async fn is_settled(&self) -> bool {
        if !self.deliver().await {
            return false;
        }
        let Some(target) = self.target() else {
            return false;
        };
        // In this order: when it has nothing to do, what its calls have caused is here.
        target.work().await == Work::None && self.nothing_to_push()
    }
}
