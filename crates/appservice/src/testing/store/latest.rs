//! Of what the latest counts.

use super::rows::{
    dead_ids, in_slots, in_state, joined, latest, settle, settle_done, settlement, store_latest,
};
use crate::store::{LatestRow, Settlement, State, Store};

pub(super) async fn the_newer_takes_the_place_in_whatever_state_the_older_is(store: &dyn Store) {
    let mut id = 0;
    for state in [State::Waiting, State::Dead, State::Kept] {
        let mut older = latest(id + 1, "slot", "older", None);
        older.row.state = state;
        older.row.error = in_state(1, state).error;
        store_latest(store, vec![older]).await;
        store_latest(store, vec![latest(id + 2, "slot", "newer", None)]).await;
        assert_eq!(
            in_slots(store).await,
            [(id + 2, "newer".to_owned())],
            "{state:?}"
        );
        let counts = store.stats().await.unwrap();
        assert_eq!((counts.waiting, counts.dead, counts.kept), (1, 0, 0));
        id += 2;
    }
    store_latest(store, vec![latest(id + 1, "other", "beside it", None)]).await;
    assert_eq!(in_slots(store).await.len(), 2);
}

pub(super) async fn what_has_to_be_kept_is_joined(store: &dyn Store) {
    let join = |id, payload| latest(id, "slot", payload, Some(joined));
    store_latest(store, vec![join(1, "a")]).await;
    store_latest(store, vec![join(2, "b"), join(3, "c")]).await;
    assert_eq!(in_slots(store).await, [(3, "a+b+c".to_owned())]);
    // Also what is kept till somebody asks for it, or is dead.
    store.bury(3, 1, "class").await.unwrap();
    let kept = |id, payload| LatestRow {
        row: crate::store::Row {
            state: State::Kept,
            ..join(id, payload).row
        },
        merge: Some(joined),
    };
    store_latest(store, vec![kept(4, "d")]).await;
    assert!(in_slots(store).await.is_empty());
    assert!(dead_ids(store).await.is_empty());
    store_latest(store, vec![join(5, "e")]).await;
    assert_eq!(in_slots(store).await, [(5, "a+b+c+d+e".to_owned())]);
    // What is done is done.
    settle_done(store, &[5]).await;
    store_latest(store, vec![join(6, "f")]).await;
    assert_eq!(in_slots(store).await, [(6, "f".to_owned())]);
}

pub(super) async fn a_repeated_settlement_joins_nothing_twice(store: &dyn Store) {
    let join = |id, payload| latest(id, "slot", payload, Some(joined));
    store_latest(store, vec![join(1, "a")]).await;
    let mut settlement = Settlement {
        latest: vec![join(2, "b"), join(3, "c")],
        ..settlement()
    };
    for _ in 0..2 {
        settle(store, &settlement).await.unwrap();
        assert_eq!(in_slots(store).await, [(3, "a+b+c".to_owned())]);
    }
    settlement.latest.push(join(4, "d"));
    settle(store, &settlement).await.unwrap();
    assert_eq!(in_slots(store).await, [(4, "a+b+c+d".to_owned())]);
}

pub(super) async fn a_slot_is_free_again_when_its_entry_is_done(store: &dyn Store) {
    for (id, keep_payloads) in [(1, false), (2, true), (3, true)] {
        store_latest(store, vec![latest(id, "slot", "x", Some(joined))]).await;
        assert_eq!(in_slots(store).await, [(id, "x".to_owned())]);
        let settlement = Settlement {
            done: vec![id],
            keep_payloads,
            ..settlement()
        };
        settle(store, &settlement).await.unwrap();
        assert!(in_slots(store).await.is_empty());
    }
    // It passes: nothing of it is left, and nobody counts it.
    assert_eq!(store.stats().await.unwrap().done, 0);
    assert_eq!(store.newest().await.unwrap().entry, 0);
}
