//! What becomes of a room while its resource's status changes.

use fhir::{CareTeamStatus, EventStatus, RequestStatus};

/// How open a room is; each is more closed than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// People talk.
    Open,
    /// Nobody may write for now.
    Held,
    /// Nobody may write any more.
    Ended,
    /// Nobody may write, our ghosts have left, and the room hangs in no space.
    Closed,
}

impl Phase {
    /// The phase of a care team; `None` when its status says nothing. One that is not begun is on hold: what is
    /// written meanwhile waits.
    #[must_use]
    pub fn of_team(status: CareTeamStatus) -> Option<Self> {
        match status {
            CareTeamStatus::Active => Some(Self::Open),
            CareTeamStatus::Proposed | CareTeamStatus::Suspended => Some(Self::Held),
            CareTeamStatus::Inactive | CareTeamStatus::EnteredInError => Some(Self::Closed),
            _ => None,
        }
    }

    /// The phase of a conversation that is a `CommunicationRequest`; `None` when its status says nothing.
    #[must_use]
    pub fn of_request(status: RequestStatus) -> Option<Self> {
        match status {
            RequestStatus::Active => Some(Self::Open),
            RequestStatus::Draft | RequestStatus::OnHold => Some(Self::Held),
            RequestStatus::Completed | RequestStatus::Revoked => Some(Self::Ended),
            RequestStatus::EnteredInError => Some(Self::Closed),
            _ => None,
        }
    }

    /// The phase of a conversation with a header; `None` when its status says nothing.
    #[must_use]
    pub fn of_header(status: EventStatus) -> Option<Self> {
        match status {
            EventStatus::InProgress => Some(Self::Open),
            EventStatus::Preparation | EventStatus::OnHold => Some(Self::Held),
            EventStatus::Completed | EventStatus::Stopped | EventStatus::NotDone => {
                Some(Self::Ended)
            }
            EventStatus::EnteredInError => Some(Self::Closed),
            _ => None,
        }
    }

    /// How it stands in the links.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
            Self::Ended => "ended",
            Self::Closed => "closed",
        }
    }

    /// Reads what [`Phase::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Held, Self::Ended, Self::Closed]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }

    /// What the people in the room are told when it comes to this.
    #[must_use]
    pub fn notice(self) -> &'static str {
        match self {
            Self::Open => "This conversation is open again.",
            Self::Held => {
                "This conversation is on hold: messages can't be sent until it is open again."
            }
            Self::Ended => "This conversation has ended: messages can't be sent any more.",
            Self::Closed => {
                "This conversation has been closed. What is written elsewhere about it does not reach the record."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_is_read_back_and_the_more_closed_one_counts() {
        for phase in [Phase::Open, Phase::Held, Phase::Ended, Phase::Closed] {
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
        assert_eq!(Phase::parse("x"), None);
        assert_eq!(Phase::Held.max(Phase::Closed), Phase::Closed);
        assert_eq!(Phase::Open.max(Phase::Held), Phase::Held);
    }

    #[test]
    fn each_status_has_its_phase_and_what_says_nothing_has_none() {
        for (status, phase) in [
            (CareTeamStatus::Active, Some(Phase::Open)),
            (CareTeamStatus::Proposed, Some(Phase::Held)),
            (CareTeamStatus::Suspended, Some(Phase::Held)),
            (CareTeamStatus::Inactive, Some(Phase::Closed)),
            (CareTeamStatus::EnteredInError, Some(Phase::Closed)),
            (CareTeamStatus::Unrecognized, None),
        ] {
            assert_eq!(Phase::of_team(status), phase, "{status:?}");
        }
        for (status, phase) in [
            (RequestStatus::Active, Some(Phase::Open)),
            (RequestStatus::Draft, Some(Phase::Held)),
            (RequestStatus::OnHold, Some(Phase::Held)),
            (RequestStatus::Completed, Some(Phase::Ended)),
            (RequestStatus::Revoked, Some(Phase::Ended)),
            (RequestStatus::EnteredInError, Some(Phase::Closed)),
            (RequestStatus::Unknown, None),
            (RequestStatus::Unrecognized, None),
        ] {
            assert_eq!(Phase::of_request(status), phase, "{status:?}");
        }
        for (status, phase) in [
            (EventStatus::InProgress, Some(Phase::Open)),
            (EventStatus::Preparation, Some(Phase::Held)),
            (EventStatus::OnHold, Some(Phase::Held)),
            (EventStatus::Completed, Some(Phase::Ended)),
            (EventStatus::Stopped, Some(Phase::Ended)),
            (EventStatus::NotDone, Some(Phase::Ended)),
            (EventStatus::EnteredInError, Some(Phase::Closed)),
            (EventStatus::Unknown, None),
            (EventStatus::Unrecognized, None),
        ] {
            assert_eq!(Phase::of_header(status), phase, "{status:?}");
        }
    }
}
