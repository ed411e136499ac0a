//! The dispatcher, stepped by hand, and running.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use ruma::{room_id, server_name};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::lanes::PER_LANE;
use super::*;
use crate::{
    Registration,
    journal::{MATRIX, NewEntry, intake::Intake},
};

const HOUR: Duration = Duration::from_hours(1);

struct World {
    /// Holds the journal's file.
    folder: tempfile::TempDir,
    journal: Journal,
    client: Client,
    limits: Limits,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().join("journal.db"))
            .await
            .unwrap();
        let registration = Registration::parse(
            "{id: test, url: null, as_token: as-token-as-token, hs_token: hs-token-hs-token, \
             sender_localpart: bot, namespaces: {}}",
        )
        .unwrap();
        let client = Client::try_new(
            &registration,
            server_name!("test").to_owned(),
            &"http://127.0.0.1:9/".parse().unwrap(),
            HOUR,
            crate::client::ClientConfig::default(),
        )
        .unwrap();
        let retry = RetryPolicy {
            give_up_after: Duration::ZERO,
            max_attempts: 3,
            first_pause: Duration::ZERO,
            ..RetryPolicy::default()
        };
        Self {
            folder,
            journal,
            client,
            limits: Limits {
                retry,
                ..Limits::default()
            },
        }
    }

    /// Appends entries `a1`, `b7`, …: the letters are the lane.
    async fn append(&self, keys: &[&str]) {
        let entries: Vec<_> = keys
            .iter()
            .map(|key| {
                let lane = key.trim_end_matches(|letter: char| letter.is_ascii_digit());
                NewEntry::new("test", *key, lane, Vec::new())
            })
            .collect();
        self.journal.append(&entries, None).await.unwrap();
    }

    /// A dispatcher, as after a start, with a handler for the source `test`.
    async fn start<F, Fut>(&self, handler: F) -> Dispatcher
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let handler: Arc<dyn Handler> = Arc::new(handler);
        // As at the end of the process before.
        self.journal.settle_all().await.unwrap();
        Dispatcher::new(
            self.journal.clone(),
            self.client.clone(),
            ("", Queue::Each),
            HashMap::from([("test".to_owned(), handler)]).into(),
            self.limits,
        )
    }

    /// A transaction with one event.
    async fn push(&self, event_id: &str) {
        let body = format!(r#"{{"events":[{{"event_id":"{event_id}","room_id":"!a"}}]}}"#);
        let pushed = self
            .journal
            .push("1".to_owned(), body.into(), Arc::default());
        pushed.await.unwrap();
    }

    async fn done(&self) -> u64 {
        self.journal.stats().await.unwrap().done
    }
}

async fn step_on(dispatcher: &mut Dispatcher) {
    while dispatcher.step().await.unwrap() {}
}

/// What handlers were called with: the key, and whether it may be a repeat.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(String, bool)>>>);

impl Calls {
    fn record(&self, delivery: &Delivery) -> String {
        let key = delivery.entry().key.clone().unwrap();
        self.0
            .lock()
            .unwrap()
            .push((key.clone(), delivery.may_be_repeat()));
        key
    }

    fn keys(&self) -> Vec<String> {
        self.all().into_iter().map(|(key, _)| key).collect()
    }

    fn all(&self) -> Vec<(String, bool)> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_lane_keeps_its_order_while_its_entries_fail() {
    let world = World::new().await;
    world.append(&["a1", "a2", "a3"]).await;
    let calls = Calls::default();
    let seen = calls.clone();
    let mut dispatcher = world
        .start(move |delivery| {
            seen.record(&delivery);
            let fails = delivery.entry().attempts < 2;
            async move {
                if fails {
                    return Err(HandlerError::new("not yet", Retry::Backoff));
                }
                Ok(())
            }
        })
        .await;
    step_on(&mut dispatcher).await;
    let expected = [("a1", 3), ("a2", 3), ("a3", 3)]
        .map(|(key, times)| [(); 3].map(|()| key)[..times].to_vec())
        .concat();
    assert_eq!(calls.keys(), expected);
    assert!(dispatcher.lanes.is_empty());
}

#[tokio::test]
async fn a_room_whose_handler_waits_holds_no_other_room() {
    let world = World::new().await;
    world.append(&["a1", "b1", "a2", "b2", "c1"]).await;
    let gate = Arc::new(Semaphore::new(0));
    let (finished, mut results) = mpsc::unbounded_channel();
    let waiting = gate.clone();
    let dispatcher = world
        .start(move |delivery| {
            let gate = waiting.clone();
            let finished = finished.clone();
            async move {
                let key = delivery.entry().key.clone().unwrap();
                if key.starts_with('a') {
                    gate.acquire().await?.forget();
                }
                let _ = finished.send(key);
                Ok(())
            }
        })
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(results.recv().await.unwrap());
    }
    others.sort();
    assert_eq!(others, ["b1", "b2", "c1"]);
    gate.add_permits(2);
    assert_eq!(results.recv().await.unwrap(), "a1");
    assert_eq!(results.recv().await.unwrap(), "a2");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(world.done().await, 5, "completions are written on a stop");
}

#[tokio::test]
async fn a_lane_is_worked_by_one_worker_at_a_time() {
    let world = World::new().await;
    let keys: Vec<_> = (0..200)
        .map(|nth| format!("{}{nth}", ["a", "b", "c"][nth % 3]))
        .collect();
    world
        .append(&keys.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let at_work: Arc<Mutex<Vec<String>>> = Arc::default();
    let (finished, mut results) = mpsc::unbounded_channel();
    let busy = at_work.clone();
    let dispatcher = world
        .start(move |delivery| {
            let busy = busy.clone();
            let finished = finished.clone();
            async move {
                let lane = delivery.entry().lane.to_string();
                let alone = {
                    let mut busy = busy.lock().unwrap();
                    let alone = !busy.contains(&lane);
                    busy.push(lane.clone());
                    alone
                };
                tokio::task::yield_now().await;
                busy.lock().unwrap().retain(|other| *other != lane);
                let _ = finished.send((alone, delivery.entry().id));
                Ok(())
            }
        })
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    for _ in 0..200 {
        assert!(results.recv().await.unwrap().0, "two at once in one lane");
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_poisoned_entry_becomes_a_dead_letter_and_its_lane_goes_on() {
    let mut world = World::new().await;
    world.limits.handler_timeout = Duration::from_millis(5);
    world
        .append(&[
            "panics1", "panics2", "hangs1", "hangs2", "fails1", "fails2", "never1", "never2",
        ])
        .await;
    let calls = Calls::default();
    let seen = calls.clone();
    let mut dispatcher = world
        .start(move |delivery| {
            let key = seen.record(&delivery);
            async move {
                match key.as_str() {
                    "panics1" => std::panic::resume_unwind(Box::new("on purpose")),
                    "hangs1" => std::future::pending().await,
                    "fails1" => Err(HandlerError::new("fails", Retry::Backoff)),
                    "never1" => Err(HandlerError::never("never")),
                    _ => Ok(()),
                }
            }
        })
        .await;
    step_on(&mut dispatcher).await;
    let times = |key: &str| calls.keys().iter().filter(|seen| *seen == key).count();
    assert_eq!(
        ["panics1", "hangs1", "fails1", "never1"].map(times),
        [3, 3, 3, 1],
        "the budget is three attempts"
    );
    assert_eq!(
        ["panics2", "hangs2", "fails2", "never2"].map(times),
        [1, 1, 1, 1]
    );
    let mut dead: Vec<_> = world
        .journal
        .dead_letters(0, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|dead| (dead.key.unwrap(), dead.attempts, dead.error))
        .collect();
    dead.sort();
    let expected = [
        ("fails1", 3, "fails"),
        ("hangs1", 3, "the handler ran too long"),
        ("never1", 1, "never"),
        ("panics1", 3, "the handler panicked"),
    ];
    assert_eq!(
        dead,
        expected.map(|(key, attempts, error)| (key.to_owned(), attempts, error.to_owned()))
    );
}

#[tokio::test]
async fn a_handler_that_ran_too_long_has_ended_before_its_lane_goes_on() {
    struct Ends(Arc<AtomicBool>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let mut world = World::new().await;
    world.limits.handler_timeout = Duration::from_millis(5);
    world.append(&["a1"]).await;
    let ended = Arc::new(AtomicBool::new(false));
    let ends = ended.clone();
    let mut dispatcher = world
        .start(move |_| {
            let guard = Ends(ends.clone());
            async move {
                let _guard = guard;
                std::future::pending().await
            }
        })
        .await;
    while dispatcher.fill().await.unwrap() {}
    let entry = dispatcher.lanes.take().unwrap();
    let outcome = dispatcher.attempt(entry).await;
    assert!(outcome.result.is_err());
    assert!(ended.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_is_a_repeat_with_the_ids_it_had() {
    let world = World::new().await;
    let keyless = NewEntry {
        key: None,
        ..NewEntry::new("test", "", "b", Vec::new())
    };
    world.append(&["a1"]).await;
    world.journal.append(&[keyless], None).await.unwrap();
    let healthy = Arc::new(AtomicBool::new(false));
    let ids: Arc<Mutex<Vec<_>>> = Arc::default();
    let (works, seen) = (healthy.clone(), ids.clone());
    let mut dispatcher = world
        .start(move |delivery| {
            seen.lock().unwrap().push((
                delivery.next_transaction_id(room_id!("!a:test")),
                delivery.may_be_repeat(),
                delivery.entry().attempts,
            ));
            let healthy = works.load(Ordering::SeqCst);
            async move {
                if healthy {
                    return Ok(());
                }
                Err(HandlerError::never("no"))
            }
        })
        .await;
    // Appended after the start: nobody has begun with it.
    world.append(&["c1"]).await;
    step_on(&mut dispatcher).await;
    healthy.store(true, Ordering::SeqCst);
    let dead = world.journal.dead_letters(0, 10).await.unwrap();
    assert_eq!(dead.len(), 3);
    for dead in &dead {
        assert!(world.journal.retry_dead_letter(dead.id).await.unwrap());
        assert!(!world.journal.retry_dead_letter(dead.id).await.unwrap());
    }
    step_on(&mut dispatcher).await;
    let ids = ids.lock().unwrap().clone();
    let (first, again) = ids.split_at(3);
    assert!(!first[2].1);
    for ((id, ..), (again, may_be_repeat, attempts)) in first.iter().zip(again) {
        assert_eq!(id, again);
        assert!(may_be_repeat);
        assert_eq!(*attempts, 0, "the budget is fresh");
    }
    assert_eq!(world.done().await, 3);
    // Its key is still known.
    world.append(&["a1"]).await;
    assert!(!dispatcher.step().await.unwrap());
}

#[tokio::test]
async fn a_dead_letter_that_is_skipped_never_comes_back() {
    let world = World::new().await;
    world.append(&["a1", "a2"]).await;
    let mut dispatcher = world
        .start(|delivery| async move {
            if delivery.entry().key.as_deref() == Some("a1") {
                return Err(HandlerError::never("no"));
            }
            Ok(())
        })
        .await;
    step_on(&mut dispatcher).await;
    let dead = world.journal.dead_letters(0, 10).await.unwrap();
    assert!(world.journal.skip_dead_letter(dead[0].id).await.unwrap());
    assert!(!world.journal.skip_dead_letter(dead[0].id).await.unwrap());
    assert!(!world.journal.retry_dead_letter(dead[0].id).await.unwrap());
    world.append(&["a1"]).await;
    assert!(!dispatcher.step().await.unwrap());
    let stats = world.journal.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.dead, stats.done), (0, 0, 2));
}

#[tokio::test]
async fn more_than_memory_holds_is_worked_off_in_order() {
    let world = World::new().await;
    let keys: Vec<_> = (0..3000)
        .map(|nth| {
            format!(
                "{}{nth}",
                ["a", "b", "c", "d", "e", "f", "g"][nth * nth % 7]
            )
        })
        .collect();
    world
        .append(&keys.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let (finished, mut results) = mpsc::unbounded_channel();
    let dispatcher = world
        .start(move |delivery| {
            let entry = delivery.entry();
            // Now and then one fails, so that its lane is read again from the journal.
            let fails = entry.id % 50 == 0 && entry.attempts == 0;
            let finished = finished.clone();
            let (lane, id) = (entry.lane.clone(), entry.id);
            async move {
                if fails {
                    return Err(HandlerError::new("once", Retry::Backoff));
                }
                let _ = finished.send((lane, id));
                Ok(())
            }
        })
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    let mut last: HashMap<Arc<str>, i64> = HashMap::new();
    for _ in 0..3000 {
        let (lane, id) = results.recv().await.unwrap();
        if let Some(before) = last.insert(lane, id) {
            assert!(before < id, "{before} before {id}");
        }
    }
    stop.cancel();
    running.await.unwrap();
    assert!(results.try_recv().is_err(), "nothing is handled twice");
    assert_eq!(world.done().await, 3000);
}

#[tokio::test]
async fn what_comes_while_a_full_lane_is_read_again_is_handled_once() {
    let world = World::new().await;
    let keys: Vec<_> = (0..PER_LANE + 11).map(|nth| format!("a{nth}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let (first, later) = keys.split_at(PER_LANE + 8);
    world.append(first).await;
    let calls = Calls::default();
    let seen = calls.clone();
    let mut dispatcher = world
        .start(move |delivery| {
            seen.record(&delivery);
            async { Ok(()) }
        })
        .await;
    for _ in 0..PER_LANE {
        assert!(dispatcher.step().await.unwrap());
    }
    assert!(dispatcher.lanes.has_refills());
    world.append(later).await;
    step_on(&mut dispatcher).await;
    assert_eq!(calls.keys(), keys);
}

#[tokio::test]
async fn lanes_that_go_on_all_at_once_do_not_fill_the_memory() {
    let world = World::new().await;
    let keys: Vec<_> = (0..20)
        .flat_map(|_| (0..500).map(|lane| format!("{}x", "l".repeat(lane + 1))))
        .enumerate()
        .map(|(nth, lane)| format!("{lane}{nth}"))
        .collect();
    world
        .append(&keys.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let (finished, mut results) = mpsc::unbounded_channel();
    let mut dispatcher = world
        .start(move |_| {
            let _ = finished.send(());
            async { Ok(()) }
        })
        .await;
    while dispatcher.fill().await.unwrap() {}
    // All of them fail, over and over, until each lane is held.
    let mut held = 0;
    while let Some(entry) = dispatcher.lanes.take() {
        held += 1;
        dispatcher.lanes.failed(&entry.lane, entry.id, i64::MAX / 2);
        while dispatcher.fill().await.unwrap() {}
    }
    assert_eq!(held, 500);
    assert_eq!(dispatcher.lanes.queued(), 0);
    dispatcher.lanes.release(i64::MAX);
    while dispatcher.fill().await.unwrap() {}
    assert!(
        dispatcher.lanes.queued() > 4000,
        "{}",
        dispatcher.lanes.queued()
    );
    assert!(
        dispatcher.lanes.queued() < lanes::IN_ALL + PER_LANE,
        "{} entries in memory",
        dispatcher.lanes.queued()
    );
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    for _ in 0..10_000 {
        results.recv().await.unwrap();
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(world.done().await, 10_000);
}

#[tokio::test]
async fn what_is_pushed_is_taken_in_a_piece_at_a_time() {
    let world = World::new().await;
    let mut dispatcher = world.start(|_| async { Ok(()) }).await;
    for nth in 0..1000 {
        world.push(&format!("${nth}")).await;
    }
    let intake = Intake::default();
    let stats = || async {
        let stats = world.journal.stats().await.unwrap();
        (stats.transactions, stats.waiting)
    };
    // However fast the homeserver pushes, handlers get a turn in between.
    assert!(world.journal.take_in(&intake).await.unwrap());
    let (left, waiting) = stats().await;
    assert!(left >= 400, "{left}");
    assert_eq!(left + waiting, 1000);
    while world.journal.take_in(&intake).await.unwrap() {}
    assert_eq!(stats().await, (0, 1000));
    let mut lanes = Vec::new();
    while dispatcher.fill().await.unwrap() {}
    while let Some(entry) = dispatcher.lanes.take() {
        lanes.push(entry.id);
        dispatcher.lanes.finished(&entry.lane);
        while dispatcher.fill().await.unwrap() {}
    }
    assert_eq!(lanes, (1..=1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_pause_outlives_a_restart_and_holds_its_own_lane_only() {
    let world = World::new().await;
    world.append(&["a1", "a2", "b1"]).await;
    let mut dispatcher = world
        .start(|delivery| async move {
            if delivery.entry().key.as_deref() == Some("a1") {
                return Err(HandlerError::after("later", HOUR));
            }
            Ok(())
        })
        .await;
    assert!(dispatcher.step().await.unwrap());
    drop(dispatcher);

    let calls = Calls::default();
    let seen = calls.clone();
    let mut dispatcher = world
        .start(move |delivery| {
            seen.record(&delivery);
            async { Ok(()) }
        })
        .await;
    step_on(&mut dispatcher).await;
    assert_eq!(calls.keys(), ["b1"]);
    let due_at = dispatcher.lanes.next_release().unwrap();
    let hour = i64::try_from(HOUR.as_millis()).unwrap();
    assert!((due_at - now_ms()) > hour - 60_000);
    // The hour is over.
    world.journal.postpone(1, 1, 0, "later").await.unwrap();
    dispatcher.lanes.release(due_at);
    step_on(&mut dispatcher).await;
    assert_eq!(calls.keys(), ["b1", "a1", "a2"]);
}

#[tokio::test]
async fn only_what_a_handler_may_have_begun_with_is_a_repeat() {
    let world = World::new().await;
    let calls = Calls::default();
    let start = || {
        let seen = calls.clone();
        world.start(move |delivery| {
            let key = seen.record(&delivery);
            let fails = key == "a1" && delivery.entry().attempts == 0;
            async move {
                if fails {
                    return Err(HandlerError::new("once", Retry::Backoff));
                }
                Ok(())
            }
        })
    };
    let mut dispatcher = start().await;
    world.append(&["a1"]).await;
    step_on(&mut dispatcher).await;
    world.append(&["b1"]).await;
    drop(dispatcher);
    let mut dispatcher = start().await;
    world.append(&["c1"]).await;
    step_on(&mut dispatcher).await;
    let expected = [("a1", false), ("a1", true), ("b1", true), ("c1", false)];
    assert_eq!(
        calls.all(),
        expected.map(|(key, repeat)| (key.to_owned(), repeat))
    );
}

#[tokio::test]
async fn a_failure_that_could_not_be_written_down_still_makes_a_repeat() {
    let world = World::new().await;
    for verdict in [Retry::Backoff, Retry::Never] {
        let key = format!("{verdict:?}1");
        let calls = Calls::default();
        let (seen, journal) = (calls.clone(), world.journal.clone());
        let mut dispatcher = world
            .start(move |delivery| {
                seen.record(&delivery);
                let (first, journal) = (seen.keys().len() == 1, journal.clone());
                async move {
                    if first {
                        journal.sqlite().set_unwritable(true).await;
                        return Err(HandlerError::new("once", verdict));
                    }
                    Ok(())
                }
            })
            .await;
        world.append(&[&key]).await;
        assert!(dispatcher.step().await.unwrap());
        world.journal.sqlite().set_unwritable(false).await;
        dispatcher.lanes.release(i64::MAX);
        step_on(&mut dispatcher).await;
        assert_eq!(calls.all(), [(key.clone(), false), (key, true)]);
    }
}

#[tokio::test]
async fn what_is_at_work_when_a_stop_is_asked_for_may_finish() {
    let world = World::new().await;
    world.append(&["a1", "a2"]).await;
    let begun = Arc::new(Notify::new());
    let gate = Arc::new(Notify::new());
    let (begins, opens) = (begun.clone(), gate.clone());
    let dispatcher = world
        .start(move |_| {
            let (begun, gate) = (begins.clone(), opens.clone());
            async move {
                begun.notify_one();
                gate.notified().await;
                Ok(())
            }
        })
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    begun.notified().await;
    stop.cancel();
    gate.notify_one();
    running.await.unwrap();
    let stats = world.journal.stats().await.unwrap();
    assert_eq!((stats.done, stats.waiting), (1, 1), "nothing new is begun");
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_ended_and_repeated_at_the_next_start() {
    let mut world = World::new().await;
    world.limits.drain = Duration::ZERO;
    world.append(&["a1"]).await;
    let (begins, mut begun) = mpsc::unbounded_channel();
    let (guard, mut ended) = mpsc::channel::<()>(1);
    let dispatcher = world
        .start(move |_| {
            let (begins, guard) = (begins.clone(), guard.clone());
            async move {
                let _guard = guard;
                let _ = begins.send(());
                std::future::pending().await
            }
        })
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    begun.recv().await.unwrap();
    stop.cancel();
    running.await.unwrap();
    // All senders are gone: the handler doesn't run on behind our back.
    assert!(ended.recv().await.is_none());

    let calls = Calls::default();
    let seen = calls.clone();
    let mut dispatcher = world
        .start(move |delivery| {
            seen.record(&delivery);
            async { Ok(()) }
        })
        .await;
    step_on(&mut dispatcher).await;
    assert_eq!(calls.all(), [("a1".to_owned(), true)]);
}

#[tokio::test]
async fn while_completions_can_not_be_written_nothing_new_is_begun() {
    let world = World::new().await;
    let keys: Vec<_> = (0..300).map(|nth| format!("a{nth}")).collect();
    world
        .append(&keys.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    world.journal.sqlite().set_unwritable(true).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let mut dispatcher = world
        .start(move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .await;
    while dispatcher.fill().await.unwrap() {}
    dispatcher.start_ready();
    let outcome = dispatcher.workers.join_next().await.unwrap();
    dispatcher.joined(outcome).await;
    assert!(world.journal.settle_all().await.is_err());
    dispatcher.start_ready();
    assert_eq!(dispatcher.workers.len(), 0);

    let stop = CancellationToken::new();
    let running = tokio::spawn(work_off(
        world.journal.clone(),
        Arc::default(),
        vec![dispatcher],
        stop.clone(),
    ));
    world.journal.sqlite().set_unwritable(false).await;
    let mut done = 0;
    while done < 300 {
        tokio::task::yield_now().await;
        done = world.done().await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 300);
}

#[tokio::test]
async fn what_is_done_is_written_down_by_itself_and_at_the_end() {
    let world = World::new().await;
    let intake = Arc::new(Intake::default());
    let (finished, mut results) = mpsc::unbounded_channel();
    let handler: Arc<dyn Handler> = Arc::new(move |delivery: Delivery| {
        let _ = finished.send(delivery.entry().key.clone().unwrap());
        async { Ok(()) }
    });
    let dispatcher = Dispatcher::new(
        world.journal.clone(),
        world.client.clone(),
        ("", Queue::Each),
        HashMap::from([(MATRIX.to_owned(), handler)]).into(),
        world.limits,
    );
    let stop = CancellationToken::new();
    let running = tokio::spawn(work_off(
        world.journal.clone(),
        intake,
        vec![dispatcher],
        stop.clone(),
    ));
    let left = "SELECT (SELECT COUNT(*) FROM inbox) + (SELECT COUNT(*) FROM entry)";
    let keys = "SELECT COUNT(*) FROM seen";
    world.push("$1").await;
    assert_eq!(results.recv().await.unwrap(), "$1");
    // Nobody asks for it.
    while world.journal.sqlite().number(keys).await < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.journal.sqlite().number(left).await, 0);
    world.push("$2").await;
    assert_eq!(results.recv().await.unwrap(), "$2");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(world.journal.sqlite().number(keys).await, 2);
    assert_eq!(world.journal.sqlite().number(left).await, 0);
}

#[tokio::test]
async fn what_is_worked_on_for_long_is_stored_and_done_once() {
    let world = World::new().await;
    let calls = Calls::default();
    let seen = calls.clone();
    let handler: Arc<dyn Handler> = Arc::new(move |delivery: Delivery| {
        seen.record(&delivery);
        async { Ok(()) }
    });
    let mut dispatcher = Dispatcher::new(
        world.journal.clone(),
        world.client.clone(),
        ("", Queue::Each),
        HashMap::from([(MATRIX.to_owned(), handler)]).into(),
        world.limits,
    );
    for nth in 1..=3 {
        world.push(&format!("${nth}")).await;
    }
    while world.journal.take_in(&Intake::default()).await.unwrap() {}
    while dispatcher.fill().await.unwrap() {}
    let first = dispatcher.lanes.take().unwrap();
    let outcome = dispatcher.attempt(first).await;
    // One is stored while a handler has it, one while it waits for the lane.
    for id in 1..=2 {
        world.journal.postpone(id, 0, 0, "").await.unwrap();
    }
    dispatcher.settle(outcome).await;
    step_on(&mut dispatcher).await;
    assert_eq!(calls.keys(), ["$1", "$2", "$3"]);
    let stats = world.journal.stats().await.unwrap();
    assert_eq!((stats.transactions, stats.waiting, stats.done), (0, 0, 3));
}

#[tokio::test]
async fn a_journal_that_can_not_be_read_is_read_later() {
    let world = World::new().await;
    world.append(&["a1"]).await;
    let (finished, mut results) = mpsc::unbounded_channel();
    let mut dispatcher = world
        .start(move |delivery| {
            let _ = finished.send(delivery.entry().key.clone());
            async { Ok(()) }
        })
        .await;
    world.journal.sqlite().set_unreadable(true).await;
    assert!(dispatcher.fill().await.is_err());
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    world.journal.sqlite().set_unreadable(false).await;
    assert_eq!(results.recv().await.unwrap().as_deref(), Some("a1"));
    stop.cancel();
    running.await.unwrap();
    assert_eq!(world.done().await, 1);
}

#[tokio::test]
async fn an_entry_that_nobody_handles_is_a_dead_letter() {
    let world = World::new().await;
    let unknown = NewEntry::new("elsewhere", "1", "a", Vec::new());
    world.journal.append(&[unknown], None).await.unwrap();
    world.push("$1").await;
    while world.journal.take_in(&Intake::default()).await.unwrap() {}
    let mut dispatcher = world.start(|_| async { Ok(()) }).await;
    step_on(&mut dispatcher).await;
    let dead = world.journal.dead_letters(0, 10).await.unwrap();
    let sources: Vec<_> = dead.iter().map(|dead| dead.source.as_str()).collect();
    assert_eq!(sources, ["elsewhere", MATRIX]);
}

#[tokio::test]
async fn what_is_appended_while_it_runs_is_seen_at_once() {
    let world = World::new().await;
    let (finished, mut results) = mpsc::unbounded_channel();
    let dispatcher = world
        .start(move |delivery| {
            let _ = finished.send(delivery.entry().key.clone().unwrap());
            async { Ok(()) }
        })
        .await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher.run(stop.clone()));
    for nth in 0..50 {
        let key = format!("a{nth}");
        world.append(&[&key]).await;
        assert_eq!(results.recv().await.unwrap(), key);
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_lane_that_waits_is_told_with_its_class_until_it_goes_on() {
    let world = World::new().await;
    world.append(&["a1", "a2", "b1"]).await;
    let away = Arc::new(AtomicBool::new(true));
    let is_away = away.clone();
    let mut dispatcher = world
        .start(move |delivery: Delivery| {
            let fails = is_away.load(Ordering::Relaxed) && &*delivery.entry().lane == "a";
            async move {
                if fails {
                    return Err(HandlerError::after("the peer is away", Duration::ZERO));
                }
                Ok(())
            }
        })
        .await;
    dispatcher.step().await.unwrap();
    dispatcher.step().await.unwrap();
    let held = world.journal.held_lanes(10);
    let told: Vec<_> = held.iter().map(|one| (&*one.lane, &*one.error)).collect();
    assert_eq!(told, [("a", "the peer is away")]);
    assert_eq!(world.journal.stats().await.unwrap().held, 1);
    assert!(world.journal.held_lanes(0).is_empty());

    // Another process, which only knows that it failed.
    drop(dispatcher);
    away.store(false, Ordering::Relaxed);
    let mut dispatcher = world.start(|_| async { Ok(()) }).await;
    step_on(&mut dispatcher).await;
    assert_eq!(world.journal.held_lanes(10), []);
    assert_eq!(world.done().await, 3);
}

#[tokio::test]
async fn a_lane_that_was_held_before_the_start_is_told_too() {
    let mut world = World::new().await;
    world.limits.retry.first_pause = HOUR;
    world.limits.retry.longest_pause = HOUR;
    world.append(&["a1", "a2"]).await;
    let failing = |_: Delivery| async { Err(HandlerError::new("odd", Retry::Backoff)) };
    let mut dispatcher = world.start(failing).await;
    step_on(&mut dispatcher).await;
    drop(dispatcher);
    // As the next process finds it.
    let path = world.folder.path().join("journal.db");
    drop(std::mem::replace(
        &mut world.journal,
        Journal::in_memory().await.unwrap(),
    ));
    world.journal = Journal::open(path).await.unwrap();
    let mut dispatcher = world.start(failing).await;
    step_on(&mut dispatcher).await;
    let held = world.journal.held_lanes(10);
    let told: Vec<_> = held.iter().map(|one| (&*one.lane, &*one.error)).collect();
    assert_eq!(told, [("a", BEFORE)]);
}
