//! Readers with a progress of their own: one that fails or waits holds up none of the others.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use common::{Running, journal, message, push, registration, server};
use matrix_appservice::{
    AppService, Builder, Delivery, Event, HandlerError, Handlers, Journal, NewEntry, RetryPolicy,
};

fn builder(journal: Journal) -> Builder {
    AppService::builder(
        registration(),
        server(),
        "http://127.0.0.1:9".parse().unwrap(),
        journal,
    )
    .retry_policy(RetryPolicy {
        max_attempts: 1,
        give_up_after: std::time::Duration::ZERO,
        ..RetryPolicy::default()
    })
}

/// What was handled, by whom.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Handlers that note each event and entry, and fail while `fails` says so.
    fn handlers(&self, name: &'static str, fails: &Arc<AtomicBool>) -> Handlers {
        let (events, entries) = (self.clone(), self.clone());
        let (fails, fails_too) = (fails.clone(), fails.clone());
        Handlers::new()
            .on_event(move |_, event: Event| {
                let noted = events.note(name, event.event_id().as_str(), &fails);
                async move { noted }
            })
            .on_entry("own", move |delivery: Delivery| {
                let key = delivery.entry().key.clone().unwrap();
                let noted = entries.note(name, &key, &fails_too);
                async move { noted }
            })
    }

    fn note(&self, name: &str, key: &str, fails: &AtomicBool) -> Result<(), HandlerError> {
        self.0.lock().unwrap().push(format!("{name} {key}"));
        if fails.load(Ordering::SeqCst) {
            return Err(HandlerError::never("no"));
        }
        Ok(())
    }

    fn of(&self, name: &str) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        let of = seen.iter().filter_map(|line| line.strip_prefix(name));
        of.map(|key| key.trim().to_owned()).collect()
    }
}

#[tokio::test]
async fn each_reader_has_all_of_it_and_its_own_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let (well, ill) = (Arc::default(), Arc::new(AtomicBool::new(true)));
    let journal = journal(&folder).await;
    let service = builder(journal.clone())
        .reader("main", seen.handlers("main", &well))
        .reader("audit", seen.handlers("audit", &ill))
        .build()
        .unwrap();
    // Appended before it runs: who reads is known.
    let own = NewEntry::new("own", "1", "lane", Vec::new());
    assert_eq!(
        journal
            .append(std::slice::from_ref(&own), None)
            .await
            .unwrap(),
        2
    );
    assert_eq!(journal.append(&[own], None).await.unwrap(), 0);
    let service = Running::start(service).await;
    for nth in 1..=3 {
        let event = message(&format!("${nth}"), "!a", "@arts:hs.test", "x");
        // Each comes twice.
        push(
            &service.router,
            &nth.to_string(),
            std::slice::from_ref(&event),
        )
        .await;
        push(&service.router, "again", &[event]).await;
    }
    service.idle().await;
    for name in ["main", "audit"] {
        let mut keys = seen.of(name);
        keys.retain(|key| key != "1");
        assert_eq!(keys, ["$1", "$2", "$3"], "{name}");
        assert_eq!(seen.of(name).len(), 4, "{name}");
    }
    let dead = journal.dead_letters(0, 100).await.unwrap();
    assert_eq!(dead.len(), 4);
    assert!(dead.iter().all(|letter| letter.reader == "audit"));

    ill.store(false, Ordering::SeqCst);
    for letter in &dead {
        assert!(journal.retry_dead_letter(letter.id).await.unwrap());
    }
    service.idle().await;
    assert_eq!(seen.of("audit").len(), 8);
    assert_eq!(
        seen.of("main").len(),
        4,
        "nothing is repeated for the other"
    );
    let stats = service.stop().await.stats().await.unwrap();
    // The reader without a name has no handlers, and is done with all events at once.
    assert_eq!((stats.dead, stats.waiting, stats.done), (0, 0, 3 + 4 + 4));
}

#[tokio::test]
async fn a_reader_that_waits_holds_up_nobody_and_can_be_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let seen = Seen::default();
    let well = Arc::default();
    let service = builder(journal(&folder).await)
        .reader("main", seen.handlers("main", &well))
        .reader(
            "stuck",
            Handlers::new().on_event(|_, _| std::future::pending()),
        )
        .drain_timeout(std::time::Duration::ZERO)
        .build()
        .unwrap();
    let service = Running::start(service).await;
    for nth in 1..=50 {
        let event = message(&format!("${nth}"), "!a", "@arts:hs.test", "x");
        push(&service.router, &nth.to_string(), &[event]).await;
    }
    while seen.of("main").len() < 50 {
        tokio::task::yield_now().await;
    }
    drop(service.stop().await);

    // The next version of the program has no such reader.
    let journal = journal(&folder).await;
    let service = builder(journal.clone())
        .reader("main", seen.handlers("main", &well))
        .build()
        .unwrap();
    let service = Running::start(service).await;
    service.split().await;
    assert_eq!(journal.forget_reader("stuck").await.unwrap(), 50);
    service.idle().await;
    service.stop().await;
    assert_eq!(seen.of("main").len(), 50, "nothing is repeated");
}
