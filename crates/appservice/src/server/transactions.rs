//! `PUT /_matrix/app/v1/transactions/{txnId}`
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#put_matrixappv1transactionstxnid)

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::IntoResponse,
};

use super::{Answer, MatrixError, ok};
use crate::{
    journal::{PushError, split::BadBody},
    measures,
};

/// How long a body may take to come in. The homeserver gives up after as long.
const BODY_DEADLINE: Duration = Duration::from_mins(1);

/// Stores the transaction, then answers. What is in it is handled behind the answer.
pub(super) async fn put(
    State(state): State<Arc<super::State>>,
    txn_id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Answer {
    let Path(txn_id) = txn_id?;
    let body = tokio::time::timeout(BODY_DEADLINE, Bytes::from_request(request, &()))
        .await
        .map_err(|_| MatrixError::BodyLate)?;
    let body = body.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            tracing::error!("a transaction is larger than the body limit: the homeserver's queue is blocked until the limit is raised");
            MatrixError::TooLarge
        } else {
            MatrixError::BodyUnread
        }
    })?;
    let pushed = state.journal.push(txn_id, body, state.intake.clone()).await;
    measures::transaction(match &pushed {
        Ok(()) => "stored",
        Err(PushError::Bad(_)) => "refused",
        Err(PushError::NotStored(_) | PushError::Panicked) => "failed",
    });
    match pushed {
        Ok(()) => ok(),
        Err(PushError::Bad(BadBody::NotJson)) => Err(MatrixError::NotJson),
        Err(PushError::Bad(BadBody::NoEvents)) => Err(MatrixError::NoEvents),
        Err(PushError::NotStored(error)) => {
            tracing::error!(error = %error, "a transaction could not be stored; the homeserver keeps it and tries again");
            Err(MatrixError::NotStored)
        }
        Err(PushError::Panicked) => {
            tracing::error!(
                "storing a transaction panicked; the homeserver keeps it and tries again"
            );
            Err(MatrixError::NotStored)
        }
    }
}
