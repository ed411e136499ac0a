//! All who work a journal off, together.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Dispatcher;
use crate::journal::{Journal, intake::Intake};

/// Takes in what is pushed, hands it to the dispatchers and writes down what is done, until `stop`; then
/// the handlers at work may finish.
///
/// A panic in one of the parts, a fault of this library, ends them all and goes on to the caller.
pub(crate) async fn work_off(
    journal: Journal,
    intake: Arc<Intake>,
    dispatchers: Vec<Dispatcher>,
    stop: CancellationToken,
) {
    let ended = CancellationToken::new();
    let mut parts = JoinSet::new();
    let (taking_in, settling) = (journal.clone(), journal);
    let (stopping, ending) = (stop.clone(), ended.clone());
    parts.spawn(async move { taking_in.take_in_all(intake, stopping).await });
    for dispatcher in dispatchers {
        parts.spawn(dispatcher.run(stop.clone()));
    }
    let mut settler = JoinSet::new();
    settler.spawn(async move { settling.settle_on(ending).await });
    let all_but_settler = async {
        while let Some(part) = parts.join_next().await {
            go_on_with_panic(part);
        }
        ended.cancel();
    };
    let settled = async {
        while let Some(part) = settler.join_next().await {
            go_on_with_panic(part);
        }
    };
    tokio::join!(all_but_settler, settled);
}

fn go_on_with_panic(part: Result<(), tokio::task::JoinError>) {
    if let Err(error) = part
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
