//! What no test of the port can see: how PostgreSQL goes about it.

use sqlx::{AssertSqlSafe, Executor as _};
use testbed::Postgres;

use super::*;

/// What PostgreSQL does for a query, and how many rows it looks at.
async fn plan(store: &PostgresStore, sql: &'static str, in_lane: bool) -> String {
    let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {sql}");
    let mut query = sqlx::query_scalar(AssertSqlSafe(explain))
        .bind("")
        .bind(40_000_i64)
        .bind(i64::MAX)
        .bind(100_i64);
    if in_lane {
        query = query.bind("!5").bind(false);
    }
    let mut session = store.reader.session().await.unwrap();
    let lines: Vec<String> = query.fetch_all(session.connection()).await.unwrap();
    session.end(Ok(())).unwrap();
    lines.join("\n")
}

#[tokio::test]
async fn a_scan_looks_at_no_more_rows_than_it_returns_however_many_wait() {
    let database = Postgres::shared().await.unwrap().database().await.unwrap();
    let store = PostgresStore::open(database.url()).await.unwrap();
    {
        let mut session = store.aside.session().await.unwrap();
        // A hundred rooms; some entries done, dead, kept; each tenth in a slot; and nothing known of all that.
        let fill = "INSERT INTO entry (id, reader, source, lane, slot, state, received_at, payload)
             SELECT n, '', 'test', '!' || n % 100, CASE WHEN n % 10 = 0 THEN n::text END,
                    CASE WHEN n % 7 = 0 THEN n % 5 ELSE 0 END, n, 'x'
             FROM generate_series(1, 100000) AS n";
        session.connection().execute(fill).await.unwrap();
        session.end(Ok(())).unwrap();
    }
    for (sql, index, in_lane) in [
        (EACH, "entry_waiting", false),
        (LATEST, "entry_latest", false),
        (IN_LANE, "entry_lane", true),
    ] {
        let plan = plan(&store, sql, in_lane).await;
        assert!(
            plan.contains(&format!("Index Scan using {index}")),
            "{plan}"
        );
        for unbounded in ["Seq Scan", "Sort", "Bitmap", "Rows Removed"] {
            assert!(!plan.contains(unbounded), "{plan}");
        }
    }
}
