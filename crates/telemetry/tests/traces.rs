//! What a collector gets, and what becomes of the program when there is none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io,
    net::TcpListener,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use telemetry::{Source, Traces};
use testbed::{Collector, Refusal, TracedSpan};
use tracing::{Dispatch, Level, field::Empty};
use tracing_subscriber::{Layer, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt};

const PATIENCE: Duration = Duration::from_secs(30);
/// Spans that fill a request.
const MANY: usize = 600;
/// Spans that are kept while the collector is busy, and those of the request that it is busy with.
const KEPT: usize = 2048 + 512;

/// What is said in the log, by all tests of this program.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn of_all() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        let log = LOG.get_or_init(|| {
            let log = Log::default();
            // All that anybody says, also the libraries.
            let layer = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(log.clone())
                .with_filter(filter_fn(|metadata| *metadata.level() <= Level::INFO));
            let subscriber = tracing_subscriber::registry().with(layer);
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        });
        log.clone()
    }

    /// The lines about this collector.
    fn about(&self, endpoint: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains(endpoint));
        lines.map(ToOwned::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn is_span(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.is_span()
}

/// Traces to this endpoint, and what has to be the subscriber for spans to be among them.
fn start(endpoint: &str) -> (Traces, Dispatch) {
    let source = Source {
        service: "a-program",
        version: "1.2.3",
        instance: "vvt",
        roots: &["work"],
    };
    let traces = Traces::start(&endpoint.parse().unwrap(), source).unwrap();
    let spans = filter_fn(is_span);
    let subscriber = tracing_subscriber::registry().with(traces.layer().with_filter(spans));
    (traces, subscriber.into())
}

async fn close(traces: Traces) -> Duration {
    let began = Instant::now();
    tokio::task::spawn_blocking(|| traces.close())
        .await
        .unwrap();
    began.elapsed()
}

/// Does something many times.
fn work(dispatch: &Dispatch, times: usize) {
    tracing::dispatcher::with_default(dispatch, || {
        for number in 0..times {
            drop(tracing::error_span!(
                "work",
                id = format!("matrix-{number}")
            ));
        }
    });
}

fn named<'a>(spans: &'a [TracedSpan], name: &str) -> &'a TracedSpan {
    let mut found = spans.iter().filter(|span| span.name == name);
    let span = found.next().unwrap();
    assert!(found.next().is_none(), "{name} is there once");
    span
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_within_a_root_is_told_and_what_is_logged_there_is_not() {
    let collector = Collector::start().await.unwrap();
    let (traces, dispatch) = start(&collector.endpoint());
    tracing::dispatcher::with_default(&dispatch, || {
        let alone = tracing::info_span!("request", id = "alone");
        alone.in_scope(|| drop(tracing::error_span!("within the alone")));
        let work = tracing::error_span!("work", id = "matrix-1", otel.status_code = Empty);
        work.in_scope(|| {
            let request = tracing::debug_span!(
                "request",
                otel.name = format!("PUT {}", "/rooms/{roomId}"),
                otel.kind = "client",
                status = Empty,
            );
            request.record("status", 200_u16);
            request.in_scope(|| tracing::error!(canary = "kanari", "kanari"));
        });
        work.record("otel.status_code", "error");
    });
    // What is left is sent at the end.
    close(traces).await;
    let spans = collector.spans().unwrap();
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let (work, request) = (named(&spans, "work"), named(&spans, "PUT /rooms/{roomId}"));
    assert!(work.parent.is_empty() && work.failed && !request.failed);
    assert_eq!((&request.parent, &request.trace), (&work.id, &work.trace));
    assert_eq!(work.fields["id"], "matrix-1");
    assert_eq!(request.fields["status"], "200");
    for (key, value) in [
        ("service.name", "a-program"),
        ("service.version", "1.2.3"),
        ("service.instance.id", "vvt"),
    ] {
        assert_eq!(work.source[key], value);
    }
    assert!(spans.iter().all(|span| span.events == 0));
    let bytes = collector.bytes();
    assert!(!bytes.windows(6).any(|window| window == b"kanari"));
    // Nor of the machine that it runs on.
    for key in ["code.file.path", "code.filepath", "thread.id", "busy_ns"] {
        assert!(!work.fields.contains_key(key), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_is_told_of_once_and_once_when_it_is_back() {
    let log = Log::of_all();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let endpoint = format!("http://{address}");
    let (traces, dispatch) = start(&endpoint);
    let said = async |times: usize| {
        let began = Instant::now();
        while log.about(&endpoint).len() < times {
            assert!(began.elapsed() < PATIENCE, "{:?}", log.about(&endpoint));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    work(&dispatch, MANY);
    said(1).await;
    // It is there, and takes nothing.
    let collector = Collector::start_on(address).await.unwrap();
    collector.refuse(Some(Refusal::Status(500)));
    for times in 1..=2 {
        work(&dispatch, MANY);
        let began = Instant::now();
        while collector.refused() < times {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(log.about(&endpoint).len(), 1, "{:?}", log.about(&endpoint));
    collector.refuse(None);
    work(&dispatch, MANY);
    said(2).await;
    close(traces).await;
    let lines = log.about(&endpoint);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("there is no connection") && lines[0].contains("WARN"));
    assert!(lines[1].contains("again") && lines[1].contains("INFO"));
    // And no other library says anything of it either.
    let all = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let others = all.lines().filter(|line| !line.contains("telemetry::"));
    assert_eq!(others.count(), 0, "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_slow_collector_is_bounded_and_nobody_waits_for_it() {
    const ALL: usize = 10_000;
    let collector = Collector::start().await.unwrap();
    collector.refuse(Some(Refusal::Silence(Duration::from_secs(3))));
    let (traces, dispatch) = start(&collector.endpoint());
    work(&dispatch, MANY);
    let began = Instant::now();
    while collector.refused() == 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who waited for it would wait for a minute.
    let began = Instant::now();
    work(&dispatch, ALL);
    assert!(began.elapsed() < Duration::from_secs(20), "nobody waits");
    collector.refuse(None);
    close(traces).await;
    let came = collector.spans().unwrap().len();
    assert!(came > MANY && came <= KEPT, "{came} of {ALL} were kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_waits_for_a_silent_collector_a_few_seconds_only() {
    let collector = Collector::start().await.unwrap();
    collector.refuse(Some(Refusal::Silence(Duration::from_mins(1))));
    let (traces, dispatch) = start(&collector.endpoint());
    work(&dispatch, 1);
    let took = close(traces).await;
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(collector.refused(), 1, "it was tried");
}
