//! What was found of each component.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::bridge::lock;

/// When nobody has looked for so long, whoever looks is stuck.
const STANDS_STILL: Duration = Duration::from_mins(3);

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Up,
    Down,
}

impl Status {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
        }
    }
}

/// All components, as they were when they were looked at last.
#[derive(Debug, Default)]
pub(crate) struct Components {
    found: Mutex<BTreeMap<&'static str, Status>>,
    looked_at: Mutex<Option<Instant>>,
}

impl Components {
    /// Notes how a component is. Returns whether that is new.
    pub(crate) fn set(&self, name: &'static str, status: Status) -> bool {
        lock(&self.found).insert(name, status) != Some(status)
    }

    /// All were looked at.
    pub(crate) fn looked(&self) {
        *lock(&self.looked_at) = Some(Instant::now());
    }

    pub(crate) fn are_looked_at(&self) -> bool {
        lock(&self.looked_at).is_some_and(|at| at.elapsed() < STANDS_STILL)
    }

    pub(crate) fn all(&self) -> Vec<(&'static str, Status)> {
        let found = lock(&self.found);
        found
            .iter()
            .map(|(name, status)| (*name, *status))
            .collect()
    }

    /// As after a look that never ends.
    #[cfg(test)]
    pub(crate) fn stand_still(&self) {
        *lock(&self.looked_at) = None;
    }
}
