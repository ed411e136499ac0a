//! Does what is due in rooms when it is due.

use std::{future::Future, time::Duration};

use matrix_appservice::JournalError;
use tokio::sync::Notify;

use crate::links::LinksError;

/// How long to wait when the tables can't be read or the journal takes nothing.
const AGAIN: Duration = Duration::from_secs(5);

/// Why what was due could not be put into the journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum TimerError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Links(#[from] LinksError),
}

/// Puts what is due into the journal, until it is stopped from outside.
///
/// `take_due` does so, and returns how long it is until something is due again; `changed` says that it may be sooner.
/// `what` is what fails when it fails.
pub(super) async fn run<F>(what: &str, changed: &Notify, mut take_due: impl FnMut() -> F)
where
    F: Future<Output = Result<Option<Duration>, TimerError>>,
{
    loop {
        let pause = match take_due().await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "{what}, trying again");
                Some(AGAIN)
            }
        };
        let sleep = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => {}
            () = changed.notified() => {}
        }
    }
}
