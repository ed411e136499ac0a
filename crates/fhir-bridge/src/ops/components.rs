//! What was found of each component.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{bridge::lock, links::now_ms};

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

/// What was found of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) status: Status,
    /// Since when it is so, Unix time in ms.
    pub(crate) since: i64,
    /// Why it is down, without content.
    pub(crate) problem: Option<String>,
}

/// All components, as they were when they were looked at last.
#[derive(Debug, Default)]
pub(crate) struct Components {
    found: Mutex<BTreeMap<&'static str, Found>>,
    looked_at: Mutex<Option<Instant>>,
}

impl Components {
    /// Notes how a component is. Returns whether that is new.
    pub(crate) fn set(&self, name: &'static str, problem: Option<String>) -> bool {
        let status = match problem {
            None => Status::Up,
            Some(_) => Status::Down,
        };
        let mut all = lock(&self.found);
        let before = all.get(name).filter(|before| before.status == status);
        let is_new = before.is_none();
        let since = before.map_or_else(now_ms, |before| before.since);
        let found = Found {
            status,
            since,
            problem,
        };
        all.insert(name, found);
        is_new
    }

    /// All were looked at.
    pub(crate) fn looked(&self) {
        *lock(&self.looked_at) = Some(Instant::now());
    }

    pub(crate) fn are_looked_at(&self) -> bool {
        lock(&self.looked_at).is_some_and(|at| at.elapsed() < STANDS_STILL)
    }

    /// Whether all are up, as far as somebody looks.
    pub(crate) fn are_up(&self) -> bool {
        self.are_looked_at()
            && lock(&self.found)
                .values()
                .all(|found| found.status == Status::Up)
    }

    pub(crate) fn all(&self) -> Vec<(&'static str, Found)> {
        let found = lock(&self.found);
        found
            .iter()
            .map(|(name, found)| (*name, found.clone()))
            .collect()
    }

    /// As after a look that never ends.
    #[cfg(test)]
    pub(crate) fn stand_still(&self) {
        *lock(&self.looked_at) = None;
    }
}
