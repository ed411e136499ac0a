//! The program that load generators measure: every event is journalled, its handler counts, echoes or waits.
//!
//! Everything comes from the environment: `AS_PORT`, `CTL_PORT`, `HS_URL`, `AS_TOKEN`, `HS_TOKEN`, `HANDLED_LOG`. The
//! journal is `journal.db` in the working directory, or in PostgreSQL at `DATABASE_URL`. `GET /count` on the control port tells what was handled,
//! `GET /mode/{count|echo|sem}/{n}` says what a message's handler does from then on.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use axum::{Json, Router, extract::Path, routing::get};
use matrix_appservice::ruma::{server_name, user_id};
use matrix_appservice::{
    AppService, Delivery, Event, HandlerError, HandlerResult, Journal, Message, Registration,
};
use tokio::sync::Semaphore;

#[derive(Clone, Default)]
enum Mode {
    #[default]
    Count,
    Echo(Option<Arc<Semaphore>>),
    Semantics,
}

#[derive(Default)]
struct Bench {
    mode: Mutex<Mode>,
    handled: AtomicU64,
    failed: AtomicU64,
    log: Option<Mutex<std::fs::File>>,
}

#[derive(serde::Deserialize)]
struct Content {
    #[serde(default)]
    bench_throw: bool,
    #[serde(default)]
    bench_delay_ms: u64,
}

impl Bench {
    async fn handle(self: Arc<Self>, delivery: Delivery, event: Event) -> HandlerResult {
        if event.kind() == "m.room.message"
            && event.sender() != user_id!("@_bench_ghost:example.org")
        {
            let done = self.message(delivery, &event).await;
            if done.is_err() {
                self.failed.fetch_add(1, Relaxed);
                return done;
            }
        }
        self.handled.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn message(&self, delivery: Delivery, event: &Event) -> HandlerResult {
        let mode = self
            .mode
            .lock()
            .map(|mode| mode.clone())
            .unwrap_or_default();
        match mode {
            Mode::Count => {}
            Mode::Echo(limit) => {
                let _permit = match &limit {
                    Some(limit) => Some(limit.acquire().await?),
                    None => None,
                };
                let ghost = delivery.intent(user_id!("@_bench_ghost:example.org"));
                let text = format!("echo {}", event.event_id());
                ghost.send(event.room_id(), Message::notice(text)).await?;
            }
            Mode::Semantics => {
                let content: Content = event.content()?;
                if content.bench_throw {
                    return Err(HandlerError::never("asked to fail"));
                }
                tokio::time::sleep(Duration::from_millis(content.bench_delay_ms)).await;
                if let Some(Ok(mut log)) = self.log.as_ref().map(Mutex::lock) {
                    writeln!(log, "{}", event.event_id())?;
                }
            }
        }
        Ok(())
    }

    fn set_mode(&self, name: &str, at_most: usize) -> &'static str {
        let mode = match name {
            "echo" => Mode::Echo((at_most > 0).then(|| Arc::new(Semaphore::new(at_most)))),
            "sem" => Mode::Semantics,
            _ => Mode::Count,
        };
        if let Ok(mut current) = self.mode.lock() {
            *current = mode;
        }
        "ok"
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let env = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let registration = Registration::parse(&format!(
        "{{id: bench, url: null, as_token: {:?}, hs_token: {:?}, sender_localpart: bench, \
         namespaces: {{users: [{{exclusive: true, regex: '@_bench_.*'}}]}}}}",
        env("AS_TOKEN")?,
        env("HS_TOKEN")?,
    ))?;
    let log = std::env::var_os("HANDLED_LOG").map(|path| {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map(Mutex::new)
    });
    let bench = Arc::new(Bench {
        log: log.transpose()?,
        ..Bench::default()
    });

    let (counting, switching) = (bench.clone(), bench.clone());
    let control = Router::new()
        .route(
            "/count",
            get(async move || {
                let (handled, failed) = (
                    counting.handled.load(Relaxed),
                    counting.failed.load(Relaxed),
                );
                Json(serde_json::json!({"handled": handled, "failed": failed}))
            }),
        )
        .route(
            "/mode/{mode}/{n}",
            get(async move |Path((mode, n)): Path<(String, usize)>| switching.set_mode(&mode, n)),
        );
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", env("CTL_PORT")?)).await?;
    tokio::spawn(async move { axum::serve(listener, control).await });

    let place = std::env::var("DATABASE_URL").unwrap_or_else(|_| "journal.db".to_owned());
    let journal = Journal::open(place).await?;
    AppService::builder(
        registration,
        server_name!("example.org"),
        env("HS_URL")?.parse()?,
        journal,
    )
    .on_event(move |delivery, event| bench.clone().handle(delivery, event))
    .build()?
    .serve(&format!("127.0.0.1:{}", env("AS_PORT")?))
    .await?;
    Ok(())
}
