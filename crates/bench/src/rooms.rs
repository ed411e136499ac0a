//! Ten thousand rooms beside one.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::{
    events::{Events, Mix},
    figures::{median, quantile},
    homeserver::Homeserver,
    load::push_all,
    subject::{Kind, Programs, Subject},
};

const MANY: u64 = 10_000;

/// The p50 with one room and with many, and what many rooms leave in memory.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Rooms {
    pub(crate) one_p50_us: f64,
    pub(crate) many_p50_us: f64,
    pub(crate) before_mb: f64,
    pub(crate) after_mb: f64,
}

pub(crate) fn run(
    programs: &Programs,
    folder: &Path,
    homeserver: &Homeserver,
    rounds: u64,
    transactions: u64,
) -> Result<Rooms> {
    let (subject, mut pusher) = Subject::start(programs, Kind::Sdk, folder, homeserver.address)?;
    let (mut run, mut handled) = (0, 0);
    let mut p50 = |rooms: u64| -> Result<f64> {
        run += 1;
        let mut source = Events::new(run, rooms, Mix::Usual);
        let bodies: Vec<_> = (0..transactions).map(|_| source.transaction(1)).collect();
        let mut took = push_all(&mut pusher, &bodies)?;
        handled += source.next();
        subject.wait_for(handled)?;
        Ok(quantile(&mut took, 0.5))
    };
    p50(1)?;
    let (before_mb, _) = subject.memory()?;
    let (mut one, mut many) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        one.push(p50(1)?);
        many.push(p50(MANY)?);
    }
    thread::sleep(Duration::from_secs(1));
    let (after_mb, _) = subject.memory()?;
    drop(subject);
    fs::remove_dir_all(folder)?;
    Ok(Rooms {
        one_p50_us: median(one).unwrap_or(0.0),
        many_p50_us: median(many).unwrap_or(0.0),
        before_mb,
        after_mb,
    })
}
