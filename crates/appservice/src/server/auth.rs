//! Who calls: the homeserver shows the `hs_token`, in the header or, in the way of old, the query.
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#authorization)

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::header::AUTHORIZATION,
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::MatrixError;
use crate::registration::Registration;

pub(super) async fn check(
    State(state): State<Arc<super::State>>,
    request: Request,
    next: Next,
) -> Response {
    match authorize(&state.registration, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            tracing::warn!(
                path = request.uri().path().split('/').take(5).collect::<Vec<_>>().join("/"),
                reason = ?error,
                "request refused: does the homeserver's registration file have our hs_token?"
            );
            error.into_response()
        }
    }
}

/// One token is enough; where there are two, both have to be right.
fn authorize(registration: &Registration, request: &Request) -> Result<(), MatrixError> {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .map(|value| value.to_str().ok().and_then(bearer).unwrap_or_default());
    let query = query_token(request.uri().query().unwrap_or_default());
    if header.is_none() && query.is_none() {
        return Err(MatrixError::MissingToken);
    }
    let right = [header.map(ToOwned::to_owned), query]
        .into_iter()
        .flatten()
        .map(|token| registration.accepts(&token))
        .fold(true, |all, one| all & one);
    if right {
        Ok(())
    } else {
        Err(MatrixError::WrongToken)
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn query_token(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "access_token")
        .map(|(_, value)| value.into_owned())
}
