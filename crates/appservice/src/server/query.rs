//! Questions of the homeserver that the application answers: is there such a user, such a room?

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio_util::task::AbortOnDropHandle;

use super::{Answer, MatrixError, ok};
use crate::{dispatch::HandlerError, intent::Intent};

/// How long the application may take. The homeserver delivers nothing while it waits.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

type Future_ = Pin<Box<dyn Future<Output = Result<bool, HandlerError>> + Send>>;

/// Answers whether the thing with this id exists now; it may be made first.
pub(crate) trait AnyQuery: Send + Sync {
    fn ask(&self, bot: Intent, id: String) -> Future_;
}

impl<F, Fut> AnyQuery for F
where
    F: Fn(Intent, String) -> Fut + Send + Sync,
    Fut: Future<Output = Result<bool, HandlerError>> + Send + 'static,
{
    fn ask(&self, bot: Intent, id: String) -> Future_ {
        Box::pin(self(bot, id))
    }
}

/// The application's answerer and the intent that it is given.
pub(crate) struct Query {
    pub(crate) handler: Arc<dyn AnyQuery>,
    pub(crate) bot: Arc<dyn Fn(&str) -> Intent + Send + Sync>,
}

/// Asks the application; without an answerer, the answer is no.
pub(crate) async fn by(query: Option<&Query>, id: String, deadline: Duration) -> Answer {
    let Some(query) = query else {
        return Err(MatrixError::NotFound);
    };
    let handler = query.handler.clone();
    let bot = (query.bot)(&id);
    if within(deadline, async move { handler.ask(bot, id).await }).await? {
        ok()
    } else {
        Err(MatrixError::NotFound)
    }
}

/// What the application answers before the deadline. Its code ends there, and also when the
/// homeserver no longer waits.
pub(crate) async fn within<T: Send + 'static>(
    deadline: Duration,
    answer: impl Future<Output = Result<T, HandlerError>> + Send + 'static,
) -> Result<T, MatrixError> {
    // In a task of its own, so that a panic ends there.
    let task = AbortOnDropHandle::new(tokio::spawn(answer));
    match tokio::time::timeout(deadline, task).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => {
            tracing::warn!(error = error.class(), "a query could not be answered");
            Err(MatrixError::QueryFailed)
        }
        Ok(Err(_)) => {
            tracing::error!("the handler of a query panicked");
            Err(MatrixError::QueryFailed)
        }
        Err(_) => {
            tracing::warn!("a query was not answered in time");
            Err(MatrixError::QueryFailed)
        }
    }
}
