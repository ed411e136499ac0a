//! What the bridge needs of each resource, read leniently from raw JSON.
//!
//! One file per resource. A codec takes what it needs and skips what it can't read, element by
//! element; it refuses a resource only when it is another type or has no id. None of the types
//! shows contents in `Debug`.

mod care_team;
mod care_teams;
mod codes;
mod communication;
mod communication_request;
mod endpoint;
mod lens;
mod matrix_id;
mod new_communication;
mod new_thread;
mod participation;
mod person;
mod tag;
mod task;
mod text;

pub use care_team::{CareTeam, Participant};
pub use codes::{CareTeamStatus, EventStatus, RequestStatus, TaskStatus};
pub use communication::{Attachment, Communication, Payload};
pub use communication_request::CommunicationRequest;
pub use endpoint::Endpoint;
pub use lens::Coding;
pub use matrix_id::matrix_user_id;
pub use new_communication::{
    InvalidMessage, NewCommunication, NewPayload, Sender, event_identifiers, payload_json,
    with_event_identifier,
};
pub use new_thread::{NewThread, ROOM_KEY_SYSTEM, room_of_thread};
pub use participation::{add_participant, add_recipient, end_participation, remove_recipient};
pub use person::{MatrixAccount, Person, PersonKind};
pub use tag::tag_event;
pub use task::{NewTask, Task};
pub use text::Text;

/// The identifier system whose value is a Matrix event id as it is.
pub const MATRIX_EVENT_ID_SYSTEM: &str = "https://matrix.org/event-id";

/// Our identifier system for the same events: the value is the SHA-256 of the event id in
/// lower-case hexadecimal, so that it can stand in a search on any server. (Event ids begin with
/// `$`, which servers unescape differently.)
pub const EVENT_KEY_SYSTEM: &str =
    "https://github.com/fhir-bridge/matrix-appservice/matrix-event-key";

/// Our identifier system for the tasks of a message's readers: the value is the SHA-256 of the
/// message's and the reader's reference, in lower-case hexadecimal.
pub const TASK_KEY_SYSTEM: &str =
    "https://github.com/fhir-bridge/matrix-appservice/message-task-key";

/// The identifier system of a logical reference to a Matrix user: the value is the user id.
pub const MATRIX_USER_ID_SYSTEM: &str = "https://matrix.org/user-id";

/// The extension that names the system a message was first written in.
pub const SOURCE_SYSTEM_EXTENSION: &str =
    "http://hl7.org/fhir/StructureDefinition/communication-source-system";

/// What [`SOURCE_SYSTEM_EXTENSION`] says about messages that came from Matrix.
pub const SOURCE_SYSTEM_MATRIX: &str = "matrix";
