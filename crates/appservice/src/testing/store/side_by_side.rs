//! Several methods at a time.

use super::rows::{
    MANY, NOW, keyed, latest, push, settle, settlement, store_rows, waiting, waiting_ids,
};
use crate::store::{Settlement, Store};

pub(super) async fn methods_that_run_side_by_side_lose_nothing(store: &dyn Store) {
    const ROUNDS: i64 = 40;
    let push_all = async {
        let mut pushed = Vec::new();
        for _ in 0..ROUNDS {
            pushed.push(push(store, "1", b"{\"events\":[]}", NOW).await.unwrap());
        }
        pushed
    };
    let appends = |first: i64| async move {
        for nth in 0..ROUNDS {
            // Each key is appended by both, and counts once.
            let number = u32::try_from(nth).unwrap();
            let rows = [keyed(first + nth, number)];
            let place = nth.to_string();
            store
                .append(&rows, Some(("place", &place)), NOW)
                .await
                .unwrap();
        }
    };
    let settlements = async {
        for nth in 0..ROUNDS {
            let id = 1000 + nth;
            store_rows(store, vec![waiting(id, "lane")]).await;
            let settlement = Settlement {
                done: vec![id],
                latest: vec![latest(2000 + nth, "slot", "x", None)],
                ..settlement()
            };
            settle(store, &settlement).await.unwrap();
        }
    };
    let reads = async {
        for _ in 0..ROUNDS {
            let read = waiting_ids(store).await;
            assert!(read.is_sorted());
            store.transactions(0, MANY).await.unwrap();
            store.stats().await.unwrap();
        }
    };
    let (pushed, ..) = tokio::join!(
        push_all,
        appends(10_000),
        appends(20_000),
        settlements,
        reads
    );

    assert!(pushed.is_sorted_by(|one, other| one < other));
    let stored = store.transactions(0, MANY).await.unwrap();
    let stored: Vec<i64> = stored.iter().map(|transaction| transaction.id).collect();
    assert_eq!(stored, pushed);
    let waiting = waiting_ids(store).await;
    let mut appended: Vec<i64> = waiting.iter().map(|id| id % 10_000).collect();
    appended.sort_unstable();
    assert_eq!(appended, (0..ROUNDS).collect::<Vec<_>>());
    let counts = store.stats().await.unwrap();
    assert_eq!(counts.done, ROUNDS.unsigned_abs());
    assert_eq!(counts.waiting, ROUNDS.unsigned_abs() + 1);
    let last = (ROUNDS - 1).to_string();
    assert_eq!(store.cursor("place").await.unwrap(), Some(last));
}
