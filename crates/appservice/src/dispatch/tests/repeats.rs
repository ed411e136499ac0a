//! What may have been begun before.

use super::*;

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
