//! Transactions, as they were pushed.

use super::rows::{MANY, NOW, ODD, push, settle, settlement};
use crate::store::{Newest, Settlement, Store};

pub(super) async fn a_transaction_comes_back_as_it_came(store: &dyn Store) {
    assert_eq!(store.newest().await.unwrap(), Newest::default());
    assert!(store.transactions(0, MANY).await.unwrap().is_empty());
    let all_bytes: Vec<u8> = (0..=255).collect();
    let long = vec![b'x'; 100_000];
    let bodies: [&[u8]; 4] = [b"{}", b"", &all_bytes, &long];
    for (nth, body) in (0..).zip(bodies) {
        let txn_id = format!("{nth}{ODD}");
        let id = push(store, &txn_id, body, NOW + nth).await.unwrap();
        let last = store.transactions(id - 1, 1).await.unwrap();
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].id, id);
        assert_eq!(last[0].txn_id, txn_id);
        assert_eq!(last[0].received_at, NOW + nth);
        assert!(last[0].body == body, "the body of {nth} has changed");
        assert_eq!(store.newest().await.unwrap().transaction, id);
    }
}

pub(super) async fn ids_grow_also_when_what_had_them_is_gone(store: &dyn Store) {
    let mut last = 0;
    for _ in 0..5 {
        // The homeserver may call each the same.
        let id = push(store, "1", b"{}", NOW).await.unwrap();
        assert!(id > last, "{id} after {last}");
        last = id;
        let settlement = Settlement {
            transactions: vec![id],
            ..settlement()
        };
        settle(store, &settlement).await.unwrap();
        assert!(store.transactions(0, MANY).await.unwrap().is_empty());
    }
}

pub(super) async fn transactions_are_read_in_order_in_pieces(store: &dyn Store) {
    let mut pushed = Vec::new();
    for nth in 0..10 {
        pushed.push(push(store, &nth.to_string(), b"{}", NOW).await.unwrap());
    }
    let mut read = Vec::new();
    loop {
        let after = read.last().copied().unwrap_or(0);
        let piece = store.transactions(after, 4).await.unwrap();
        assert!(piece.len() <= 4);
        if piece.is_empty() {
            break;
        }
        read.extend(piece.iter().map(|transaction| transaction.id));
    }
    assert_eq!(read, pushed);
    assert_eq!(store.stats().await.unwrap().transactions, 10);
}

pub(super) async fn large_bodies_are_read_one_by_one(store: &dyn Store) {
    let large = vec![b'x'; 9 * 1024 * 1024];
    let mut pushed = Vec::new();
    for body in [b"{}".as_slice(), &large, &large, b"{}"] {
        pushed.push(push(store, "1", body, NOW).await.unwrap());
    }
    let mut read = Vec::new();
    while read.len() < pushed.len() {
        let after = read.last().copied().unwrap_or(0);
        let piece = store.transactions(after, MANY).await.unwrap();
        let bytes: usize = piece.iter().map(|transaction| transaction.body.len()).sum();
        assert!(!piece.is_empty(), "a body that is large is never read");
        assert!(bytes <= large.len() + 100, "{bytes} bytes are read at once");
        read.extend(piece.iter().map(|transaction| transaction.id));
    }
    assert_eq!(read, pushed);
}
