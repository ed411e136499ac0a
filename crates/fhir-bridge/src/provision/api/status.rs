//! `GET /_matrix/provision/v1/status`: whom one talks to.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{Answer, Api};

pub(super) async fn get(State(api): State<Arc<Api>>) -> Answer {
    let servers: Vec<Value> = api
        .provision
        .server_names()
        .into_iter()
        .map(|name| name.map_or_else(|| json!({}), |name| json!({"name": name})))
        .collect();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "user_id": api.bot.user_id(),
        "homeserver": api.provision.0.homeserver,
        "servers": servers,
    })))
}
