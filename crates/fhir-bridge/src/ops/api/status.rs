//! `GET /api/v1/status`
//!
//! How the bridge is, as a whole. What can't be read is `null`: the components say why.

use axum::{Json, extract::State};
use serde::Serialize;

use super::{seconds_since, time};
use crate::{
    links::now_ms,
    ops::{components, desk::Desk},
    puller::{self, Progress},
};

/// Held lanes that are listed.
const LANES: usize = 100;

/// How the bridge is.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Status {
    pub(in crate::ops) version: &'static str,
    pub(in crate::ops) started_at: String,
    /// When this was so.
    pub(in crate::ops) now: String,
    /// Whether all that it needs is there.
    pub(in crate::ops) ready: bool,
    pub(in crate::ops) components: Vec<Component>,
    pub(in crate::ops) journal: Option<Journal>,
    /// When the homeserver's last transaction was stored, since the start.
    pub(in crate::ops) last_push_at: Option<String>,
    pub(in crate::ops) flows: Flows,
    /// Lanes that wait because their oldest entry has failed, oldest first, at most 100.
    pub(in crate::ops) held_lanes: Vec<HeldLane>,
    pub(in crate::ops) fhir: Vec<Reading>,
    pub(in crate::ops) federation: Federation,
}

/// What the bridge needs.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Component {
    pub(in crate::ops) name: &'static str,
    pub(in crate::ops) up: bool,
    pub(in crate::ops) since: String,
    /// Why it is not up.
    pub(in crate::ops) problem: Option<String>,
}

/// The journal in numbers.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Journal {
    pub(in crate::ops) transactions: u64,
    pub(in crate::ops) waiting: u64,
    pub(in crate::ops) oldest_waiting_seconds: Option<u64>,
    pub(in crate::ops) held_lanes: u64,
    pub(in crate::ops) dead_letters: u64,
    pub(in crate::ops) done: u64,
}

/// Messages that were carried over, minute by minute, oldest first; the last minute is the one that runs.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Flows {
    pub(in crate::ops) since: String,
    pub(in crate::ops) to_matrix: Vec<u64>,
    pub(in crate::ops) to_fhir: Vec<u64>,
}

/// A lane that waits because its oldest entry has failed.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct HeldLane {
    pub(in crate::ops) lane: String,
    pub(in crate::ops) source: String,
    pub(in crate::ops) entry: i64,
    pub(in crate::ops) attempts: u32,
    pub(in crate::ops) received_at: String,
    pub(in crate::ops) next_try_at: String,
    pub(in crate::ops) next_try_seconds: u64,
    /// The class of the last failure.
    pub(in crate::ops) error: String,
}

/// How far a type of resource is read.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Reading {
    /// The FHIR server, where it has a name.
    pub(in crate::ops) server: Option<String>,
    pub(in crate::ops) resource_type: String,
    /// `new`, `importing`, `following`; `null` when the journal can't be read.
    pub(in crate::ops) state: Option<&'static str>,
    /// How many were read, while what was there at first is being read.
    pub(in crate::ops) imported: Option<u64>,
    /// The server's time of the newest change that was read.
    pub(in crate::ops) position: Option<String>,
    /// When it was read to its end last, since the start.
    pub(in crate::ops) read_at: Option<String>,
    pub(in crate::ops) read_seconds: Option<u64>,
}

/// Who may take part.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct Federation {
    /// `open` or `closed`.
    pub(in crate::ops) mode: &'static str,
    /// How many homeservers the configuration allows.
    pub(in crate::ops) allowed: usize,
    /// How many it denies.
    pub(in crate::ops) denied: usize,
    pub(in crate::ops) list: Option<List>,
}

/// The federation list, where one is asked for.
#[derive(Debug, Serialize)]
pub(in crate::ops) struct List {
    /// `file` or `url`.
    pub(in crate::ops) source: &'static str,
    pub(in crate::ops) homeservers: Option<usize>,
    pub(in crate::ops) read_at: Option<String>,
    pub(in crate::ops) read_seconds: Option<u64>,
}

pub(super) async fn get(State(desk): State<Desk>) -> Json<Status> {
    Json(read(&desk).await)
}

pub(in crate::ops) async fn read(desk: &Desk) -> Status {
    let now = now_ms();
    let stats = desk.journal.stats().await.ok();
    let journal = stats.map(|stats| Journal {
        transactions: stats.transactions,
        waiting: stats.waiting,
        oldest_waiting_seconds: stats.oldest_waiting.map(|at| seconds_since(at, now)),
        held_lanes: stats.held,
        dead_letters: stats.dead,
        done: stats.done,
    });
    let components = desk
        .components
        .all()
        .into_iter()
        .map(|(name, found)| Component {
            name,
            up: found.status == components::Status::Up,
            since: time(found.since),
            problem: found.problem,
        });
    let held = desk.journal.held_lanes(LANES).into_iter();
    let held_lanes = held.map(|held| HeldLane {
        lane: held.lane.to_string(),
        source: held.source,
        entry: held.entry,
        attempts: held.attempts,
        received_at: time(held.received_at),
        next_try_at: time(held.due_at),
        next_try_seconds: seconds_since(now, held.due_at),
        error: held.error,
    });
    Status {
        version: env!("CARGO_PKG_VERSION"),
        started_at: time(desk.started_at),
        now: time(now),
        ready: desk.components.are_up(),
        components: components.collect(),
        journal,
        last_push_at: stats.and_then(|stats| stats.pushed_at).map(time),
        flows: flows(desk),
        held_lanes: held_lanes.collect(),
        fhir: readings(desk, now).await,
        federation: federation(desk, now),
    }
}

fn flows(desk: &Desk) -> Flows {
    let hour = desk.flows();
    Flows {
        since: time(i64::try_from(hour.since * 1000).unwrap_or(0)),
        to_matrix: hour.to_matrix,
        to_fhir: hour.to_fhir,
    }
}

async fn readings(desk: &Desk, now: i64) -> Vec<Reading> {
    let mut readings = Vec::new();
    for bridge in desk.servers.iter() {
        for resource_type in puller::types(bridge.server.threads) {
            let read_at = bridge.reads.of(&resource_type);
            let progress = puller::progress(bridge, &resource_type).await.ok();
            let (state, imported, position) = match progress {
                None => (None, None, None),
                Some(Progress::New) => (Some("new"), None, None),
                Some(Progress::Importing(done)) => (Some("importing"), Some(done), None),
                Some(Progress::Following(at)) => (Some("following"), None, Some(at.to_string())),
            };
            readings.push(Reading {
                server: bridge.name.clone(),
                resource_type: resource_type.to_string(),
                state,
                imported,
                position,
                read_at: read_at.map(time),
                read_seconds: read_at.map(|at| seconds_since(at, now)),
            });
        }
    }
    readings
}

fn federation(desk: &Desk, now: i64) -> Federation {
    // All servers share it.
    let Some(bridge) = desk.servers.iter().next() else {
        return Federation {
            mode: "open",
            allowed: 0,
            denied: 0,
            list: None,
        };
    };
    let (allowed, denied) = bridge.policy.named();
    let list = bridge.federation_list.as_ref().map(|source| {
        let read_at = source.read_at();
        List {
            source: source.kind(),
            homeservers: bridge.policy.list().map(|list| list.len()),
            read_at: read_at.map(time),
            read_seconds: read_at.map(|at| seconds_since(at, now)),
        }
    });
    Federation {
        mode: if bridge.policy.is_closed() {
            "closed"
        } else {
            "open"
        },
        allowed,
        denied,
        list,
    }
}
