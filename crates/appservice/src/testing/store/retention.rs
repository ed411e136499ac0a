//! How long things stay.

use std::sync::Arc;

use super::rows::{
    NOW, ODD, entry, in_slots, in_state, key, latest, push, row, settle, settle_done, settlement,
    store_latest, store_rows, waiting, waiting_ids,
};
use crate::{
    journal::Entry,
    store::{Counts, Key, LatestRow, Row, Settlement, State, Store, Tidy},
};

pub(super) async fn what_is_kept_waits_when_it_is_released(store: &dyn Store) {
    let mut other = in_state(2, State::Kept);
    other.entry = Entry {
        source: "other".into(),
        ..entry(2, "lane")
    }
    .into();
    store_rows(
        store,
        vec![in_state(1, State::Kept), other, in_state(3, State::Kept)],
    )
    .await;
    assert!(waiting_ids(store).await.is_empty());
    assert_eq!(store.stats().await.unwrap().kept, 3);

    store.release_kept("test").await.unwrap();
    assert_eq!(waiting_ids(store).await, [1, 3]);
    let counts = store.stats().await.unwrap();
    assert_eq!((counts.waiting, counts.kept), (2, 1));
    store.release_kept("nobody's").await.unwrap();
    settle_done(store, &[1, 3]).await;
    store.release_kept("test").await.unwrap();
    assert!(waiting_ids(store).await.is_empty());
}

pub(super) async fn payloads_and_keys_go_when_their_time_is_over(store: &dyn Store) {
    store_rows(store, (1..=4).map(|id| waiting(id, "lane")).collect()).await;
    store.bury(4, 1, "class").await.unwrap();
    for (nth, id) in (0..).zip([1, 2]) {
        let settlement = Settlement {
            now: NOW + i64::from(nth) * 1000,
            seen: vec![key(nth)],
            done: vec![id],
            keep_payloads: true,
            ..settlement()
        };
        settle(store, &settlement).await.unwrap();
    }
    // One that was never stored while it waited.
    let unstored = Entry {
        due_at: NOW,
        ..entry(9, "lane")
    };
    let done = Row {
        state: State::Done,
        ..row(unstored)
    };
    store_rows(store, vec![done]).await;
    let keys = [key(0), key(1)];
    let newest = async || store.newest().await.unwrap().entry;

    // Nobody's time is over: the ids say that all are there.
    assert!(!store.purge(NOW, Some(NOW)).await.unwrap());
    assert_eq!(store.seen(&keys).await.unwrap().len(), 2);
    assert_eq!(newest().await, 9);
    // The payloads of the older, no keys.
    assert!(!store.purge(NOW + 1, None).await.unwrap());
    assert_eq!(newest().await, 4);
    assert_eq!(store.seen(&keys).await.unwrap().len(), 2);
    // The keys of the older.
    assert!(!store.purge(NOW, Some(NOW + 1)).await.unwrap());
    let seen: Vec<Key> = store.seen(&keys).await.unwrap().into_iter().collect();
    assert_eq!(seen, [key(1)]);
    // What waits and what is dead has no such time.
    assert!(!store.purge(i64::MAX, Some(i64::MAX)).await.unwrap());
    assert!(store.seen(&keys).await.unwrap().is_empty());
    assert_eq!(waiting_ids(store).await, [3]);
    let counts = store.stats().await.unwrap();
    assert_eq!((counts.waiting, counts.dead, counts.done), (1, 1, 2));
}

pub(super) async fn a_purge_removes_a_bounded_piece(store: &dyn Store) {
    const KEYS: u32 = 5_000;
    let settlement = Settlement {
        seen: (0..KEYS).map(key).collect(),
        ..settlement()
    };
    settle(store, &settlement).await.unwrap();
    let left = async || store.seen(&settlement.seen).await.unwrap().len();
    let mut before = left().await;
    assert_eq!(before, KEYS as usize);
    let mut purges = 0;
    while store.purge(0, Some(NOW + 1)).await.unwrap() {
        let now = left().await;
        assert!(
            now < before,
            "it says that more is left and removes nothing"
        );
        before = now;
        purges += 1;
        assert!(purges <= KEYS);
    }
    assert_eq!(left().await, 0);
    assert!(purges > 0, "{KEYS} keys are removed in one piece");
}

pub(super) async fn of_a_reader_that_is_forgotten_nothing_is_left(store: &dyn Store) {
    let of_reader = |mut row: Row, reader: &str| {
        reader.clone_into(&mut Arc::make_mut(&mut row.entry).reader);
        row
    };
    let states = [State::Waiting, State::Done, State::Dead, State::Kept];
    let mut rows = vec![waiting(1, "lane"), of_reader(waiting(2, "lane"), "other")];
    for (id, state) in (3..).zip(states) {
        rows.push(of_reader(in_state(id, state), ODD));
    }
    store_rows(store, rows).await;
    store_latest(
        store,
        vec![LatestRow {
            row: of_reader(latest(9, "slot", "x", None).row, ODD),
            merge: None,
        }],
    )
    .await;

    assert_eq!(store.forget_reader("nobody").await.unwrap(), 0);
    assert_eq!(store.forget_reader(ODD).await.unwrap(), 5);
    assert_eq!(store.newest().await.unwrap().entry, 2);
    let counts = store.stats().await.unwrap();
    assert_eq!((counts.waiting, counts.dead, counts.kept), (2, 0, 0));
    assert_eq!(waiting_ids(store).await, [1]);
    // Its slot is free.
    store_latest(store, vec![latest(10, "slot", "y", None)]).await;
    assert_eq!(in_slots(store).await, [(10, "y".to_owned())]);
}

pub(super) async fn the_numbers_say_what_is_there(store: &dyn Store) {
    assert_eq!(store.stats().await.unwrap(), Counts::default());
    push(store, "1", b"{}", NOW).await.unwrap();
    store_rows(
        store,
        vec![
            in_state(1, State::Dead),
            in_state(2, State::Kept),
            in_state(3, State::Done),
            waiting(4, "lane"),
            waiting(5, "lane"),
        ],
    )
    .await;
    let expected = Counts {
        transactions: 1,
        waiting: 2,
        oldest_waiting: Some(NOW + 4),
        dead: 1,
        kept: 1,
        done: 0,
    };
    assert_eq!(store.stats().await.unwrap(), expected);
    // Tidying changes nothing that anybody could see.
    for when in [Tidy::Busy, Tidy::Calm, Tidy::Idle] {
        store.tidy(when).await.unwrap();
    }
    assert_eq!(store.stats().await.unwrap(), expected);
}
