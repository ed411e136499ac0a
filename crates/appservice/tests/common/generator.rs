//! A homeserver's queue of transactions, and what its events tell about order.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::message;

const ROOMS: [&str; 4] = ["!a", "!b", "!c", "!d"];

/// Random numbers that a failed run can be asked for again.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A homeserver's queue of transactions, oldest first. Events are called by their number and room.
pub struct Queue {
    pub dice: Dice,
    pub made: usize,
    /// The transaction in flight: pushed again until it is acknowledged.
    pub current: Vec<Value>,
    pub acknowledged: Vec<String>,
    pub txn_id: u64,
}

impl Queue {
    pub fn new(dice: Dice) -> Self {
        Self {
            dice,
            made: 0,
            current: Vec::new(),
            acknowledged: Vec::new(),
            txn_id: 0,
        }
    }

    /// The transaction to push: the one that was not acknowledged, else a new one.
    pub fn next(&mut self) -> &[Value] {
        if self.current.is_empty() {
            for _ in 0..=self.dice.below(4) {
                let room = ROOMS[usize::try_from(self.dice.below(4)).unwrap()];
                self.made += 1;
                let id = format!("${}-{room}", self.made);
                self.current.push(message(&id, room, "@arts:hs.test", "x"));
            }
            self.txn_id += 1;
        }
        &self.current
    }

    /// It got its `200`.
    pub fn acknowledge(&mut self) {
        let events = self.current.drain(..);
        self.acknowledged
            .extend(events.map(|event| event["event_id"].as_str().unwrap().to_owned()));
    }
}

pub fn number(event_id: &str) -> usize {
    event_id[1..].split('-').next().unwrap().parse().unwrap()
}

pub fn room(event_id: &str) -> &str {
    event_id.split_once('-').unwrap().1
}

/// What is handled for the first time comes in order within its room.
pub fn assert_in_order<'a>(handled: impl IntoIterator<Item = &'a String>) {
    let mut met = HashSet::new();
    let mut newest: HashMap<&str, usize> = HashMap::new();
    for event_id in handled {
        if met.insert(event_id) {
            let newest = newest.entry(room(event_id)).or_default();
            assert!(*newest < number(event_id), "{event_id} is out of order");
            *newest = number(event_id);
        }
    }
}
