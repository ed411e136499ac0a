//! What was settled is known wherever it is.

use super::*;
use crate::journal::seen_key;

fn key(number: u32) -> Key {
    seen_key("", "matrix", &number.to_string())
}

async fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("journal.db"))
        .await
        .unwrap()
}

/// Key 1 is remembered and key 2 isn't; of the two transactions only the second is there.
async fn assert_settled(store: &SqliteStore, transactions: [i64; 2]) {
    let seen = store.seen(&[key(1), key(2)]).await.unwrap();
    assert_eq!(seen, [key(1)].into());
    let left = store.transactions(0, 10).await.unwrap();
    let left: Vec<i64> = left.iter().map(|transaction| transaction.id).collect();
    assert_eq!(left, [transactions[1]]);
}

#[tokio::test]
async fn what_was_settled_is_known_before_and_after_it_is_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let body = Bytes::from_static(b"{}");
    let first = store.push("1", &body, 1).await.unwrap();
    let second = store.push("2", &body, 1).await.unwrap();
    let transactions = [first, second];
    let settlement = Settlement {
        now: 1,
        seen: vec![key(1)],
        transactions: vec![first],
        done_unstored: 3,
        ..Settlement::default()
    };
    store.settle(&Arc::new(settlement)).await.unwrap();
    assert_settled(&store, transactions).await;

    // A process that ends here leaves it to the next one.
    drop(store);
    let store = open(&folder).await;
    assert_settled(&store, transactions).await;
    let sql = "SELECT COUNT(*) FROM settled";
    let left: i64 = store
        .reader
        .lock()
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap();
    assert_eq!(left, 1, "it is not in its place yet");

    store.move_all().await.unwrap();
    assert_settled(&store, transactions).await;
    assert_eq!(store.number("SELECT COUNT(*) FROM settled").await, 0);
    assert_eq!(store.stats().await.unwrap().done, 3);

    drop(store);
    let store = open(&folder).await;
    assert_settled(&store, transactions).await;
    assert_eq!(store.stats().await.unwrap().done, 3);
    let third = store.push("3", &body, 1).await.unwrap();
    assert!(third > second);
}

#[tokio::test]
async fn an_appended_key_that_was_settled_is_not_new() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let settlement = Settlement {
        seen: vec![key(1)],
        ..Settlement::default()
    };
    store.settle(&Arc::new(settlement)).await.unwrap();
    for moved in [false, true] {
        if moved {
            store.move_all().await.unwrap();
        }
        let entry = Entry {
            id: 1,
            reader: String::new(),
            source: "test".into(),
            key: None,
            lane: "lane".into(),
            attempts: 0,
            received_at: 1,
            due_at: 0,
            begun: false,
            slot: None,
            payload: Vec::new().into(),
        };
        let row = Row {
            entry: Arc::new(entry),
            state: crate::store::State::Waiting,
            error: None,
            seen: Some(key(1)),
        };
        assert_eq!(store.append(&[row], None, 1).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn memory_is_bounded_however_much_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    for settlement in 0..140 {
        let keys = (0..1000).map(|number| key(settlement * 1000 + number));
        let settlement = Settlement {
            seen: keys.collect(),
            ..Settlement::default()
        };
        store.settle(&Arc::new(settlement)).await.unwrap();
        assert!(store.settled.keys() < 70_000);
    }
    let all: Vec<Key> = (0..140_000).map(key).collect();
    assert_eq!(store.seen(&all).await.unwrap().len(), all.len());
}

#[tokio::test]
async fn what_was_settled_stays_in_memory_while_there_is_much_to_do_but_not_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await;
    let settle = async |number, now| {
        let settlement = Settlement {
            now,
            seen: vec![key(number)],
            ..Settlement::default()
        };
        store.settle(&Arc::new(settlement)).await.unwrap();
    };
    settle(1, now_ms()).await;
    store.tidy(Tidy::Busy).await.unwrap();
    assert_eq!(store.settled.keys(), 1);
    store.tidy(Tidy::Calm).await.unwrap();
    assert_eq!(store.settled.keys(), 0);
    settle(2, now_ms() - 5_000).await;
    settle(3, now_ms()).await;
    store.tidy(Tidy::Busy).await.unwrap();
    assert_eq!(store.settled.keys(), 0);
    let seen = store.seen(&[1, 2, 3].map(key)).await.unwrap();
    assert_eq!(seen.len(), 3);
}
