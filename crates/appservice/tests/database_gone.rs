//! PostgreSQL goes away and comes back while a homeserver pushes: nothing is acknowledged meanwhile, and
//! afterwards all goes on by itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{
    Running,
    generator::{Dice, Queue, assert_in_order},
    push, registration, server,
};
use matrix_appservice::{AppService, Journal};
use testbed::{Fsync, Postgres};

/// Long after anything that is awaited here.
const PATIENCE: Duration = Duration::from_mins(3);

/// The generator, the service, and what was handled.
struct World {
    queue: Queue,
    service: Running,
    handled: Arc<Mutex<Vec<String>>>,
    /// Answers that were no `200`.
    refused: usize,
}

impl World {
    /// Pushes once; returns whether it was acknowledged.
    async fn push(&mut self) -> bool {
        let events = self.queue.next().to_vec();
        let txn_id = self.queue.txn_id.to_string();
        let answer = push(&self.service.router, &txn_id, &events).await;
        if answer.status == 200 {
            self.queue.acknowledge();
            return true;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        self.refused += 1;
        false
    }

    /// Pushes until so many transactions more are acknowledged.
    async fn push_through(&mut self, transactions: usize) {
        let pushed = async {
            let mut acknowledged = 0;
            while acknowledged < transactions {
                acknowledged += usize::from(self.push().await);
                tokio::task::yield_now().await;
            }
        };
        let pushed = tokio::time::timeout(PATIENCE, pushed).await;
        assert!(pushed.is_ok(), "it does not go on by itself");
    }
}

async fn world(journal: Journal) -> World {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let log = handled.clone();
    let service = AppService::builder(
        registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal,
    )
    .on_event(move |_, event| {
        let log = log.clone();
        async move {
            tokio::task::yield_now().await;
            log.lock().unwrap().push(event.event_id().to_string());
            Ok(())
        }
    })
    .build()
    .unwrap();
    World {
        queue: Queue::new(Dice(42)),
        service: Running::start(service).await,
        handled,
        refused: 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_and_back_loses_nothing_and_doubles_nothing() {
    let postgres = Postgres::start(Fsync::Off).await.unwrap();
    let database = postgres.database().await.unwrap();
    let mut world = world(Journal::connect(database.url()).await.unwrap()).await;
    world.push_through(20).await;

    for round in 0..4 {
        // In the middle of whatever it does.
        let gone = async {
            if round % 2 == 0 {
                postgres.kill().await.unwrap();
            } else {
                postgres.stop().await.unwrap();
            }
        };
        let pushing = async {
            loop {
                world.push().await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = gone => {}
            () = pushing => {}
        }
        // Nobody gets an answer that can't be kept.
        for _ in 0..10 {
            assert!(!world.push().await, "acknowledged without a database");
        }
        postgres.start_again().await.unwrap();
        world.push_through(20).await;
    }

    // The one that was cut off is pushed until it is through.
    world.push_through(1).await;
    tokio::time::timeout(PATIENCE, world.service.idle())
        .await
        .unwrap();
    let World {
        queue,
        service,
        handled,
        refused,
    } = world;
    let stats = service.stop().await.stats().await.unwrap();
    let made = queue.made as u64;
    assert_eq!((stats.done, stats.waiting, stats.dead), (made, 0, 0));
    assert_eq!(stats.transactions, 0);
    assert!(refused >= 40);

    let handled = handled.lock().unwrap().clone();
    let mut once = handled.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), handled.len(), "something was handled twice");
    let mut acknowledged = queue.acknowledged.clone();
    acknowledged.sort();
    assert_eq!(once, acknowledged);
    assert_in_order(&handled);
    println!("{made} events, {refused} answers without a database");
}
