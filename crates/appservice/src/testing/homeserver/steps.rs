//! Counts what has taken effect, so that a test can end the application service behind each of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The effects so far, in order.
#[derive(Debug, Default)]
pub(in crate::testing) struct Steps {
    inner: Mutex<Inner>,
    reached: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    taken: Vec<Step>,
    stop_behind: Option<Step>,
}

/// What took effect, and which time it was: what else goes on at the same time comes before it or
/// behind it as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::testing) struct Step {
    pub(in crate::testing) name: String,
    pub(in crate::testing) time: usize,
}

impl Steps {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has taken effect. Returns whether the application service ends before it hears of it.
    pub(in crate::testing) fn took_effect(&self, name: &str) -> bool {
        let mut inner = self.lock();
        let before = inner.taken.iter().filter(|step| step.name == name);
        let step = Step {
            name: name.to_owned(),
            time: before.count() + 1,
        };
        let ends = inner.stop_behind.as_ref() == Some(&step);
        inner.taken.push(step);
        if ends {
            self.reached.notify_one();
        }
        ends
    }

    /// The application service is to end behind this step.
    pub(in crate::testing) fn stop_behind(&self, step: &Step) {
        self.lock().stop_behind = Some(step.clone());
    }

    /// Waits until that step.
    pub(in crate::testing) async fn reached(&self) {
        self.reached.notified().await;
    }

    /// What took effect, in order.
    pub(in crate::testing) fn taken(&self) -> Vec<Step> {
        self.lock().taken.clone()
    }
}
