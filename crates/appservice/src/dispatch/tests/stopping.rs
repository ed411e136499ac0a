//! Handlers that are at work when it ends.

use super::*;

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
