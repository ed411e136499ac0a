//! Lanes that wait, told.

use super::*;

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
