//! Third-party lookups. Their answers differ in what is asked only; without a [`ThirdParty`] nothing
//! is found.
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#third-party-networks)
//!
//! [`ThirdParty`]: crate::thirdparty::ThirdParty

pub(super) mod location;
pub(super) mod locations;
pub(super) mod protocol;
pub(super) mod user;
pub(super) mod users;

use std::{future::Future, sync::Arc};

use axum::{Json, http::Uri};
use serde::Serialize;

use super::{Answer, MatrixError, State, within};
use crate::{
    dispatch::HandlerError,
    thirdparty::{AnyThirdParty, Fields},
};

/// Asks the application.
async fn ask<T, F, Fut>(state: &State, question: F) -> Result<T, MatrixError>
where
    T: Send + 'static,
    F: FnOnce(Arc<dyn AnyThirdParty>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, HandlerError>> + Send + 'static,
{
    let third_party = state.third_party.clone().ok_or(MatrixError::NotFound)?;
    within(
        state.query_timeout,
        async move { question(third_party).await },
    )
    .await
}

/// What was found; "no mappings were found" is a 404.
fn found<T: Serialize>(list: &[T]) -> Answer {
    if list.is_empty() {
        return Err(MatrixError::NotFound);
    }
    json(&list)
}

fn json(value: &impl Serialize) -> Answer {
    serde_json::to_value(value)
        .map(Json)
        .map_err(|_| MatrixError::QueryFailed)
}

/// What is looked for: all of the query but the token, which is there in the way of old.
fn fields(uri: &Uri) -> Fields {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| name != "access_token")
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}
