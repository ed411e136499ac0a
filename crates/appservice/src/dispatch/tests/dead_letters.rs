//! What can not be handled.

use super::*;

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
