/// Declares an enum for a FHIR code with a required binding, which servers store wrong values for
/// all the same.
macro_rules! code {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Absent, or a word that the specification doesn't have.
            Unrecognized,
        }

        impl $name {
            pub(super) fn from_json(json: Option<&serde_json::Value>) -> Self {
                match json.and_then(serde_json::Value::as_str) {
                    $(Some($text) => Self::$variant,)*
                    _ => Self::Unrecognized,
                }
            }
        }
    };
}

code!(
    /// The state of a `CareTeam`: <http://hl7.org/fhir/R4/valueset-care-team-status.html>
    CareTeamStatus {
        Proposed = "proposed",
        Active = "active",
        Suspended = "suspended",
        Inactive = "inactive",
        EnteredInError = "entered-in-error",
    }
);

code!(
    /// The state of a `CommunicationRequest`: <http://hl7.org/fhir/R4/valueset-request-status.html>
    RequestStatus {
        Draft = "draft",
        Active = "active",
        OnHold = "on-hold",
        Revoked = "revoked",
        Completed = "completed",
        EnteredInError = "entered-in-error",
        Unknown = "unknown",
    }
);

code!(
    /// The state of a `Communication`: <http://hl7.org/fhir/R4/valueset-event-status.html>
    EventStatus {
        Preparation = "preparation",
        InProgress = "in-progress",
        NotDone = "not-done",
        OnHold = "on-hold",
        Stopped = "stopped",
        Completed = "completed",
        EnteredInError = "entered-in-error",
        Unknown = "unknown",
    }
);

code!(
    /// The state of a `Task`: <http://hl7.org/fhir/R4/valueset-task-status.html>
    TaskStatus {
        Draft = "draft",
        Requested = "requested",
        Received = "received",
        Accepted = "accepted",
        Rejected = "rejected",
        Ready = "ready",
        Cancelled = "cancelled",
        InProgress = "in-progress",
        OnHold = "on-hold",
        Failed = "failed",
        Completed = "completed",
        EnteredInError = "entered-in-error",
    }
);
