//! What is there after a restart.

use super::rows::{
    MANY, NOW, all_waiting, assert_same, dead_ids, in_slots, joined, key, keyed, latest, push,
    settle, settlement, waiting, waiting_ids,
};
use crate::{
    journal::JournalError,
    store::{Settlement, Store},
};

/// Holds a store to what has to be there when it is opened again, and to being open once at a time.
///
/// `open` opens the same place each time, where nothing is at first. For a store that forgets, this is not.
///
/// # Panics
///
/// When the store breaks a rule.
pub async fn reopening<S: Store>(open: impl AsyncFn() -> Result<S, JournalError>) {
    let store = open().await.unwrap();
    let gone = push(&store, "1", b"{}", NOW).await.unwrap();
    let transaction = push(&store, "2", b"{\"events\":[]}", NOW).await.unwrap();
    let rows = [keyed(1, 1), waiting(2, "lane"), waiting(3, "lane")];
    store
        .append(&rows, Some(("place", "7")), NOW)
        .await
        .unwrap();
    let settlement = Settlement {
        seen: vec![key(2)],
        done: vec![1],
        latest: vec![latest(4, "slot", "a", Some(joined))],
        transactions: vec![gone],
        ..settlement()
    };
    settle(&store, &settlement).await.unwrap();
    store.postpone(2, 1, NOW, "class").await.unwrap();
    store.bury(3, 2, "class").await.unwrap();
    let before = all_waiting(&store).await;

    let second = open().await;
    assert!(
        matches!(second, Err(JournalError::InUse(_))),
        "it is open twice"
    );
    drop(second);
    // The one that has it does not suffer.
    let newest = push(&store, "3", b"{}", NOW).await.unwrap();
    drop(store);

    let store = open().await.unwrap();
    let after = all_waiting(&store).await;
    assert_eq!(after.len(), before.len());
    for (after, before) in after.iter().zip(&before) {
        assert_same(after, before);
    }
    assert_eq!(dead_ids(&store).await, [3]);
    assert_eq!(in_slots(&store).await, [(4, "a".to_owned())]);
    assert_eq!(store.cursor("place").await.unwrap().as_deref(), Some("7"));
    assert_eq!(
        store.seen(&[key(1), key(2), key(3)]).await.unwrap().len(),
        2
    );
    assert_eq!(store.stats().await.unwrap().done, 1);
    let stored = store.transactions(0, MANY).await.unwrap();
    let stored: Vec<i64> = stored.iter().map(|transaction| transaction.id).collect();
    assert_eq!(stored, [transaction, newest]);

    // Ids go on where they were, also when the last ones are gone.
    let settlement = Settlement {
        transactions: stored,
        done: waiting_ids(&store).await,
        ..super::rows::settlement()
    };
    settle(&store, &settlement).await.unwrap();
    drop(store);
    let store = open().await.unwrap();
    assert!(push(&store, "1", b"{}", NOW).await.unwrap() > newest);
    assert!(waiting_ids(&store).await.is_empty());
}
