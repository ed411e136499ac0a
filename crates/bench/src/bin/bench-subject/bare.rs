//! Reads the body and forgets it: what HTTP alone costs.

use axum::{Router, body::Bytes, routing::put};

pub(crate) fn router() -> Router {
    crate::transactions(put(async |_: Bytes| "{}"))
}
