//! What has become of entries.

use super::rows::{
    MANY, NOW, dead_ids, entry, in_state, key, keyed, push, row, settle, settle_done, settlement,
    store_rows, waiting, waiting_ids,
};
use crate::{
    journal::Entry,
    store::{Key, Settlement, State, Store},
};

pub(super) async fn keys_are_remembered(store: &dyn Store) {
    let keys: Vec<Key> = (1..=3).map(key).collect();
    assert!(store.seen(&keys).await.unwrap().is_empty());
    assert!(store.seen(&[]).await.unwrap().is_empty());
    let settlement = Settlement {
        // Some twice, and some again.
        seen: vec![key(1), key(3), key(1)],
        ..settlement()
    };
    for _ in 0..2 {
        settle(store, &settlement).await.unwrap();
        let mut seen: Vec<_> = store.seen(&keys).await.unwrap().into_iter().collect();
        seen.sort();
        assert_eq!(seen, [key(1), key(3)]);
    }
    // They are the ones that an append is told apart by.
    let new = store.append(&[keyed(1, 1), keyed(2, 2)], None, NOW).await;
    assert_eq!(new.unwrap(), 1);
    assert_eq!(waiting_ids(store).await, [2]);
    assert_eq!(store.seen(&keys).await.unwrap().len(), 3);
}

pub(super) async fn what_is_stored_already_stays_as_it_is(store: &dyn Store) {
    store_rows(store, vec![waiting(1, "lane"), in_state(2, State::Dead)]).await;
    let other = Entry {
        payload: b"other".as_slice().into(),
        ..entry(1, "other")
    };
    store_rows(
        store,
        vec![row(other), waiting(2, "lane"), waiting(3, "lane")],
    )
    .await;
    assert_eq!(waiting_ids(store).await, [1, 3]);
    assert_eq!(dead_ids(store).await, [2]);
    let first = &super::rows::all_waiting(store).await[0];
    super::rows::assert_same(first, &entry(1, "lane"));
}

pub(super) async fn only_what_waits_can_be_done(store: &dyn Store) {
    store_rows(
        store,
        vec![
            waiting(1, "lane"),
            in_state(2, State::Dead),
            in_state(3, State::Kept),
            in_state(4, State::Done),
            waiting(5, "lane"),
        ],
    )
    .await;
    let settlement = Settlement {
        done: vec![1, 2, 3, 4, 77],
        done_unstored: 10,
        ..settlement()
    };
    settle(store, &settlement).await.unwrap();
    assert_eq!(waiting_ids(store).await, [5]);
    assert_eq!(dead_ids(store).await, [2]);
    let counts = store.stats().await.unwrap();
    assert_eq!((counts.done, counts.kept), (11, 1));
    settle_done(store, &[5]).await;
    assert_eq!(store.stats().await.unwrap().done, 12);
    assert!(waiting_ids(store).await.is_empty());
}

pub(super) async fn transactions_go_when_they_are_done(store: &dyn Store) {
    let mut pushed = Vec::new();
    for _ in 0..3 {
        pushed.push(push(store, "1", b"{}", NOW).await.unwrap());
    }
    let settlement = Settlement {
        transactions: vec![pushed[0], pushed[2], 77_777],
        ..settlement()
    };
    settle(store, &settlement).await.unwrap();
    let left = store.transactions(0, MANY).await.unwrap();
    let left: Vec<i64> = left.iter().map(|transaction| transaction.id).collect();
    assert_eq!(left, [pushed[1]]);
}

pub(super) async fn a_settlement_that_is_repeated_with_more_does_only_what_is_new(
    store: &dyn Store,
) {
    let transaction = push(store, "1", b"{}", NOW).await.unwrap();
    store_rows(store, vec![waiting(1, "lane"), waiting(2, "lane")]).await;
    let mut settlement = Settlement {
        seen: vec![key(1)],
        rows: vec![waiting(3, "lane"), in_state(4, State::Dead)],
        done: vec![1],
        transactions: vec![transaction],
        ..settlement()
    };
    settle(store, &settlement).await.unwrap();
    settlement.rows.push(waiting(5, "lane"));
    settlement.done.push(2);
    settlement.seen.push(key(2));
    settle(store, &settlement).await.unwrap();

    assert_eq!(waiting_ids(store).await, [3, 5]);
    assert_eq!(dead_ids(store).await, [4]);
    let counts = store.stats().await.unwrap();
    assert_eq!((counts.done, counts.transactions), (2, 0));
    assert_eq!(store.seen(&[key(1), key(2)]).await.unwrap().len(), 2);
}
