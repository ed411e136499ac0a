//! The load: what one subject does in one round.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;

use crate::{
    events::{Events, Mix},
    figures::{quantile, real},
    homeserver::Homeserver,
    push::Pusher,
    subject::{Kind, Programs, Subject},
};

const ROOMS: u64 = 100;
const PATIENCE: Duration = Duration::from_mins(1);
/// The pause of what is paced, from one push to the next.
const PACE: Duration = Duration::from_millis(5);
/// After the start and before memory is looked at.
const SETTLE: Duration = Duration::from_millis(300);

/// How much is pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Events a transaction, and how many such transactions.
    pub(crate) acks: [(u64, u64); 3],
    pub(crate) warm_up: u64,
    /// Transactions of a hundred messages.
    pub(crate) echoes: u64,
    pub(crate) paced: u64,
    /// Transactions of a hundred events.
    pub(crate) paced_acks: u64,
}

impl Size {
    pub(crate) const FULL: Self = Self {
        acks: [(1, 3000), (10, 1500), (100, 400)],
        warm_up: 300,
        echoes: 100,
        paced: 400,
        paced_acks: 200,
    };
    pub(crate) const QUICK: Self = Self {
        acks: [(1, 1000), (10, 500), (100, 150)],
        warm_up: 200,
        echoes: 30,
        paced: 150,
        paced_acks: 80,
    };
}

/// How fast transactions of one size were acknowledged.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Acks {
    pub(crate) events: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Pushed, acknowledged and handled.
    pub(crate) events_a_second: f64,
    /// Seconds for a thousand events.
    pub(crate) cpu: f64,
}

/// What one subject did in one round.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    pub(crate) kind: Kind,
    pub(crate) start_ms: f64,
    pub(crate) idle_mb: f64,
    pub(crate) acks: Vec<Acks>,
    /// Of a hundred events, when what came before is done.
    pub(crate) paced_ack_us: f64,
    pub(crate) echoes_a_second: Option<f64>,
    pub(crate) paced_p50_us: Option<f64>,
    pub(crate) paced_p99_us: Option<f64>,
}

pub(crate) fn run(
    programs: &Programs,
    kind: Kind,
    folder: &Path,
    homeserver: &Homeserver,
    size: Size,
) -> Result<Round> {
    let (subject, mut pusher) = Subject::start(programs, kind, folder, homeserver.address)?;
    thread::sleep(SETTLE);
    let (idle_mb, _) = subject.memory()?;
    let mut pushing = Pushing {
        subject: &subject,
        pusher: &mut pusher,
        homeserver,
        counts: kind.counts(),
        handled: 0,
        run: 0,
    };
    pushing.acks(1, size.warm_up)?;
    pushing.acks(100, size.warm_up / 20)?;
    let mut acks = Vec::new();
    for (events, transactions) in size.acks {
        acks.push(pushing.acks(events, transactions)?);
    }
    let paced_ack_us = pushing.paced_acks(size.paced_acks)?;
    let (mut echoes_a_second, mut paced) = (None, None);
    if kind.echoes() {
        subject.mode("echo", 0)?;
        // Warms the connections to the homeserver up.
        pushing.echoes(5)?;
        echoes_a_second = Some(pushing.echoes(size.echoes)?);
        paced = Some(pushing.paced(size.paced)?);
    }
    Ok(Round {
        kind,
        start_ms: subject.started_in.as_secs_f64() * 1000.0,
        idle_mb,
        acks,
        paced_ack_us,
        echoes_a_second,
        paced_p50_us: paced.map(|(p50, _)| p50),
        paced_p99_us: paced.map(|(_, p99)| p99),
    })
}

/// Pushes transactions of `events` events, one after another; how long each took, in µs.
pub(crate) fn push_all(pusher: &mut Pusher, bodies: &[Vec<u8>]) -> Result<Vec<f64>> {
    let took = bodies.iter().map(|body| pusher.push(body));
    took.map(|took| Ok(micros(took?))).collect()
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

struct Pushing<'a> {
    subject: &'a Subject,
    pusher: &'a mut Pusher,
    homeserver: &'a Homeserver,
    counts: bool,
    /// What the subject has to have handled by now.
    handled: u64,
    run: u64,
}

impl Pushing<'_> {
    fn events(&mut self, mix: Mix) -> Events {
        self.run += 1;
        Events::new(self.run, ROOMS, mix)
    }

    fn acks(&mut self, events: u64, transactions: u64) -> Result<Acks> {
        let mut source = self.events(Mix::Usual);
        // Made beforehand: what the generator does between two pushes is rest for the subject.
        let bodies: Vec<_> = (0..transactions)
            .map(|_| source.transaction(events))
            .collect();
        let (cpu, began) = (self.subject.cpu()?, Instant::now());
        let mut took = push_all(self.pusher, &bodies)?;
        self.settle(source.next())?;
        let (cpu, seconds) = (self.subject.cpu()? - cpu, began.elapsed().as_secs_f64());
        let count = real(source.next());
        Ok(Acks {
            events,
            p50_us: quantile(&mut took, 0.5),
            p99_us: quantile(&mut took, 0.99),
            events_a_second: count / seconds,
            cpu: cpu / count * 1000.0,
        })
    }

    /// How long a transaction of a hundred events takes when there is a pause behind each: p50, µs.
    fn paced_acks(&mut self, transactions: u64) -> Result<f64> {
        let mut source = self.events(Mix::Usual);
        let mut took = Vec::new();
        let began = Instant::now();
        for _ in 0..transactions {
            let body = source.transaction(100);
            let due = began + PACE * u32::try_from(took.len()).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            took.push(micros(self.pusher.push(&body)?));
        }
        self.settle(source.next())?;
        Ok(quantile(&mut took, 0.5))
    }

    /// Waits until all is handled, so that one phase does not pay for another.
    fn settle(&mut self, more: u64) -> Result<()> {
        self.handled += more;
        if self.counts {
            self.subject.wait_for(self.handled)?;
        }
        Ok(())
    }

    /// Echoes a second, from the first push to the last echo.
    fn echoes(&mut self, transactions: u64) -> Result<f64> {
        let mut source = self.events(Mix::Messages);
        let bodies: Vec<_> = (0..transactions).map(|_| source.transaction(100)).collect();
        self.homeserver.forget();
        let began = Instant::now();
        push_all(self.pusher, &bodies)?;
        self.homeserver.wait_for(source.next(), PATIENCE)?;
        let last = self.homeserver.echoes().iter().map(|(_, at)| *at).max();
        self.settle(source.next())?;
        let took = last.unwrap_or(began) - began;
        Ok(real(source.next()) / took.as_secs_f64())
    }

    /// From the push of a message to its echo at the homeserver, µs: p50 and p99.
    fn paced(&mut self, messages: u64) -> Result<(f64, f64)> {
        let mut source = self.events(Mix::Messages);
        self.homeserver.forget();
        let mut pushed = Vec::new();
        let began = Instant::now();
        for _ in 0..messages {
            let body = source.transaction(1);
            let due = began + PACE * u32::try_from(pushed.len()).unwrap_or(u32::MAX);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            pushed.push(Instant::now());
            self.pusher.push(&body)?;
        }
        self.homeserver.wait_for(messages, PATIENCE)?;
        self.settle(messages)?;
        let echoes = self.homeserver.echoes();
        let mut took: Vec<f64> = echoes
            .iter()
            .filter_map(|(number, at)| {
                let pushed = pushed.get(usize::try_from(*number).ok()?)?;
                Some(micros(at.saturating_duration_since(*pushed)))
            })
            .collect();
        Ok((quantile(&mut took, 0.5), quantile(&mut took, 0.99)))
    }
}
