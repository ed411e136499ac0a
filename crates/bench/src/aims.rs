//! The aims, and whether they were reached.

use crate::{
    backlog::Backlog, behaviour::Check, figures::median, load::Round, rooms::Rooms, subject::Kind,
};

/// An aim: a figure that shall not be above (or below) another.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Aim {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) bound: f64,
    pub(crate) at_least: bool,
    pub(crate) unit: &'static str,
}

impl Aim {
    pub(crate) fn is_reached(&self) -> bool {
        if self.at_least {
            self.value >= self.bound
        } else {
            self.value <= self.bound
        }
    }
}

/// All rounds, told apart by their subjects.
pub(crate) struct Rounds<'a>(pub(crate) &'a [Vec<Round>]);

impl Rounds<'_> {
    /// The median of a figure over the rounds.
    pub(crate) fn median(&self, kind: Kind, figure: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.0.iter().filter_map(|round| figure(of(round, kind)?)))
    }

    /// The median of a figure's multiple of another subject's in the same round.
    pub(crate) fn ratio(
        &self,
        kind: Kind,
        base: Kind,
        figure: impl Fn(&Round) -> Option<f64>,
    ) -> Option<f64> {
        median(
            self.0
                .iter()
                .filter_map(|round| Some(figure(of(round, kind)?)? / figure(of(round, base)?)?)),
        )
    }
}

fn of(round: &[Round], kind: Kind) -> Option<&Round> {
    round.iter().find(|round| round.kind == kind)
}

/// The aims about speed and memory.
pub(crate) fn of_load(rounds: &Rounds<'_>) -> Vec<Aim> {
    let mut aims = Vec::new();
    let mut add = |name: String, value: Option<f64>, bound, at_least, unit| {
        if let Some(value) = value {
            aims.push(Aim {
                name,
                value,
                bound,
                at_least,
                unit,
            });
        }
    };
    for (at, events) in [1, 10, 100].into_iter().enumerate() {
        let p50 = move |round: &Round| Some(round.acks.get(at)?.p50_us);
        let ratio = rounds.ratio(Kind::Sdk, Kind::Floor, p50);
        add(
            format!("ack p50, {events} a transaction"),
            ratio,
            1.25,
            false,
            "× floor",
        );
    }
    let paced = rounds.ratio(Kind::Sdk, Kind::Floor, |round| Some(round.paced_ack_us));
    add(
        "… 100, a pause behind each".to_owned(),
        paced,
        1.25,
        false,
        "× floor",
    );
    for (at, events) in [1, 10, 100].into_iter().enumerate() {
        let p50 = move |round: &Round| Some(round.acks.get(at)?.p50_us);
        let ratio = rounds.ratio(Kind::Sdk, Kind::Log, p50);
        add(
            format!("… stretch, {events} a transaction"),
            ratio,
            1.5,
            false,
            "× log",
        );
    }
    for (at, events) in [1, 10, 100].into_iter().enumerate() {
        let spread = rounds.median(Kind::Sdk, |round| {
            let acks = round.acks.get(at)?;
            Some(acks.p99_us / acks.p50_us)
        });
        add(
            format!("ack p99, {events} a transaction"),
            spread,
            3.0,
            false,
            "× its p50",
        );
    }
    let echo = rounds.ratio(Kind::Sdk, Kind::Floor, |round| round.echoes_a_second);
    add(
        "echoes a second, no limit".to_owned(),
        echo,
        0.7,
        true,
        "× floor",
    );
    let paced = rounds.ratio(Kind::Sdk, Kind::Floor, |round| round.paced_p50_us);
    add("paced echo, p50".to_owned(), paced, 1.5, false, "× floor");
    let cpu = rounds.ratio(Kind::Sdk, Kind::Floor, |round| {
        Some(round.acks.first()?.cpu)
    });
    add(
        "CPU, 1 a transaction".to_owned(),
        cpu,
        1.3,
        false,
        "× floor",
    );
    let idle = rounds.median(Kind::Sdk, |round| Some(round.idle_mb));
    add("idle memory".to_owned(), idle, 12.0, false, "MB");
    let start = rounds.median(Kind::Sdk, |round| Some(round.start_ms));
    add("start, empty".to_owned(), start, 50.0, false, "ms");
    aims
}

pub(crate) fn of_backlog(backlog: &Backlog) -> Aim {
    Aim {
        name: format!("start, {} to take up", backlog.entries),
        value: backlog.start_ms,
        bound: match backlog.entries {
            0 => 50.0,
            1..=10_000 => 250.0,
            _ => 1000.0,
        },
        at_least: false,
        unit: "ms",
    }
}

pub(crate) fn of_rooms(rooms: &Rooms) -> Aim {
    Aim {
        name: "ack p50, 10,000 rooms".to_owned(),
        value: rooms.many_p50_us / rooms.one_p50_us,
        bound: 1.1,
        at_least: false,
        unit: "× one room",
    }
}

pub(crate) fn of_behaviour(checks: &[Check]) -> Aim {
    let right = checks.iter().filter(|check| check.wrong.is_none()).count();
    let real = |count: usize| crate::figures::real(u64::try_from(count).unwrap_or(0));
    Aim {
        name: "behaviour".to_owned(),
        value: real(right),
        bound: real(checks.len()),
        at_least: true,
        unit: "right",
    }
}
