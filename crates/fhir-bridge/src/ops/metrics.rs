//! `GET /metrics`: the bridge in numbers, for Prometheus.
//!
//! What happens is counted where it happens; what is (a depth, an age) is looked at when somebody asks. All there is
//! stands in [`ALL`], and docs/src/metrics.md has the same table for people. No label names a room, a resource, a user, an
//! event or a text of anybody's.
//!
//! [Format](https://prometheus.io/docs/instrumenting/exposition_formats/)

use std::{sync::OnceLock, time::Duration};

use ::metrics::{
    counter, describe_counter, describe_gauge, describe_histogram, gauge, set_global_recorder,
};
use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use matrix_appservice::{MATRIX, measures};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::{
    components::Status,
    desk::Desk,
    flows::{Direction, OUTCOMES},
};
use crate::{links::now_ms, puller};

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A number, as it is explained to Prometheus: kind, name, labels, what it means.
pub(crate) type Metric = (Kind, &'static str, &'static str, &'static str);

pub(crate) const MESSAGES: &str = "fhir_bridge_messages_total";
const COMPONENT: &str = "fhir_bridge_component_up";
const WAITING: &str = "fhir_bridge_journal_waiting";
const TRANSACTIONS: &str = "fhir_bridge_journal_transactions";
const OLDEST: &str = "fhir_bridge_journal_oldest_waiting_seconds";
const DEAD: &str = "fhir_bridge_dead_letters";
const HELD: &str = "fhir_bridge_held_lanes";
const PUSHED: &str = "fhir_bridge_last_push_timestamp_seconds";
const READ: &str = "fhir_bridge_fhir_last_read_timestamp_seconds";
const LIST: &str = "fhir_bridge_federation_list_homeservers";
const LIST_READ: &str = "fhir_bridge_federation_list_read_timestamp_seconds";
const BUILD: &str = "fhir_bridge_build_info";
const STARTED: &str = "process_start_time_seconds";

use Kind::{Counter, Gauge, Histogram};

/// All there is.
#[rustfmt::skip]
pub(crate) const ALL: &[Metric] = &[
    (Counter, MESSAGES, "direction, outcome", "Messages and what became of them: direction to_matrix or to_fhir, outcome new, changed, taken_back, refused or left_out"),
    (Gauge, COMPONENT, "component", "Whether what the bridge needs was there at the last look (1) or not (0)"),
    (Gauge, WAITING, "", "Entries that wait in the journal or are being worked on"),
    (Gauge, TRANSACTIONS, "", "Transactions that are stored and not looked at yet"),
    (Gauge, OLDEST, "", "Age of the oldest entry that waits, 0 when none does"),
    (Gauge, DEAD, "", "Entries that nobody could handle and that a person has to retry or skip"),
    (Gauge, HELD, "", "Lanes that wait because their oldest entry has failed"),
    (Gauge, PUSHED, "", "When the homeserver's last transaction was stored; absent until the first one since the start"),
    (Gauge, READ, "server, resource_type", "When the changes of a type were last read to their end; absent until the first time since the start"),
    (Gauge, LIST, "", "Entries of the federation list that counts; absent without one"),
    (Gauge, LIST_READ, "", "When the federation list that counts was read; absent without one"),
    (Gauge, BUILD, "version", "1, with the version of the bridge"),
    (Gauge, STARTED, "", "When the process started"),
    (Counter, measures::TRANSACTIONS, "outcome", "Transactions that the homeserver has pushed: stored, refused or failed"),
    (Counter, measures::ENTRIES, "source", "Entries that were new to the journal, by where they came from"),
    (Histogram, measures::HANDLING, "source, outcome", "How long handlers took for an entry: done or failed"),
    (Counter, measures::FAILURES, "source, kind", "Attempts that failed: peer_away, asked_to_wait, again or final"),
    (Counter, measures::BURIED, "source", "Entries that became dead letters after they were tried"),
    (Histogram, measures::REQUESTS, "status", "How long the homeserver took for a request, by the class of its status, or none"),
    (Histogram, fhir::measures::REQUESTS, "server, status", "How long the FHIR server took for a request, by the class of its status, or none"),
];

/// The upper bounds of histograms, in seconds: from a call on the same machine to a handler that runs out of time.
const BUCKETS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];
/// How long the journal may take to tell its numbers; the last ones stand in for it then.
const PATIENCE: Duration = Duration::from_secs(2);

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Has everything counted from now on, in the whole process.
pub(crate) fn install() {
    recorder();
}

fn recorder() -> Option<&'static PrometheusHandle> {
    let make = || {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS).ok()?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Fails when the program has set another one; then these numbers are told there.
        set_global_recorder(recorder).ok()?;
        for (kind, name, _, help) in ALL.iter().copied() {
            match kind {
                Counter => describe_counter!(name, help),
                Gauge => describe_gauge!(name, help),
                Histogram => describe_histogram!(name, help),
            }
        }
        Some(handle)
    };
    RECORDER.get_or_init(make).as_ref()
}

/// Counters begin at 0, so that the first failure is a change, too.
pub(crate) fn begin(desk: &Desk) {
    for direction in Direction::ALL {
        for outcome in OUTCOMES {
            counter!(MESSAGES, "direction" => direction.as_str(), "outcome" => outcome)
                .increment(0);
        }
    }
    for outcome in ["stored", "refused", "failed"] {
        counter!(measures::TRANSACTIONS, "outcome" => outcome).increment(0);
    }
    let read = desk.servers.iter().map(|bridge| bridge.source);
    for source in read.chain([MATRIX]) {
        counter!(measures::ENTRIES, "source" => source).increment(0);
        counter!(measures::BURIED, "source" => source).increment(0);
        for kind in ["peer_away", "asked_to_wait", "again", "final"] {
            counter!(measures::FAILURES, "source" => source, "kind" => kind).increment(0);
        }
    }
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(STARTED).set(seconds(desk.started_at));
}

/// Puts what was counted into its place: now and then, also when nobody asks.
pub(crate) fn keep_up() {
    if let Some(recorder) = recorder() {
        recorder.run_upkeep();
    }
}

/// `GET /metrics`
pub(crate) async fn get(State(desk): State<Desk>) -> Response {
    look(&desk).await;
    let text = recorder().map(PrometheusHandle::render).unwrap_or_default();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// Looks at what is.
async fn look(desk: &Desk) {
    for (name, found) in desk.components.all() {
        gauge!(COMPONENT, "component" => name).set(f64::from(found.status == Status::Up));
    }
    if let Ok(Ok(stats)) = tokio::time::timeout(PATIENCE, desk.journal.stats()).await {
        let oldest = stats.oldest_waiting.map_or(0, |at| now_ms() - at);
        gauge!(WAITING).set(number(stats.waiting));
        gauge!(TRANSACTIONS).set(number(stats.transactions));
        gauge!(OLDEST).set(seconds(oldest.max(0)));
        gauge!(DEAD).set(number(stats.dead));
        gauge!(HELD).set(number(stats.held));
        if let Some(at) = stats.pushed_at {
            gauge!(PUSHED).set(seconds(at));
        }
    }
    for bridge in desk.servers.iter() {
        let server = bridge.name.clone().unwrap_or_default();
        for resource_type in puller::types(bridge.server.threads) {
            if let Some(at) = bridge.reads.of(&resource_type) {
                let resource_type = resource_type.to_string();
                gauge!(READ, "server" => server.clone(), "resource_type" => resource_type)
                    .set(seconds(at));
            }
        }
    }
    if let Some((list, read_at)) = desk.federation_list() {
        gauge!(LIST).set(number(list.len() as u64));
        if let Some(at) = read_at {
            gauge!(LIST_READ).set(seconds(at));
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers; these are exact up to 2^53"
)]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "times in ms are exact up to the year 287396"
)]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests;
