//! What is carried over, in numbers: counted for Prometheus, and minute by minute for the last hour.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use metrics::counter;

use super::metrics::MESSAGES;
use crate::{bridge::lock, mapping::audit_event::Deed};

/// So many minutes are kept.
pub(crate) const MINUTES: usize = 60;

/// Which way something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToMatrix,
    ToFhir,
}

impl Direction {
    pub(crate) const ALL: [Self; 2] = [Self::ToMatrix, Self::ToFhir];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ToMatrix => "to_matrix",
            Self::ToFhir => "to_fhir",
        }
    }
}

/// What became of a message; `None` for what is no message.
fn outcome(deed: Deed) -> Option<&'static str> {
    match deed {
        Deed::SentToMatrix | Deed::StoredInFhir => Some("new"),
        Deed::Changed => Some("changed"),
        Deed::TakenBack => Some("taken_back"),
        Deed::Refused => Some("refused"),
        Deed::LeftOut => Some("left_out"),
        Deed::Admitted | Deed::Removed | Deed::LevelsSet | Deed::Linked | Deed::Unlinked => None,
    }
}

/// All outcomes of a message.
pub(crate) const OUTCOMES: [&str; 5] = ["new", "changed", "taken_back", "refused", "left_out"];

/// What was carried in a minute, by direction.
type Minute = (u64, [u64; 2]);

/// What was carried over.
#[derive(Debug, Default)]
pub(crate) struct Flows(Mutex<VecDeque<Minute>>);

/// What was carried over in each minute of the last hour, oldest first; the last minute is the one that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hour {
    /// When the first of them began, Unix time in s.
    pub(crate) since: u64,
    pub(crate) to_matrix: Vec<u64>,
    pub(crate) to_fhir: Vec<u64>,
}

impl Flows {
    /// Something was done with a message.
    pub(crate) fn count(&self, direction: Direction, deed: Deed) {
        let Some(outcome) = outcome(deed) else {
            return;
        };
        counter!(MESSAGES, "direction" => direction.as_str(), "outcome" => outcome).increment(1);
        if ["new", "changed", "taken_back"].contains(&outcome) {
            self.carried(direction, this_minute());
        }
    }

    fn carried(&self, direction: Direction, minute: u64) {
        let mut minutes = lock(&self.0);
        // A clock that was set back counts on in the newest minute.
        if minutes.back().is_none_or(|(newest, _)| *newest < minute) {
            minutes.push_back((minute, [0; 2]));
        }
        if minutes.len() > MINUTES {
            minutes.pop_front();
        }
        if let Some((_, counts)) = minutes.back_mut() {
            counts[direction as usize] += 1;
        }
    }

    /// The last hour.
    pub(crate) fn last_hour(&self) -> Hour {
        self.hour_to(this_minute())
    }

    fn hour_to(&self, last: u64) -> Hour {
        let first = (last + 1).saturating_sub(MINUTES as u64);
        let mut hour = Hour {
            since: first * 60,
            to_matrix: vec![0; MINUTES],
            to_fhir: vec![0; MINUTES],
        };
        for (minute, [to_matrix, to_fhir]) in lock(&self.0).iter() {
            let index = minute
                .checked_sub(first)
                .and_then(|index| usize::try_from(index).ok())
                .filter(|index| *index < MINUTES);
            if let Some(index) = index {
                hour.to_matrix[index] = *to_matrix;
                hour.to_fhir[index] = *to_fhir;
            }
        }
        hour
    }
}

fn this_minute() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hour_is_told_minute_by_minute_and_forgotten_after_it() {
        let flows = Flows::default();
        for minute in [100, 100, 130, 159] {
            flows.carried(Direction::ToMatrix, minute);
        }
        flows.carried(Direction::ToFhir, 159);
        let hour = flows.hour_to(159);
        assert_eq!(hour.since, 100 * 60);
        assert_eq!((hour.to_matrix[0], hour.to_matrix[30]), (2, 1));
        assert_eq!((hour.to_matrix[59], hour.to_fhir[59]), (1, 1));
        assert_eq!(hour.to_matrix.iter().sum::<u64>(), 4);
        let later = flows.hour_to(160);
        assert_eq!(later.to_matrix.iter().sum::<u64>(), 2);
        assert_eq!(flows.hour_to(500).to_fhir, vec![0; MINUTES]);
    }

    #[test]
    fn no_more_than_an_hour_is_kept_and_a_clock_may_jump() {
        let flows = Flows::default();
        for minute in 0..1000 {
            flows.carried(Direction::ToFhir, minute);
        }
        assert_eq!(lock(&flows.0).len(), MINUTES);
        flows.carried(Direction::ToFhir, 10);
        assert_eq!(flows.hour_to(999).to_fhir[59], 2);
        assert_eq!(flows.hour_to(10).to_fhir.len(), MINUTES);
    }

    #[test]
    fn only_what_was_carried_is_in_the_hour() {
        let flows = Flows::default();
        for deed in [Deed::Refused, Deed::LeftOut, Deed::Admitted, Deed::Removed] {
            flows.count(Direction::ToFhir, deed);
        }
        assert_eq!(lock(&flows.0).len(), 0);
        flows.count(Direction::ToFhir, Deed::StoredInFhir);
        assert_eq!(lock(&flows.0).len(), 1);
    }
}
