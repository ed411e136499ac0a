//! Who calls: the homeserver shows the `hs_token`, in the header or, in the way of old, the query.
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#authorization)

use std::sync::Arc;

use axum::{
    extract::{MatchedPath, Request, State},
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
                path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str),
                reason = ?error,
                "request refused: does the homeserver's registration file have our hs_token?"
            );
            error.into_response()
        }
    }
}

/// One token is enough; where there are more, all have to be right.
fn authorize(registration: &Registration, request: &Request) -> Result<(), MatrixError> {
    let query = request.uri().query().unwrap_or_default();
    let in_query = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(key, _)| key == "access_token")
        .map(|(_, value)| value.into_owned());
    let mut tokens = request
        .headers()
        .get_all(AUTHORIZATION)
        .iter()
        .map(|value| value.to_str().ok().and_then(bearer).unwrap_or_default())
        .map(ToOwned::to_owned)
        .chain(in_query)
        .peekable();
    if tokens.peek().is_none() {
        return Err(MatrixError::MissingToken);
    }
    // All are compared, whichever is wrong.
    if tokens.fold(true, |right, token| right & registration.accepts(&token)) {
        Ok(())
    } else {
        Err(MatrixError::WrongToken)
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
