//! Who calls: the token stands in the header, and nowhere else.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::Next,
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Api, ApiError};

const MISSING: ApiError = ApiError::new(
    StatusCode::UNAUTHORIZED,
    "M_MISSING_TOKEN",
    "No token: send the provisioning token as `Authorization: Bearer …`",
);
const WRONG: ApiError = ApiError::new(
    StatusCode::UNAUTHORIZED,
    "M_UNKNOWN_TOKEN",
    "This is not the provisioning token",
);

pub(super) async fn check(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let mut tokens = request.headers().get_all(AUTHORIZATION).iter();
    let answer = match (tokens.next(), tokens.next()) {
        (None, _) => MISSING,
        (Some(value), None) if value.to_str().is_ok_and(|value| api.is_token(value)) => {
            return next.run(request).await;
        }
        _ => WRONG,
    };
    ([("www-authenticate", "Bearer")], answer).into_response()
}

impl Api {
    /// Of hashes, nothing can be learnt from how long the comparison takes.
    fn is_token(&self, header: &str) -> bool {
        let Some((scheme, token)) = header.split_once(' ') else {
            return false;
        };
        let ours = Sha256::digest(self.token.expose_secret().as_bytes());
        let same: bool = ours.ct_eq(&Sha256::digest(token.trim().as_bytes())).into();
        same && scheme.eq_ignore_ascii_case("bearer")
    }
}
