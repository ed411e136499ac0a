//! The programs that the SDK is compared with, each the smallest that does its one thing.
//!
//! They take the environment of `examples/load_bench.rs` and offer its control port, so that one generator
//! measures them all.

mod bare;
mod control;
mod echo;
mod events;
mod lazy;
mod log;
mod sqlite;

use anyhow::{Context, Result, bail};
use axum::{Router, serve::ListenerExt};
use tokio::net::TcpListener;

pub(crate) fn env(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let control = control::start().await?;
    let kind = std::env::args().nth(1).context("which subject?")?;
    let router = match kind.as_str() {
        "bare" => bare::router(),
        "lazy" => lazy::router(control),
        "log" => log::router(control)?,
        "sqlite" => sqlite::router(control)?,
        other => bail!("there is no subject {other:?}"),
    };
    serve(router).await
}

async fn serve(router: Router) -> Result<()> {
    let listener = TcpListener::bind(format!("127.0.0.1:{}", env("AS_PORT")?)).await?;
    let listener = listener.tap_io(|stream| {
        // As the SDK does; without it the second of two small writes waits for an acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

/// The path that transactions come on, with any body that a homeserver sends.
pub(crate) fn transactions<S: Clone + Send + Sync + 'static>(
    put: axum::routing::MethodRouter<S>,
) -> Router<S> {
    Router::new()
        .route("/_matrix/app/v1/transactions/{txn_id}", put)
        .layer(axum::extract::DefaultBodyLimit::disable())
}
