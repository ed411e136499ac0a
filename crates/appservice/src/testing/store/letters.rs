//! What has failed.

use super::rows::{
    MANY, NOW, ODD, all_waiting, dead_ids, entry, in_slots, in_state, latest, row, settle_done,
    store_latest, store_rows, waiting, waiting_ids,
};
use crate::{
    journal::{DeadLetter, Entry},
    store::{State, Store},
};

pub(super) async fn a_failed_entry_waits_with_what_is_known_of_it(store: &dyn Store) {
    store_rows(store, vec![waiting(1, "lane"), waiting(2, "lane")]).await;
    store.postpone(1, 3, NOW + 500, ODD).await.unwrap();
    let found = all_waiting(store).await;
    assert_eq!(
        (found[0].attempts, found[0].due_at, found[0].begun),
        (3, NOW + 500, true)
    );
    assert_eq!(
        (found[1].attempts, found[1].due_at, found[1].begun),
        (0, 0, false)
    );
    assert_eq!(found[0].payload, entry(1, "lane").payload);
    // A failure that isn't the entry's fault counts nothing, and is one.
    store.postpone(2, 0, NOW, "class").await.unwrap();
    assert!(all_waiting(store).await[1].begun);
}

pub(super) async fn dead_letters_are_listed_in_order_in_pieces(store: &dyn Store) {
    let odd = Entry {
        reader: ODD.to_owned(),
        source: ODD.into(),
        key: None,
        ..entry(7, ODD)
    };
    let ids = [2, 3, 5, 9, 11];
    store_rows(store, ids.map(|id| waiting(id, "lane")).to_vec()).await;
    store_rows(store, vec![row(odd)]).await;
    for id in [9, 2, 7, 5] {
        store.bury(id, 10, ODD).await.unwrap();
    }
    assert_eq!(waiting_ids(store).await, [3, 11]);
    assert_eq!(dead_ids(store).await, [2, 5, 7, 9]);
    let piece = store.dead_letters(2, 2).await.unwrap();
    assert_eq!(
        piece.iter().map(|letter| letter.id).collect::<Vec<_>>(),
        [5, 7]
    );
    let expected = DeadLetter {
        id: 7,
        reader: ODD.to_owned(),
        source: ODD.into(),
        key: None,
        lane: ODD.to_owned(),
        attempts: 10,
        received_at: NOW + 7,
        error: ODD.to_owned(),
    };
    assert_eq!(piece[1], expected);
    let (letter, payload) = store.dead_letter(7).await.unwrap().unwrap();
    assert_eq!(letter, expected);
    assert_eq!(*payload, *b"payload 7");
    // One that waits is none.
    assert!(store.dead_letter(3).await.unwrap().is_none());
    assert!(store.dead_letter(77).await.unwrap().is_none());
}

pub(super) async fn a_dead_letter_that_is_retried_waits_under_a_new_id(store: &dyn Store) {
    let keyless = Entry {
        key: None,
        ..entry(2, "lane")
    };
    store_rows(
        store,
        vec![waiting(1, "lane"), row(keyless), waiting(3, "lane")],
    )
    .await;
    for id in [1, 2] {
        store.postpone(id, 9, NOW, "class").await.unwrap();
        store.bury(id, 10, "class").await.unwrap();
    }
    assert!(store.retry_dead_letter(1, 10).await.unwrap());
    assert!(store.retry_dead_letter(2, 11).await.unwrap());
    for none in [1, 2, 3, 10, 77] {
        assert!(!store.retry_dead_letter(none, 12).await.unwrap(), "{none}");
    }
    assert!(dead_ids(store).await.is_empty());
    let found = all_waiting(store).await;
    assert_eq!(super::rows::ids(&found), [3, 10, 11]);
    for entry in &found[1..] {
        assert_eq!((entry.attempts, entry.due_at, entry.begun), (0, 0, true));
    }
    assert_eq!(found[1].key.as_deref(), Some("key 1"));
    // Its sends were made under this name.
    assert_eq!(found[2].key.as_deref(), Some("entry:2"));
    assert_eq!(*found[1].payload, *b"payload 1");

    // In a slot it keeps its place.
    store_latest(store, vec![latest(20, "slot", "x", None)]).await;
    store.bury(20, 1, "class").await.unwrap();
    assert!(store.retry_dead_letter(20, 21).await.unwrap());
    assert_eq!(in_slots(store).await, [(21, "x".to_owned())]);
    store_latest(store, vec![latest(22, "slot", "y", None)]).await;
    assert_eq!(in_slots(store).await, [(22, "y".to_owned())]);
}

pub(super) async fn a_dead_letter_that_is_skipped_is_done(store: &dyn Store) {
    store_rows(store, vec![waiting(1, "lane"), waiting(2, "lane")]).await;
    store.bury(1, 10, "class").await.unwrap();
    assert!(store.skip_dead_letter(1).await.unwrap());
    assert!(!store.skip_dead_letter(1).await.unwrap());
    assert!(!store.skip_dead_letter(2).await.unwrap());
    let counts = store.stats().await.unwrap();
    assert_eq!((counts.dead, counts.waiting, counts.done), (0, 1, 1));
    assert!(store.dead_letter(1).await.unwrap().is_none());
}

pub(super) async fn only_what_waits_can_fail(store: &dyn Store) {
    store_rows(
        store,
        vec![
            in_state(1, State::Dead),
            in_state(2, State::Kept),
            in_state(3, State::Done),
            waiting(4, "lane"),
        ],
    )
    .await;
    settle_done(store, &[4]).await;
    for id in [1, 2, 3, 4, 77] {
        store.postpone(id, 5, NOW, "later").await.unwrap();
        store.bury(id, 6, "later").await.unwrap();
    }
    let letters = store.dead_letters(0, MANY).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].attempts, letters[0].error.as_str()),
        (0, "class")
    );
    assert!(waiting_ids(store).await.is_empty());
}
