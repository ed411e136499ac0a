//! Reading what waits.

use super::rows::{
    ALL, MANY, NOW, ODD, all_waiting, assert_same, entry, ids, latest, row, store_latest,
    store_rows, waiting, waiting_ids,
};
use crate::{
    journal::Entry,
    store::{Queue, Store},
};

pub(super) async fn an_entry_comes_back_as_it_was_stored(store: &dyn Store) {
    let odd = Entry {
        reader: ODD.to_owned(),
        source: ODD.into(),
        key: Some(ODD.to_owned()),
        lane: ODD.into(),
        attempts: u32::MAX,
        due_at: i64::MAX,
        begun: true,
        payload: (0..=255).collect(),
        ..entry(1, "")
    };
    let empty = Entry {
        reader: ODD.to_owned(),
        key: None,
        received_at: 0,
        payload: Vec::new().into(),
        ..entry(2, "")
    };
    let large = Entry {
        reader: ODD.to_owned(),
        payload: vec![b'\\'; 5 * 1024 * 1024].into(),
        ..entry(3, "!room:example.org")
    };
    let in_slot = Entry {
        reader: ODD.to_owned(),
        slot: Some(ODD.into()),
        ..entry(4, ODD)
    };
    let stored = [odd, empty, large];
    store_rows(store, stored.iter().cloned().map(row).collect()).await;
    store_rows(store, vec![row(in_slot.clone())]).await;

    let read = store
        .waiting(ODD, Queue::Each, None, ALL, MANY)
        .await
        .unwrap();
    assert_eq!(ids(&read), [1, 2, 3]);
    for (read, stored) in read.iter().zip(&stored) {
        assert_same(read, stored);
    }
    let read = store
        .waiting(ODD, Queue::Latest, Some(ODD), ALL, MANY)
        .await
        .unwrap();
    assert_eq!(ids(&read), [4]);
    assert_same(&read[0], &in_slot);
}

pub(super) async fn entries_come_by_id_whenever_they_were_stored(store: &dyn Store) {
    for ids in [[9, 3], [5, 1], [7, 11]] {
        store_rows(store, ids.iter().map(|id| waiting(*id, "lane")).collect()).await;
    }
    assert_eq!(waiting_ids(store).await, [1, 3, 5, 7, 9, 11]);
    assert_eq!(store.newest().await.unwrap().entry, 11);
    for lane in [None, Some("lane")] {
        let scan = async |range, limit| {
            let found = store.waiting("", Queue::Each, lane, range, limit).await;
            ids(&found.unwrap())
        };
        // Above the range's start, up to its end.
        assert_eq!(scan((3, 9), MANY).await, [5, 7, 9]);
        assert_eq!(scan((0, 1), MANY).await, [1]);
        assert_eq!(scan((11, i64::MAX), MANY).await, [0; 0]);
        assert_eq!(scan((5, 5), MANY).await, [0; 0]);
        assert_eq!(scan((9, 3), MANY).await, [0; 0]);
        assert_eq!(scan((0, 9), 2).await, [1, 3]);
        assert_eq!(scan(ALL, 0).await, [0; 0]);
    }
}

pub(super) async fn readers_queues_and_lanes_are_told_apart(store: &dyn Store) {
    let of_reader = |id, lane, reader: &str| {
        row(Entry {
            reader: reader.to_owned(),
            ..entry(id, lane)
        })
    };
    store_rows(
        store,
        vec![
            waiting(1, "a"),
            waiting(2, "b"),
            of_reader(3, "a", "audit"),
            waiting(5, "a"),
            of_reader(6, "A", "audit"),
        ],
    )
    .await;
    store_latest(store, vec![latest(4, "slot", "x", None)]).await;

    for (reader, queue, lane, expected) in [
        ("", Queue::Each, None, &[1, 2, 5][..]),
        ("", Queue::Each, Some("a"), &[1, 5]),
        ("", Queue::Each, Some("b"), &[2]),
        ("", Queue::Each, Some("A"), &[]),
        ("", Queue::Each, Some("lane"), &[]),
        ("", Queue::Latest, None, &[4]),
        ("", Queue::Latest, Some("lane"), &[4]),
        ("", Queue::Latest, Some("a"), &[]),
        ("audit", Queue::Each, None, &[3, 6]),
        ("audit", Queue::Each, Some("a"), &[3]),
        ("audit", Queue::Latest, None, &[]),
        ("nobody", Queue::Each, None, &[]),
    ] {
        let found = store.waiting(reader, queue, lane, ALL, MANY).await.unwrap();
        assert_eq!(ids(&found), expected, "{reader:?} {queue:?} {lane:?}");
    }
}

pub(super) async fn a_long_backlog_is_read_in_pieces(store: &dyn Store) {
    const LENGTH: i64 = 5_000;
    const PIECE: u32 = 700;
    let rows: Vec<_> = (1..=LENGTH)
        .map(|id| waiting(id, if id % 1000 == 0 { "rare" } else { "common" }))
        .collect();
    store.append(&rows, None, NOW).await.unwrap();
    let mut read: Vec<i64> = Vec::new();
    loop {
        let after = read.last().copied().unwrap_or(0);
        let range = (after, i64::MAX);
        let piece = store
            .waiting("", Queue::Each, None, range, PIECE)
            .await
            .unwrap();
        if piece.is_empty() {
            break;
        }
        assert!(piece.len() <= PIECE as usize);
        read.extend(ids(&piece));
    }
    assert_eq!(read, (1..=LENGTH).collect::<Vec<_>>());
    let rare = store
        .waiting("", Queue::Each, Some("rare"), ALL, PIECE)
        .await
        .unwrap();
    assert_eq!(ids(&rare), [1000, 2000, 3000, 4000, 5000]);
    assert_eq!(all_waiting(store).await.len(), 5_000);
}
