//! Reading what changed.

use std::time::Duration;

use fhir::{ChangeKind, Changes, HistoryQuery, Instant, ResourceType};
use serde_json::{Value, json};

use crate::stub::{Stub, answer};

const TYPE: ResourceType = ResourceType::Communication;

fn at(second: u32) -> String {
    format!("2026-11-21T10:00:{second:02}Z")
}

fn put(id: &str, version: u32, second: u32) -> Value {
    json!({"resource": {"resourceType": "Communication", "id": id,
        "meta": {"versionId": version.to_string(), "lastUpdated": at(second)}}, "request": {"method": "PUT"}})
}

fn bundle(entries: &[Value], next: Option<&str>) -> Value {
    let links: Vec<_> = next
        .iter()
        .map(|url| json!({"relation": "next", "url": url}))
        .collect();
    json!({"resourceType": "Bundle", "type": "history", "link": links, "entry": entries})
}

fn keys(changes: &Changes) -> Vec<String> {
    let key = |c: &fhir::Change| {
        let kind = if c.kind == ChangeKind::Deleted {
            "-"
        } else {
            ""
        };
        format!("{kind}{}/{}", c.reference.id(), c.version_id)
    };
    changes.changes.iter().map(key).collect()
}

fn since(second: u32) -> HistoryQuery {
    HistoryQuery::since(Instant::parse(&at(second)))
}

#[tokio::test]
async fn changes_come_oldest_first_over_all_pages_and_equal_times_keep_their_order() {
    let stub = Stub::new([
        answer(200).json(&bundle(
            &[put("b", 10, 9), put("b", 9, 9), put("a", 2, 9)],
            Some("?_getpages=1"),
        )),
        // The last entry of the page before comes again: something was stored in between.
        answer(200).json(&bundle(
            &[put("a", 2, 9), put("a", 1, 3), put("b", 8, 2)],
            None,
        )),
    ])
    .await;
    let changes = stub.client().history_since(&TYPE, &since(1)).await.unwrap();
    assert_eq!(keys(&changes), ["b/8", "a/1", "a/2", "b/9", "b/10"]);
    assert!(!changes.more && changes.is_history);
    assert_eq!(changes.cursor.unwrap().as_str(), at(9));
    assert_eq!(
        stub.lines(),
        [
            "GET /fhir/Communication/_history?_count=100&_since=2026%2D11%2D21T09%3A59%3A51Z",
            "GET /fhir/?_getpages=1",
        ]
    );
}

#[tokio::test]
async fn without_a_cursor_everything_is_read_and_with_nothing_new_the_cursor_stays() {
    let stub = Stub::new([
        answer(200).json(&bundle(&[], None)),
        answer(200).json(&json!({"resourceType": "Bundle"})),
    ])
    .await;
    let client = stub.client();
    assert_eq!(
        client
            .history_since(&TYPE, &HistoryQuery::since(None))
            .await
            .unwrap()
            .cursor,
        None
    );
    assert_eq!(
        client.history_since(&TYPE, &since(5)).await.unwrap().cursor,
        Instant::parse(&at(5))
    );
    assert_eq!(
        stub.lines()[0],
        "GET /fhir/Communication/_history?_count=100&_since=1970%2D01%2D01T00%3A00%3A00Z"
    );
}

#[tokio::test]
async fn deletions_are_told_in_every_form() {
    let stub = Stub::new([answer(200).json(&bundle(
        &[
            put("z", 1, 30),
            json!({"request": {"method": "DELETE", "url": "Communication/a/_history/2"}, "response": {"lastModified": at(29)}}),
            json!({"request": {"method": "DELETE", "url": "http://else.example/x/Communication/b"}, "response": {"etag": "W/\"4\"", "lastModified": at(28)}}),
            json!({"fullUrl": "http://a.example/fhir/Communication/c", "request": {"method": "DELETE", "url": "Communication"}, "response": {"lastModified": at(27)}}),
            json!({"fullUrl": "http://a.example/fhir/Communication/d", "response": {"status": "204", "lastModified": at(26)}}),
            // HAPI's older versions give no time: that of the next older entry.
            json!({"request": {"method": "DELETE", "url": "Communication/e/_history/3"}}),
            put("e", 2, 25),
        ],
        None,
    ))])
    .await;
    let changes = stub.client().history_since(&TYPE, &since(1)).await.unwrap();
    let expected = [
        "e/2".to_owned(),
        "-e/3".into(),
        format!("-d/{}", at(26)),
        format!("-c/{}", at(27)),
        "-b/4".into(),
        "-a/2".into(),
        "z/1".into(),
    ];
    assert_eq!(keys(&changes), expected);
    assert!(changes.odd.is_empty());
}

#[tokio::test]
async fn one_odd_entry_never_stops_a_history() {
    let stub = Stub::new([answer(200).text(format!(
        r#"{{"resourceType":"Bundle","entry":[
            7, {{}}, {{"request":{{"method":"PUT"}}}}, {{"request":{{"method":"DELETE","url":"Communication"}}}},
            {{"request":{{"method":"DELETE","url":"Patient/1"}}}},
            {{"resource":{{"resourceType":"Patient","id":"1"}}}}, {{"resource":{{"resourceType":"Communication"}}}},
            {{"resource":{{"resourceType":"Communication","id":"x","n":1e999}}}},
            {}]}}"#,
        put("good", 1, 5)
    ))])
    .await;
    let changes = stub.client().history_since(&TYPE, &since(1)).await.unwrap();
    assert_eq!(keys(&changes), ["good/1"]);
    assert_eq!(changes.odd.len(), 8);
}

#[tokio::test]
async fn a_change_without_version_or_without_time_is_read_all_the_same() {
    let of = |meta: Value| json!({"resource": {"resourceType": "Communication", "id": "a", "meta": meta}});
    let etag = json!({"resource": {"resourceType": "Communication", "id": "a"}, "response": {"etag": "W/\"5\"", "lastModified": at(7)}});
    let deletion = json!({"request": {"method": "DELETE", "url": "Communication/a/_history/2"}});
    let epoch = "1970-01-01T00:00:00Z";
    for (entry, query, key, time) in [
        (etag, since(1), "a/5".to_owned(), at(7)),
        (
            of(json!({"lastUpdated": at(7)})),
            since(1),
            format!("a/{}", at(7)),
            at(7),
        ),
        (of(json!({"versionId": "3"})), since(1), "a/3".into(), at(1)),
        (deletion.clone(), since(1), "-a/2".into(), at(1)),
        (
            deletion,
            HistoryQuery::since(None),
            "-a/2".into(),
            epoch.into(),
        ),
    ] {
        let stub = Stub::new([answer(200).json(&bundle(&[entry], None))]).await;
        let changes = stub.client().history_since(&TYPE, &query).await.unwrap();
        assert_eq!(keys(&changes), [key]);
        assert_eq!(changes.changes[0].last_updated.as_str(), time);
    }
    let stub = Stub::new([answer(200).json(&bundle(&[of(json!({}))], None))]).await;
    let changes = stub.client().history_since(&TYPE, &since(1)).await.unwrap();
    assert_eq!((changes.changes.len(), changes.odd.len()), (0, 1));
}

/// A history of `total` changes, `per_time` of them at each second, as a server would page it.
fn serve_history(stub: &Stub, total: u32, per_time: u32, from: u32, page_size: usize) {
    let mut entries: Vec<_> = (0..total)
        .map(|n| (n, n / per_time))
        .filter(|(_, second)| *second >= from)
        .map(|(n, second)| put(&format!("{n:03}"), 1, second))
        .collect();
    entries.reverse();
    let pages: Vec<_> = entries.chunks(page_size).collect();
    for (n, page) in pages.iter().enumerate() {
        let next = format!("?_getpages={from}-{n}");
        let next = (n + 1 < pages.len()).then_some(next.as_str());
        stub.then(answer(200).json(&bundle(page, next)));
    }
}

#[tokio::test]
async fn a_long_history_is_read_in_parts_without_gaps_whatever_shares_a_time() {
    for per_time in [1, 3, 7] {
        for overlap in [0, 2] {
            for page_size in [1, 4, 50] {
                let expected: Vec<_> = (0..23).map(|n| format!("{n:03}/1")).collect();
                let read = read_in_parts(per_time, overlap, page_size).await;
                assert_eq!(
                    read, expected,
                    "{per_time} a second, {overlap} s overlap, pages of {page_size}"
                );
            }
        }
    }
}

async fn read_in_parts(per_time: u32, overlap: u32, page_size: usize) -> Vec<String> {
    let stub = Stub::new([]).await;
    let client = stub.client();
    let mut query = HistoryQuery {
        max_changes: 5,
        overlap: Duration::from_secs(overlap.into()),
        ..HistoryQuery::since(None)
    };
    let mut all = Vec::new();
    for _ in 0..30 {
        let since = query
            .since
            .as_ref()
            .map(|since| since.as_str()[17..19].parse::<u32>().unwrap());
        let from = since.unwrap_or(0).saturating_sub(overlap);
        serve_history(&stub, 23, per_time, from, page_size);
        let part = client.history_since(&TYPE, &query).await.unwrap();
        stub.seen();
        for key in keys(&part) {
            if !all.contains(&key) {
                all.push(key);
            }
        }
        query.since = part.cursor;
        if !part.more {
            return all;
        }
    }
    panic!("no end");
}

#[tokio::test]
async fn a_history_that_just_fits_has_no_more() {
    let stub = Stub::new([]).await;
    for total in [4, 5, 6] {
        serve_history(&stub, total, 1, 0, 50);
        let query = HistoryQuery {
            max_changes: 5,
            ..HistoryQuery::since(None)
        };
        let part = stub.client().history_since(&TYPE, &query).await.unwrap();
        assert_eq!(
            (part.changes.len(), part.more),
            (total.min(5) as usize, total > 5)
        );
    }
}

#[tokio::test]
async fn a_server_without_history_is_searched_by_time_from_then_on() {
    let unsupported = json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "not-supported"}]});
    for refusal in [
        answer(404),
        answer(404).text("<h1>Not Found</h1>"),
        answer(405),
        answer(501),
        answer(400).json(&unsupported),
    ] {
        let entry = |id: &str, second| json!({"resource": put(id, 1, second)["resource"]});
        let stub = Stub::new([refusal]).await;
        stub.then(answer(200).json(&bundle(&[entry("a", 1), entry("b", 4)], Some("?page=2"))));
        stub.then(answer(200).json(&bundle(&[entry("b", 4), entry("c", 4)], Some("?page=3"))));
        stub.then(answer(200).json(&bundle(&[entry("d", 5)], None)));
        stub.then(answer(200).json(&bundle(&[], None)));
        let client = stub.client();
        let changes = client.history_since(&TYPE, &since(3)).await.unwrap();
        assert_eq!(keys(&changes), ["a/1", "b/1", "c/1", "d/1"]);
        assert!(!changes.is_history && !changes.more);
        client.history_since(&TYPE, &since(5)).await.unwrap();
        assert_eq!(
            stub.lines()[1..],
            [
                "POST /fhir/Communication/_search",
                // Anew from the last time seen, since a page by number would skip what moved;
                // within one time only the link leads on.
                "POST /fhir/Communication/_search",
                "GET /fhir/?page=3",
                "POST /fhir/Communication/_search",
            ]
        );
        let fields = |n: usize| {
            stub.seen()[n]
                .form()
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            fields(1),
            [
                "_sort=_lastUpdated",
                "_count=100",
                "_lastUpdated=ge2026-11-21T09:59:53Z"
            ]
        );
        assert_eq!(fields(2)[2], "_lastUpdated=ge2026-11-21T10:00:04Z");
    }
}

#[tokio::test]
async fn a_server_that_answers_404_to_all_is_not_taken_for_one_without_history() {
    let stub = Stub::new([
        answer(404),
        answer(404),
        answer(200).json(&bundle(&[], None)),
    ])
    .await;
    let client = stub.client();
    let error = client.history_since(&TYPE, &since(3)).await.unwrap_err();
    assert!(matches!(error, fhir::Error::NotFound { .. }), "{error}");
    assert!(
        client
            .history_since(&TYPE, &since(3))
            .await
            .unwrap()
            .is_history
    );
}

#[tokio::test]
async fn a_search_by_time_stops_at_its_limit() {
    let entry = |id: &str, second| json!({"resource": put(id, 1, second)["resource"]});
    let stub =
        Stub::new([answer(200).json(&bundle(&[entry("a", 4), entry("b", 5)], Some("?page=2")))])
            .await;
    let query = HistoryQuery {
        max_changes: 2,
        ..since(3)
    };
    let changes = stub.client().current_since(&TYPE, &query).await.unwrap();
    assert!(changes.more);
    assert_eq!(changes.cursor, Instant::parse(&at(5)));
    stub.seen();
}

#[tokio::test]
async fn pages_have_a_limit() {
    let stub = Stub::new([]).await;
    for n in 0..3 {
        let next = format!("?page={n}");
        stub.then(answer(200).json(&bundle(&[], Some(&next))));
    }
    let query = HistoryQuery {
        max_pages: 2,
        ..since(3)
    };
    let error = stub
        .client()
        .history_since(&TYPE, &query)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("more pages than the limit"),
        "{error}"
    );
    stub.seen();
}

#[tokio::test]
async fn pages_over_the_limit_are_read_in_smaller_ones() {
    let large = "x".repeat(3000);
    let stub = Stub::new([
        answer(200).text(large.clone()),
        answer(200).text(large.clone()),
        answer(200).json(&bundle(&[put("a", 1, 5)], None)),
        answer(200).text(large),
    ])
    .await;
    let client = stub.builder().max_body_bytes(2000).build().unwrap();
    let query = HistoryQuery {
        page_size: 20,
        ..since(3)
    };
    assert_eq!(
        keys(&client.history_since(&TYPE, &query).await.unwrap()),
        ["a/1"]
    );
    let query = HistoryQuery {
        page_size: 1,
        ..since(3)
    };
    let error = client.history_since(&TYPE, &query).await.unwrap_err();
    assert!(error.to_string().contains("limit"), "{error}");
    let lines = stub.lines();
    for (line, count) in lines.iter().zip(["20", "2", "1", "1"]) {
        assert!(line.contains(&format!("_count={count}&")), "{line}");
    }
}
