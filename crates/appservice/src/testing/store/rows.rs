//! Rows to store, and what a store says it has.

use std::sync::Arc;

use crate::{
    journal::{Entry, JournalError},
    store::{Bytes, Key, LatestRow, Merge, Queue, Row, Settlement, State, Store},
};

pub(super) const NOW: i64 = 1_700_000_000_000;
pub(super) const ALL: (i64, i64) = (0, i64::MAX);
/// Many more than anybody asks for.
pub(super) const MANY: u32 = 10_000;
/// What JSON, a path and an application may bring in, and a database may stumble over.
pub(super) const ODD: &str = "a\0b\\c\\0d'e\"f%g_h\u{fffd}\u{1f980}\n ";

/// An entry of the reader without a name.
pub(super) fn entry(id: i64, lane: &str) -> Entry {
    Entry {
        id,
        reader: String::new(),
        source: "test".into(),
        key: Some(format!("key {id}")),
        lane: lane.into(),
        attempts: 0,
        received_at: NOW + id,
        due_at: 0,
        begun: false,
        slot: None,
        payload: format!("payload {id}").into_bytes().into(),
    }
}

/// A row that waits, without a key to remember.
pub(super) fn row(entry: Entry) -> Row {
    Row {
        entry: Arc::new(entry),
        state: State::Waiting,
        error: None,
        seen: None,
    }
}

pub(super) fn waiting(id: i64, lane: &str) -> Row {
    row(entry(id, lane))
}

pub(super) fn in_state(id: i64, state: State) -> Row {
    Row {
        error: (state == State::Dead).then(|| "class".to_owned()),
        state,
        ..waiting(id, "lane")
    }
}

/// A key as the journal makes them, told apart by a number.
pub(super) fn key(number: u32) -> Key {
    let key = format!("key-of-22-bytes_{number:06}");
    key.parse().unwrap()
}

/// A row that is remembered by a key.
pub(super) fn keyed(id: i64, number: u32) -> Row {
    Row {
        seen: Some(key(number)),
        ..waiting(id, "lane")
    }
}

/// An entry for a slot.
pub(super) fn latest(id: i64, slot: &str, payload: &str, merge: Option<Merge>) -> LatestRow {
    let entry = Entry {
        key: None,
        slot: Some(slot.into()),
        payload: payload.as_bytes().into(),
        ..entry(id, "lane")
    };
    LatestRow {
        row: row(entry),
        merge,
    }
}

/// Joins two payloads so that one sees which, and in what order.
pub(super) fn joined(old: &[u8], new: &[u8]) -> Vec<u8> {
    [old, b"+", new].concat()
}

pub(super) fn settlement() -> Settlement {
    Settlement {
        now: NOW,
        ..Settlement::default()
    }
}

pub(super) async fn store_rows(store: &dyn Store, rows: Vec<Row>) {
    let settlement = Settlement {
        rows,
        ..settlement()
    };
    settle(store, &settlement).await.unwrap();
}

pub(super) async fn store_latest(store: &dyn Store, latest: Vec<LatestRow>) {
    let settlement = Settlement {
        latest,
        ..settlement()
    };
    settle(store, &settlement).await.unwrap();
}

pub(super) async fn settle_done(store: &dyn Store, done: &[i64]) {
    let settlement = Settlement {
        done: done.to_vec(),
        ..settlement()
    };
    settle(store, &settlement).await.unwrap();
}

/// All entries of the reader without a name that wait to be handled each.
pub(super) async fn all_waiting(store: &dyn Store) -> Vec<Entry> {
    store
        .waiting("", Queue::Each, None, ALL, MANY)
        .await
        .unwrap()
}

pub(super) async fn waiting_ids(store: &dyn Store) -> Vec<i64> {
    ids(&all_waiting(store).await)
}

/// All entries in slots that wait: their ids and payloads.
pub(super) async fn in_slots(store: &dyn Store) -> Vec<(i64, String)> {
    let waiting = store
        .waiting("", Queue::Latest, None, ALL, MANY)
        .await
        .unwrap();
    waiting
        .iter()
        .map(|entry| (entry.id, String::from_utf8(entry.payload.to_vec()).unwrap()))
        .collect()
}

pub(super) async fn dead_ids(store: &dyn Store) -> Vec<i64> {
    let dead = store.dead_letters(0, MANY).await.unwrap();
    dead.iter().map(|letter| letter.id).collect()
}

pub(super) fn ids(entries: &[Entry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.id).collect()
}

/// Each field of two entries, since an entry has no equality of its own.
pub(super) fn assert_same(one: &Entry, other: &Entry) {
    assert_eq!(one.id, other.id);
    assert_eq!(one.reader, other.reader);
    assert_eq!(one.source, other.source);
    assert_eq!(one.key, other.key);
    assert_eq!(one.lane, other.lane);
    assert_eq!(one.attempts, other.attempts);
    assert_eq!(one.received_at, other.received_at);
    assert_eq!(one.due_at, other.due_at);
    assert_eq!(one.begun, other.begun);
    assert_eq!(one.slot, other.slot);
    assert_eq!(one.payload, other.payload);
}

/// Pushes a transaction.
pub(super) async fn push(
    store: &dyn Store,
    txn_id: &str,
    body: &[u8],
    received_at: i64,
) -> Result<i64, JournalError> {
    let body = Bytes::copy_from_slice(body);
    store.push(txn_id, &body, received_at).await
}

/// Writes a settlement down.
pub(super) async fn settle(store: &dyn Store, settlement: &Settlement) -> Result<(), JournalError> {
    store.settle(&Arc::new(settlement.clone())).await
}
