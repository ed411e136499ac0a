//! The control port, and what is done with an event.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use anyhow::Result;
use axum::{Json, Router, extract::Path, routing::get};
use tokio::net::TcpListener;

use crate::{echo::Echo, env, events::Head};

/// Counts events, or echoes them.
#[derive(Clone)]
pub(crate) struct Control(Arc<Inner>);

struct Inner {
    handled: AtomicU64,
    echoes: AtomicBool,
    echo: Echo,
}

impl Control {
    pub(crate) fn handle(&self, event: &Head<'_>) {
        if self.0.echoes.load(Relaxed) && event.kind == "m.room.message" {
            let (control, sent) = (self.clone(), self.0.echo.send(event));
            tokio::spawn(async move {
                if sent.await.is_ok() {
                    control.0.handled.fetch_add(1, Relaxed);
                }
            });
        } else {
            self.0.handled.fetch_add(1, Relaxed);
        }
    }

    /// Adds to the count events that are not to be looked at.
    pub(crate) fn count(&self, events: usize) {
        self.0
            .handled
            .fetch_add(u64::try_from(events).unwrap_or(0), Relaxed);
    }
}

/// Serves `GET /count` and `GET /mode/{mode}/{n}`.
pub(crate) async fn start() -> Result<Control> {
    let control = Control(Arc::new(Inner {
        handled: AtomicU64::new(0),
        echoes: AtomicBool::new(false),
        echo: Echo::try_new()?,
    }));
    let (counting, switching) = (control.clone(), control.clone());
    let router = Router::new()
        .route(
            "/count",
            get(async move || {
                let handled = counting.0.handled.load(Relaxed);
                Json(serde_json::json!({"handled": handled, "failed": 0}))
            }),
        )
        .route(
            "/mode/{mode}/{n}",
            get(async move |Path((mode, _)): Path<(String, usize)>| {
                switching.0.echoes.store(mode == "echo", Relaxed);
                "ok"
            }),
        );
    let listener = TcpListener::bind(format!("127.0.0.1:{}", env("CTL_PORT")?)).await?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(control)
}
