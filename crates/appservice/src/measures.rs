//! What is counted and timed, for whoever watches a bridge.
//!
//! The facade of the crate [`metrics`](https://docs.rs/metrics/0.24) is told of it: a program that installs a recorder
//! (such as the one for Prometheus) gets these, for others it costs next to nothing. Labels have few values, and none
//! that names a room, a user or an event: a source is one of the journal's, a status the first digit of HTTP's.

use std::{borrow::Cow, time::Duration};

use http::StatusCode;
use metrics::{counter, histogram};

use crate::dispatch::{HandlerError, Retry};

/// Counter: transactions that the homeserver has pushed, by `outcome`: `stored`, `refused` (no such body is taken), `failed`
/// (they could not be stored; the homeserver sends them again).
pub const TRANSACTIONS: &str = "matrix_appservice_transactions_total";
/// Counter: entries that were new to the journal, by `source`.
pub const ENTRIES: &str = "matrix_appservice_entries_total";
/// Histogram: how long handlers took for an entry, by `source` and `outcome`: `done`, `failed`.
pub const HANDLING: &str = "matrix_appservice_handling_duration_seconds";
/// Counter: attempts that failed, by `source` and `kind`: `peer_away`, `asked_to_wait`, `again` (with growing pauses),
/// `final`.
pub const FAILURES: &str = "matrix_appservice_failures_total";
/// Counter: entries that became dead letters after they were tried, by `source`.
pub const BURIED: &str = "matrix_appservice_buried_total";
/// Histogram: how long the homeserver took for a request, up to the head of its answer, by `status`: `2xx`, `3xx`, `4xx`,
/// `429`, `5xx`, `none` (no answer came).
pub const REQUESTS: &str = "matrix_appservice_request_duration_seconds";

pub(crate) fn transaction(outcome: &'static str) {
    counter!(TRANSACTIONS, "outcome" => outcome).increment(1);
}

pub(crate) fn entries(source: &str, new: u64) {
    counter!(ENTRIES, "source" => source.to_owned()).increment(new);
}

pub(crate) fn handled(source: Cow<'static, str>, took: Duration, failure: Option<&HandlerError>) {
    let outcome = if failure.is_some() { "failed" } else { "done" };
    histogram!(HANDLING, "source" => source.clone(), "outcome" => outcome).record(took);
    if let Some(failure) = failure {
        counter!(FAILURES, "source" => source, "kind" => kind(failure.retry())).increment(1);
    }
}

pub(crate) fn buried(source: &str) {
    counter!(BURIED, "source" => source.to_owned()).increment(1);
}

pub(crate) fn request(took: Duration, status: Option<StatusCode>) {
    histogram!(REQUESTS, "status" => class(status)).record(took);
}

fn kind(retry: Retry) -> &'static str {
    match retry {
        Retry::WhenAvailable => "peer_away",
        Retry::After(_) => "asked_to_wait",
        Retry::Backoff => "again",
        Retry::Never => "final",
    }
}

fn class(status: Option<StatusCode>) -> &'static str {
    let Some(status) = status else {
        return "none";
    };
    match (status.as_u16(), status.as_u16() / 100) {
        (429, _) => "429",
        (_, 1 | 2) => "2xx",
        (_, 3) => "3xx",
        (_, 4) => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_told_by_its_class() {
        let class = |status| super::class(StatusCode::from_u16(status).ok());
        assert_eq!(
            [200, 201, 302, 404].map(class),
            ["2xx", "2xx", "3xx", "4xx"]
        );
        assert_eq!([429, 500, 599].map(class), ["429", "5xx", "5xx"]);
        assert_eq!(super::class(None), "none");
    }
}
