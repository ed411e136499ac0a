//! Parses lazily, stores nothing: what the SDK could reach if nothing had to survive.

use axum::{Router, body::Bytes, extract::State, routing::put};

use crate::{control::Control, events};

pub(crate) fn router(control: Control) -> Router {
    crate::transactions(put(take)).with_state(control)
}

async fn take(State(control): State<Control>, body: Bytes) -> &'static str {
    for event in events::heads(&body) {
        control.handle(&event);
    }
    "{}"
}
