//! A stuck handler: what waits meanwhile, what it takes of memory, how long a start with it takes.

use std::{fs, path::Path, time::Instant};

use anyhow::Result;
use serde::Serialize;

use crate::{
    figures::real,
    homeserver::Homeserver,
    subject::{Kind, Programs, Subject},
};

/// Longer than any run.
const STUCK_MS: u64 = 3_600_000;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Backlog {
    pub(crate) entries: u64,
    /// While they were pushed and after.
    pub(crate) most_mb: f64,
    pub(crate) waiting_mb: f64,
    /// Killed, started again: to the first 200.
    pub(crate) start_ms: f64,
    pub(crate) start_most_mb: f64,
    /// Entries a second, when the handler works again.
    pub(crate) drained_a_second: Option<f64>,
}

pub(crate) fn run(
    programs: &Programs,
    folder: &Path,
    homeserver: &Homeserver,
    entries: u64,
) -> Result<Backlog> {
    let (subject, mut pusher) = Subject::start(programs, Kind::Sdk, folder, homeserver.address)?;
    subject.mode("sem", 0)?;
    for number in 0..entries / 100 {
        pusher.push(&stuck(number))?;
    }
    let (waiting_mb, most_mb) = subject.memory()?;
    drop(pusher);
    subject.kill()?;

    let (subject, _pusher) = Subject::start(programs, Kind::Sdk, folder, homeserver.address)?;
    let start_ms = subject.started_in.as_secs_f64() * 1000.0;
    let began = Instant::now();
    let drained_a_second = if entries > 0 {
        subject.wait_for(entries)?;
        Some(real(entries) / began.elapsed().as_secs_f64())
    } else {
        None
    };
    let (_, start_most_mb) = subject.memory()?;
    drop(subject);
    fs::remove_dir_all(folder)?;
    Ok(Backlog {
        entries,
        most_mb,
        waiting_mb,
        start_ms,
        start_most_mb,
        drained_a_second,
    })
}

/// A hundred messages in a hundred rooms whose handler does not come back.
fn stuck(number: u64) -> Vec<u8> {
    let events: Vec<_> = (0..100)
        .map(|room| crate::behaviour::message(number, room, room, &STUCK_MS.to_string(), false))
        .collect();
    crate::behaviour::transaction(&events)
}
