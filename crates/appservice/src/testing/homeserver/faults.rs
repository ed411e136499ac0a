//! What goes wrong.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

/// What shall go wrong with a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: a call that is let through before the next fault.
    None,
    /// The call takes effect and the connection ends before the answer.
    LoseAnswer,
    /// Nothing happens, and this is the answer: a status and a body.
    Refuse(u16, Value),
}

/// The faults to come.
#[derive(Debug, Default)]
pub(super) struct Faults(HashMap<String, VecDeque<Fault>>);

impl Faults {
    pub(super) fn add(&mut self, kind: &str, faults: impl IntoIterator<Item = Fault>) {
        self.0.entry(kind.to_owned()).or_default().extend(faults);
    }

    /// The fault of the next call of this kind.
    pub(super) fn take(&mut self, kind: &str) -> Fault {
        self.0
            .get_mut(kind)
            .and_then(VecDeque::pop_front)
            .unwrap_or(Fault::None)
    }
}
