//! What a handler is, and what it says when it fails.

use std::{any::Any, future::Future, pin::Pin, time::Duration};

use super::{Delivery, Retry};

/// What a handler returns.
pub type HandlerResult = Result<(), HandlerError>;

/// Works on the entries of one source.
///
/// Called once for each entry, one at a time within a lane, several lanes side by side. May take
/// its time (up to the handler timeout): only its own lane waits. Called again with the same entry
/// when it failed, when it timed out, and when the process died before the entry was marked as done,
/// so every effect has to be one that can be repeated.
pub(crate) trait Handler: Send + Sync {
    fn handle(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = HandlerResult> + Send>>;
}

impl<F, Fut> Handler for F
where
    F: Fn(Delivery) -> Fut + Send + Sync,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    fn handle(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = HandlerResult> + Send>> {
        Box::pin(self(delivery))
    }
}

/// Why a handler failed, and what shall become of its entry.
///
/// Any error becomes one by `?`: errors of this library say themselves whether to try again, all
/// others are tried again with back-off. What is logged and kept of it is a *class*, never the
/// error's own text, because that may quote a message.
#[derive(Debug)]
pub struct HandlerError {
    class: String,
    retry: Retry,
}

impl HandlerError {
    /// An error with a class of your words (no content, no names: it is logged) and a verdict.
    #[must_use]
    pub fn new(class: impl Into<String>, retry: Retry) -> Self {
        Self {
            class: class.into(),
            retry,
        }
    }

    /// It would fail the same way again: the entry becomes a dead letter.
    #[must_use]
    pub fn never(class: impl Into<String>) -> Self {
        Self::new(class, Retry::Never)
    }

    /// Again after this pause.
    #[must_use]
    pub fn after(class: impl Into<String>, pause: Duration) -> Self {
        Self::new(class, Retry::After(pause))
    }

    /// A peer is away: again when it is back.
    #[must_use]
    pub fn unavailable(class: impl Into<String>) -> Self {
        Self::new(class, Retry::WhenAvailable)
    }

    /// What kind of failure it was, without content.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }

    /// What shall become of the entry.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.retry
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let any: &dyn Any = &error;
        if let Some(error) = any.downcast_ref::<crate::client::Error>() {
            return Self::new(error.to_string(), error.retry());
        }
        if let Some(error) = any.downcast_ref::<crate::journal::JournalError>() {
            return Self::new(error.to_string(), Retry::WhenAvailable);
        }
        Self::new(std::any::type_name::<E>(), Retry::Backoff)
    }
}
