//! Order in a lane, and lanes side by side.

use super::*;

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
