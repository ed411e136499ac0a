//! The stub homeserver: answers the client-server calls as cheaply as can be and notes when an echo came.
//!
//! One thread, so that what it takes of the machine is small and the same for each subject.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{events, push};

pub(crate) struct Homeserver {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    sends: AtomicU64,
    /// When the echo of which event came.
    echoes: Mutex<Vec<(u64, Instant)>>,
}

impl Homeserver {
    pub(crate) fn start() -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let seen = Arc::<Seen>::default();
        let serving = seen.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (stream, _) = listener.accept().await?;
                    tokio::spawn(serve(stream, serving.clone()));
                }
                #[expect(unreachable_code, reason = "says what the block's type is")]
                Ok::<(), anyhow::Error>(())
            })
        });
        Ok(Self { address, seen })
    }

    /// Forgets the echoes so far.
    pub(crate) fn forget(&self) {
        self.seen.sends.store(0, Relaxed);
        self.echoes().clear();
    }

    /// Waits until this many sends have come.
    pub(crate) fn wait_for(&self, sends: u64, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        while self.seen.sends.load(Relaxed) < sends {
            ensure!(
                Instant::now() < until,
                "{} of {sends} echoes have come",
                self.seen.sends.load(Relaxed)
            );
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Which event's echo came when.
    pub(crate) fn echoes(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Instant)>> {
        self.seen
            .echoes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    loop {
        let (head, total) = loop {
            if let Some(head) = push::find(&buffer, b"\r\n\r\n") {
                let text = std::str::from_utf8(&buffer[..head])?;
                break (head, head + 4 + push::content_length(text).unwrap_or(0));
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < total {
            ensure!(stream.read_buf(&mut buffer).await? > 0, "half a request");
        }
        let line = buffer[..head].split(|byte| *byte == b'\r').next();
        let line = std::str::from_utf8(line.context("no request line")?)?;
        let body = std::str::from_utf8(&buffer[head + 4..total])?;
        let answer = answer(line, body, &seen);
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        buffer.drain(..total);
    }
}

fn answer(line: &str, body: &str, seen: &Seen) -> String {
    let path = line.split(' ').nth(1).unwrap_or_default();
    if path.contains("/send/") {
        let now = Instant::now();
        let echoed = body
            .split("echo ")
            .nth(1)
            .and_then(|id| id.split('"').next());
        if let Some(number) = echoed.and_then(events::number_in) {
            seen.echoes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((number, now));
        }
        let sent = seen.sends.fetch_add(1, Relaxed);
        format!(r#"{{"event_id":"$sent_{sent:037}"}}"#)
    } else if path.contains("/register") || path.contains("/whoami") {
        r#"{"user_id":"@_bench_ghost:example.org"}"#.to_owned()
    } else if path.contains("/join") {
        r#"{"room_id":"!joined"}"#.to_owned()
    } else if path.contains("/versions") {
        r#"{"versions":["v1.1","v1.11","v1.16"],"unstable_features":{}}"#.to_owned()
    } else if path.contains("/ping") {
        r#"{"duration_ms":1}"#.to_owned()
    } else if path.contains("/messages") {
        r#"{"chunk":[],"start":"s"}"#.to_owned()
    } else {
        "{}".to_owned()
    }
}
