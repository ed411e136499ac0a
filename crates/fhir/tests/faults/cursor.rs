//! Reading changes: nothing is missed, whatever the clocks and the history do.

use std::{collections::BTreeSet, time::Duration};

use fhir::{ChangeKind, Changes, FhirClient, HistoryQuery, Instant, ResourceType};
use serde_json::{Value, json};
use testbed::{FhirStub, Seen};

use super::stub;

const TYPE: ResourceType = ResourceType::Communication;

fn message(text: &str) -> Value {
    json!({"resourceType": "Communication", "status": "completed", "payload": [{"contentString": text}]})
}

fn query(since: Option<Instant>) -> HistoryQuery {
    HistoryQuery {
        max_changes: 7,
        page_size: 3,
        ..HistoryQuery::since(since)
    }
}

/// Reads until there is no more; what was read, and the cursor.
async fn read_all(
    client: &FhirClient,
    mut since: Option<Instant>,
) -> (BTreeSet<String>, Option<Instant>) {
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        let part = client
            .history_since(&TYPE, &query(since.clone()))
            .await
            .unwrap();
        seen.extend(names(&part));
        let more = part.more;
        since = part.cursor;
        if !more {
            return (seen, since);
        }
    }
    panic!("it never ends")
}

fn names(changes: &Changes) -> impl Iterator<Item = String> {
    changes.changes.iter().map(|change| {
        let deleted = if change.kind == ChangeKind::Deleted {
            " deleted"
        } else {
            ""
        };
        format!("{}/{}{deleted}", change.reference, change.version_id)
    })
}

fn put(stub: &FhirStub, count: usize) -> BTreeSet<String> {
    (0..count)
        .map(|n| format!("{}/1", stub.put(message(&n.to_string()))))
        .collect()
}

#[tokio::test]
async fn changes_of_one_instant_are_all_read_however_many_there_are() {
    for history in [None, Some(405)] {
        let (stub, client) = stub().await;
        stub.without_history(history);
        let mut expected = put(&stub, 5);
        stub.stop_clock(true);
        expected.extend(put(&stub, 25));
        stub.stop_clock(false);
        expected.extend(put(&stub, 5));
        let (seen, cursor) = read_all(&client, None).await;
        assert_eq!(seen, expected, "history: {history:?}");
        let (_, again) = read_all(&client, cursor.clone()).await;
        assert_eq!(again, cursor, "it has come to rest");
    }
}

#[tokio::test]
async fn what_is_stored_late_with_an_earlier_time_is_read_within_the_overlap() {
    let (stub, client) = stub().await;
    let _ = stub.put_at(message("a"), "2026-11-21T00:00:10.000Z");
    stub.set_clock(1_795_219_220_000);
    let (_, cursor) = read_all(&client, None).await;
    let late = stub.put_at(message("late"), "2026-11-21T00:00:02.000Z");
    let (seen, _) = read_all(&client, cursor).await;
    assert!(seen.contains(&format!("{late}/1")));
}

#[tokio::test]
async fn a_time_in_the_future_hides_nothing_that_comes_before_it() {
    for history in [None, Some(404)] {
        let (stub, client) = stub().await;
        stub.without_history(history);
        let _ = stub.put_at(message("from the future"), "2031-01-01T00:00:00.000Z");
        let (_, cursor) = read_all(&client, None).await;
        let now = Instant::parse("2026-11-21T00:00:01Z").unwrap();
        assert!(
            cursor.as_ref().is_some_and(|cursor| *cursor < now),
            "{cursor:?}"
        );
        let expected = format!("{}/1", stub.put(message("now")));
        let (seen, _) = read_all(&client, cursor).await;
        assert!(seen.contains(&expected));
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_shows_in_the_servers_time() {
    let (stub, client) = stub().await;
    let _ = put(&stub, 3);
    let (_, cursor) = read_all(&client, None).await;
    stub.set_clock(1_795_219_200_000 - 86_400_000);
    let read = client
        .history_since(&TYPE, &query(cursor.clone()))
        .await
        .unwrap();
    let before = cursor.unwrap().earlier_by(Duration::from_mins(1));
    assert!(read.server_time.is_some_and(|now| now < before));
}

#[tokio::test]
async fn versions_given_away_twice_after_a_restore_are_told_apart_by_their_time() {
    let (stub, client) = stub().await;
    let reference = stub.put(message("one"));
    let mut second = stub.get(&reference).unwrap();
    second["payload"][0]["contentString"] = "two".into();
    let _ = stub.put(second.clone());
    let (seen, cursor) = read_all(&client, None).await;
    assert!(seen.contains(&format!("{reference}/2")));
    stub.restore_backup(1);
    second["payload"][0]["contentString"] = "another two".into();
    let _ = stub.put(second);
    let read = client.history_since(&TYPE, &query(cursor)).await.unwrap();
    let change = read
        .changes
        .iter()
        .find(|change| change.version_id == "2")
        .unwrap();
    let ChangeKind::Put(json) = &change.kind else {
        panic!("it is there")
    };
    assert_eq!(json["payload"][0]["contentString"], "another two");
}

#[tokio::test]
async fn a_deletion_is_read_where_there_is_a_history_and_a_server_without_one_is_searched() {
    let (stub, client) = stub().await;
    let reference = stub.put(message("a"));
    stub.delete(&reference);
    let (seen, _) = read_all(&client, None).await;
    assert!(seen.contains(&format!("{reference}/2 deleted")));

    for status in [404, 405, 410, 501] {
        let (stub, client) = self::stub().await;
        stub.without_history(Some(status));
        let expected = put(&stub, 10);
        let (seen, cursor) = read_all(&client, None).await;
        assert_eq!(seen, expected, "{status}");
        let more = put(&stub, 1);
        let _ = stub.take_seen();
        assert!(read_all(&client, cursor).await.0.is_superset(&more));
        let asked: Vec<Seen> = stub.take_seen();
        assert!(
            asked.iter().all(|seen| !seen.path.contains("_history")),
            "it is known by now"
        );
    }
}

#[tokio::test]
async fn one_odd_resource_stops_nothing() {
    for history in [None, Some(405)] {
        let (stub, client) = stub().await;
        stub.without_history(history);
        let mut expected = put(&stub, 4);
        let mut odd = message("odd");
        odd["id"] = "no id at all!".into();
        let _ = stub.put(odd);
        expected.extend(put(&stub, 4));
        let read = client
            .history_since(&TYPE, &HistoryQuery::since(None))
            .await
            .unwrap();
        assert_eq!(names(&read).collect::<BTreeSet<_>>(), expected);
        assert_eq!(read.odd.len(), 1);
    }
}

#[tokio::test]
async fn a_type_is_counted_without_reading_it() {
    let (stub, client) = stub().await;
    let _ = put(&stub, 45);
    assert_eq!(client.count(&TYPE).await.unwrap(), Some(45));
}
