//! What is done, written down, and a journal that fails.

use super::*;

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
