//! From the push of a transaction through its answer and the lanes to a handler that does nothing.
//!
//! With the journal in a file, as a bridge has it: the disk is part of what is measured, so compare runs on one
//! machine only. `cargo xtask bench` has the figures over a socket and what to compare them with.

#![allow(
    clippy::expect_used,
    missing_docs,
    reason = "a bench may stop at once, as a test may"
)]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{Request, StatusCode, header::AUTHORIZATION},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use matrix_appservice::{AppService, Event, Journal, Registration, ruma::server_name};
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const ROOMS: u64 = 100;

/// A running application service whose handler counts.
struct Running {
    router: axum::Router,
    counted: Arc<Counted>,
    stop: CancellationToken,
    pushed: u64,
    events: u64,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct Counted {
    events: AtomicU64,
    more: Notify,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path().join("journal.db")).await;
        let registration = Registration::parse(
            "{id: bench, url: null, as_token: as_bench_token_1, hs_token: hs_bench_token_2,
              sender_localpart: bench, namespaces: {users: [{exclusive: true, regex: '@_b_.*'}]}}",
        );
        let counted = Arc::<Counted>::default();
        let counting = counted.clone();
        let service = AppService::builder(
            registration.expect("a registration"),
            server_name!("example.org"),
            // Nobody listens there; nothing is sent.
            "http://127.0.0.1:9".parse().expect("a URL"),
            journal.expect("a journal"),
        )
        .on_event(move |_, _| {
            counting.events.fetch_add(1, Relaxed);
            counting.more.notify_one();
            async { Ok(()) }
        })
        .build()
        .expect("an application service");
        let router = service.router();
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        tokio::spawn(service.run(listener, router.clone(), stop.clone()));
        Self {
            router,
            counted,
            stop,
            pushed: 0,
            events: 0,
            _folder: folder,
        }
    }

    fn transaction(&mut self, events: u64) -> Request<Body> {
        let first = self.events;
        self.events += events;
        let events: Vec<String> = (first..self.events).map(event).collect();
        self.pushed += 1;
        Request::put(format!("/_matrix/app/v1/transactions/{}", self.pushed))
            .header(AUTHORIZATION, "Bearer hs_bench_token_2")
            .body(Body::from(format!(
                r#"{{"events":[{}]}}"#,
                events.join(",")
            )))
            .expect("a request")
    }

    async fn push(&self, request: Request<Body>) {
        let answer = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
    }

    async fn handled(&self) {
        while self.counted.events.load(Relaxed) < self.events {
            self.counted.more.notified().await;
        }
    }
}

fn event(number: u64) -> String {
    let room = number % ROOMS;
    format!(
        r#"{{"age":208,"content":{{"body":"Good morning, here is what happened tonight.","msgtype":"m.text"}},"event_id":"$CinaStmuiGpBnr9wTmXxVpKgrQvxdvCb{number:011}","origin_server_ts":1795219102717,"room_id":"!J029A3BNOBxGimrubN5VihiUrAQer{room:014}","sender":"@person1:example.org","type":"m.room.message","unsigned":{{"age":208}},"user_id":"@person1:example.org"}}"#
    )
}

fn ack_and_handle(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (name, handled) in [("ack", false), ("ack and handle", true)] {
        let mut group = criterion.benchmark_group(name);
        for events in [1, 10, 100] {
            group.throughput(Throughput::Elements(events));
            let mut running = runtime.block_on(Running::start());
            group.bench_function(BenchmarkId::from_parameter(events), |bench| {
                bench.iter_custom(|times| {
                    runtime.block_on(async {
                        let mut took = Duration::ZERO;
                        for _ in 0..times {
                            let request = running.transaction(events);
                            let began = Instant::now();
                            running.push(request).await;
                            if handled {
                                running.handled().await;
                            }
                            took += began.elapsed();
                        }
                        // The next measurement does not pay for this one.
                        running.handled().await;
                        took
                    })
                });
            });
            running.stop.cancel();
        }
        group.finish();
    }
}

fn read_events(criterion: &mut Criterion) {
    let json = event(7);
    let mut group = criterion.benchmark_group("an event");
    group.bench_function("its head", |bench| {
        bench.iter(|| Event::parse(black_box(json.as_bytes())));
    });
    group.bench_function("as a message", |bench| {
        bench.iter(|| Event::parse(black_box(json.as_bytes())).map(|event| event.message()));
    });
    group.finish();
}

criterion_group!(benches, read_events, ack_and_handle);
criterion_main!(benches);
