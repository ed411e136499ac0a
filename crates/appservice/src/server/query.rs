//! Questions of the homeserver that the application answers: is there such a user, such a room?

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use super::{Answer, MatrixError, ok};
use crate::{dispatch::HandlerError, intent::Intent};

/// How long the application may take. The homeserver delivers nothing while it waits.
const DEADLINE: Duration = Duration::from_secs(20);

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
pub(crate) async fn by(query: Option<&Query>, id: String) -> Answer {
    let Some(query) = query else {
        return Err(MatrixError::NotFound);
    };
    let handler = query.handler.clone();
    let bot = (query.bot)(&id);
    // In a task of its own, so that a panic ends there.
    let mut task = tokio::spawn(async move { handler.ask(bot, id).await });
    match tokio::time::timeout(DEADLINE, &mut task).await {
        Ok(Ok(Ok(true))) => ok(),
        Ok(Ok(Ok(false))) => Err(MatrixError::NotFound),
        Ok(Ok(Err(error))) => {
            tracing::warn!(error = error.class(), "a query could not be answered");
            Err(MatrixError::QueryFailed)
        }
        Ok(Err(_)) => {
            tracing::error!("the handler of a query panicked");
            Err(MatrixError::QueryFailed)
        }
        Err(_) => {
            task.abort();
            tracing::warn!("a query was not answered in time");
            Err(MatrixError::QueryFailed)
        }
    }
}
