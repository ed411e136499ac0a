//! Entries of the application's own.

use super::rows::{MANY, NOW, ODD, dead_ids, in_state, keyed, settle, waiting, waiting_ids};
use crate::store::{State, Store};

pub(super) async fn a_key_counts_once(store: &dyn Store) {
    // Twice in one append: the first counts.
    let rows = [keyed(1, 1), keyed(2, 2), keyed(3, 1)];
    assert_eq!(store.append(&rows, None, NOW).await.unwrap(), 2);
    assert_eq!(waiting_ids(store).await, [1, 2]);
    // In another append, and after the entry is done.
    settle(
        store,
        &crate::store::Settlement {
            done: vec![1],
            ..super::rows::settlement()
        },
    )
    .await
    .unwrap();
    let rows = [keyed(4, 1), keyed(5, 2), keyed(6, 3)];
    assert_eq!(store.append(&rows, None, NOW).await.unwrap(), 1);
    assert_eq!(waiting_ids(store).await, [2, 6]);
    // What has none is never the same as any other.
    let rows = [waiting(7, "lane"), waiting(8, "lane")];
    assert_eq!(store.append(&rows, None, NOW).await.unwrap(), 2);
    assert_eq!(waiting_ids(store).await, [2, 6, 7, 8]);
    assert_eq!(store.newest().await.unwrap().entry, 8);
}

pub(super) async fn an_append_that_is_repeated_adds_nothing(store: &dyn Store) {
    let rows = [keyed(1, 1), waiting(2, "lane")];
    assert_eq!(store.append(&rows, None, NOW).await.unwrap(), 2);
    assert_eq!(store.append(&rows, None, NOW).await.unwrap(), 0);
    assert_eq!(waiting_ids(store).await, [1, 2]);
    assert_eq!(store.append(&[], None, NOW).await.unwrap(), 0);
}

pub(super) async fn a_cursor_moves_with_what_was_appended(store: &dyn Store) {
    assert_eq!(store.cursor("patients").await.unwrap(), None);
    let steps = [
        (vec![keyed(1, 1)], "patients", "1"),
        // Also when nothing is new, or there is nothing.
        (vec![keyed(2, 1)], "patients", "2"),
        (Vec::new(), "patients", ODD),
        (vec![keyed(3, 3)], ODD, "other"),
    ];
    for (rows, name, value) in steps {
        store.append(&rows, Some((name, value)), NOW).await.unwrap();
        assert_eq!(store.cursor(name).await.unwrap().as_deref(), Some(value));
    }
    assert_eq!(
        store.cursor("patients").await.unwrap().as_deref(),
        Some(ODD)
    );
    assert_eq!(store.cursor("nobody's").await.unwrap(), None);
    assert_eq!(waiting_ids(store).await, [1, 3]);
}

pub(super) async fn what_is_dead_from_the_start_is_a_dead_letter(store: &dyn Store) {
    let rows = [in_state(1, State::Dead), waiting(2, "lane")];
    assert_eq!(store.append(&rows, None, NOW).await.unwrap(), 2);
    assert_eq!(waiting_ids(store).await, [2]);
    assert_eq!(dead_ids(store).await, [1]);
    let letters = store.dead_letters(0, MANY).await.unwrap();
    assert_eq!(letters[0].error, "class");
}
