//! More than memory holds.

use super::*;

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
