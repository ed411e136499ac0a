//! What is right or wrong, whatever it costs: the kill, the repeats, the order, failures, sizes, oddities.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::{
    events::{event_id, room_id},
    homeserver::Homeserver,
    push::Pusher,
    subject::{Kind, Programs, Subject},
};

/// One row: what was tried, and what went wrong, if anything.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) wrong: Option<String>,
}

/// A message as `examples/load_bench.rs` reads it in its mode `sem`; `delay_ms` is any JSON.
pub(crate) fn message(run: u64, number: u64, room: u64, delay_ms: &str, fails: bool) -> String {
    format!(
        r#"{{"age":55,"content":{{"bench_delay_ms":{delay_ms},"bench_throw":{fails},"body":"Good morning, here is what happened tonight.","msgtype":"m.text"}},"event_id":"{}","origin_server_ts":1795219120198,"room_id":"{}","sender":"@person1:example.org","type":"m.room.message","unsigned":{{"age":55}},"user_id":"@person1:example.org"}}"#,
        event_id(run, number),
        room_id(room),
    )
}

pub(crate) fn transaction(events: &[String]) -> Vec<u8> {
    format!(r#"{{"events":[{}]}}"#, events.join(",")).into_bytes()
}

/// Everything, each in a folder of its own.
pub(crate) fn run(
    programs: &Programs,
    folder: &Path,
    homeserver: &Homeserver,
) -> Result<Vec<Check>> {
    type Try = fn(&Scene<'_>) -> Result<()>;
    let all: [(&'static str, Try); 11] = [
        ("kill -9 right behind the 200, 5 times: none lost", killed),
        ("pushed again at once: handled once", again_at_once),
        ("pushed again later, new id: handled once", again_later),
        ("pushed again while it is handled: once", again_in_flight),
        (
            "pushed again after a restart: handled once",
            again_after_restart,
        ),
        ("order in a room is kept", in_order),
        ("a failing handler: the others are handled", failing),
        ("a body of 1.3 MB gets 200", |scene| large(scene, 1_300_000)),
        ("a body of 3.1 MB gets 200", |scene| large(scene, 3_100_000)),
        ("a body of 6.2 MB gets 200", |scene| large(scene, 6_200_000)),
        ("malformed events cost only themselves", malformed),
    ];
    let mut checks = Vec::new();
    for (name, run) in all {
        let scene = Scene {
            programs,
            folder,
            homeserver,
        };
        let wrong = run(&scene).err().map(|error| format!("{error:#}"));
        scene.clear()?;
        checks.push(Check { name, wrong });
    }
    Ok(checks)
}

struct Scene<'a> {
    programs: &'a Programs,
    folder: &'a Path,
    homeserver: &'a Homeserver,
}

impl Scene<'_> {
    fn start(&self) -> Result<(Subject, Pusher)> {
        let address = self.homeserver.address;
        Subject::start(self.programs, Kind::Sdk, self.folder, address)
    }

    /// The ids of handled events, in order.
    fn log(&self) -> Result<Vec<String>> {
        let log = fs::read_to_string(self.folder.join("handled.log"))?;
        Ok(log.lines().map(str::to_owned).collect())
    }

    fn clear(&self) -> Result<()> {
        Ok(fs::remove_dir_all(self.folder)?)
    }
}

/// Waits until exactly `count` were handled: a last event, in a room that all the others share, comes behind them.
fn exactly(subject: &Subject, pusher: &mut Pusher, count: u64) -> Result<()> {
    pusher.push(&transaction(&[message(u64::MAX, 0, 0, "0", false)]))?;
    subject.wait_for(count + 1)?;
    let handled = subject.handled()?;
    ensure!(
        handled == count + 1,
        "{} instead of {count} handled",
        handled - 1
    );
    Ok(())
}

fn killed(scene: &Scene<'_>) -> Result<()> {
    for attempt in 0..5 {
        let (subject, mut pusher) = scene.start()?;
        subject.mode("sem", 0)?;
        // No handler is done before the kill.
        let events: Vec<_> = (0..10)
            .map(|number| message(attempt, number, 0, "5000", false))
            .collect();
        pusher.push(&transaction(&events))?;
        subject.kill()?;
        ensure!(scene.log()?.is_empty(), "a handler was done too early");

        let (subject, mut pusher) = scene.start()?;
        exactly(&subject, &mut pusher, 10)?;
        drop(subject);
        scene.clear()?;
    }
    // There is a folder to clear after each check.
    fs::create_dir_all(scene.folder)?;
    Ok(())
}

fn again_at_once(scene: &Scene<'_>) -> Result<()> {
    let (subject, mut pusher) = scene.start()?;
    let body = transaction(&[message(0, 0, 0, "0", false)]);
    for _ in 0..3 {
        ensure!(pusher.exchange("same", &body)?.0 == 200, "refused");
    }
    exactly(&subject, &mut pusher, 1)
}

fn again_later(scene: &Scene<'_>) -> Result<()> {
    let (subject, mut pusher) = scene.start()?;
    let body = transaction(&[message(0, 0, 0, "0", false)]);
    pusher.push(&body)?;
    subject.wait_for(1)?;
    pusher.push(&body)?;
    exactly(&subject, &mut pusher, 1)
}

fn again_in_flight(scene: &Scene<'_>) -> Result<()> {
    let (subject, mut pusher) = scene.start()?;
    subject.mode("sem", 0)?;
    // The first holds the room; behind it, the second is pushed twice.
    let first = transaction(&[message(0, 0, 0, "300", false)]);
    let second = transaction(&[message(0, 1, 0, "0", false)]);
    pusher.push(&first)?;
    pusher.push(&second)?;
    pusher.push(&first)?;
    pusher.push(&second)?;
    exactly(&subject, &mut pusher, 2)
}

fn again_after_restart(scene: &Scene<'_>) -> Result<()> {
    let (subject, mut pusher) = scene.start()?;
    let body = transaction(&[message(0, 0, 0, "0", false)]);
    pusher.push(&body)?;
    subject.wait_for(1)?;
    subject.stop()?;
    let (subject, mut pusher) = scene.start()?;
    pusher.push(&body)?;
    exactly(&subject, &mut pusher, 0)
}

fn in_order(scene: &Scene<'_>) -> Result<()> {
    let (subject, mut pusher) = scene.start()?;
    subject.mode("sem", 0)?;
    let mut expected = Vec::new();
    for number in 0..200 {
        // Two rooms, and each event takes longer or shorter than the next.
        let delay = (number * 7 % 5).to_string();
        let events: Vec<_> = (0..2)
            .map(|room| message(room, number, room, &delay, false))
            .collect();
        expected.push(event_id(1, number));
        pusher.push(&transaction(&events))?;
    }
    subject.wait_for(400)?;
    let log = scene.log()?;
    let room_1 = event_id(1, 0);
    let prefix = &room_1[..room_1.len() - 11];
    let seen: Vec<_> = log
        .into_iter()
        .filter(|id| id.starts_with(prefix))
        .collect();
    ensure!(seen == expected, "another order");
    Ok(())
}

fn failing(scene: &Scene<'_>) -> Result<()> {
    let (mut subject, mut pusher) = scene.start()?;
    subject.mode("sem", 0)?;
    let events = [
        message(0, 0, 0, "0", true),
        message(0, 1, 1, "0", false),
        message(0, 2, 0, "0", false),
    ];
    pusher.push(&transaction(&events))?;
    exactly(&subject, &mut pusher, 2)?;
    ensure!(subject.runs()?, "the process is gone");
    Ok(())
}

fn large(scene: &Scene<'_>, bytes: usize) -> Result<()> {
    let (subject, mut pusher) = scene.start()?;
    let events: Vec<_> = (0..100)
        .map(|number| {
            let message = message(0, number, 0, "0", false);
            let text = "x".repeat(bytes / 100 - message.len() + 44);
            message.replace("Good morning, here is what happened tonight.", &text)
        })
        .collect();
    let body = transaction(&events);
    ensure!(body.len() >= bytes, "{} bytes", body.len());
    pusher.push(&body)?;
    exactly(&subject, &mut pusher, 100)
}

fn malformed(scene: &Scene<'_>) -> Result<()> {
    let (subject, mut pusher) = scene.start()?;
    let odd = [
        "null",
        "17",
        r#""text""#,
        "[]",
        "{}",
        r#"{"event_id":17,"room_id":[]}"#,
        r#"{"event_id":"$1","room_id":"!a"}"#,
        r#"{"event_id":"$2","room_id":"!a","sender":"nobody","type":"m.room.message","content":{}}"#,
        r#"{"event_id":"$3","room_id":"!a","sender":"@a:b","type":5,"content":{}}"#,
    ];
    let mut events = vec![message(0, 0, 0, "0", false)];
    events.extend(odd.map(str::to_owned));
    events.push(message(0, 1, 0, "0", false));
    pusher.push(&transaction(&events))?;
    exactly(&subject, &mut pusher, 2)
}
