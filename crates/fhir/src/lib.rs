//! Typed, non-generic functions over a FHIR R4 server.
//!
//! - [`FhirClient`] speaks to the server: [`read`](FhirClient::read),
//!   [`search`](FhirClient::search) (always by POST), [`history_since`](FhirClient::history_since),
//!   [`create_if_none_exist`](FhirClient::create_if_none_exist), [`update`](FhirClient::update),
//!   [`modify`](FhirClient::modify), [`ensure_subscription`](FhirClient::ensure_subscription),
//!   [`capability`](FhirClient::capability).
//! - [`CareTeam`], [`CommunicationRequest`], [`Communication`] and [`Person`] are what the bridge
//!   needs of the resources, read from raw JSON; [`NewCommunication`] is what it writes.
//! - [`Error`] says what to do next, and [`Error::retry`] whether repeating can help.
//!
//! # What it promises
//!
//! - **Lenient in.** One odd entry never stops a page: it is reported beside the others. Codecs
//!   skip elements that they can't read.
//! - **Strict out.** Whatever is created is checked first against the R4B model; see below.
//! - **Once.** Creates are conditional on an identifier and may be repeated; a match that doesn't
//!   carry the identifier (a server that ignores the search parameter) is an error, never taken for
//!   ours. Changes carry `If-Match`.
//! - **Nothing foreign is lost.** [`FhirClient::modify`] changes the raw JSON: unknown elements and
//!   the precision of decimals survive.
//! - **Digit by digit.** [`FhirClient::read_text`] and [`FhirClient::create_text_if_none_exist`] carry
//!   resources as they were written; [`without_decimals`] and [`with_decimals`] take their decimals
//!   through Matrix events, which hold none.
//! - **Private.** No resource, name, identifier, searched value, token or query is in an error, a
//!   log or `Debug` output. Searches are POSTs, so their values aren't in any URL.
//! - **Bounded.** Answers, pages and changes per call have limits. Redirects are not followed, and
//!   other origins never.
//!
//! # Where fhir-sdk is used
//!
//! Its model checks what we write (module `check`): the JSON we build is read as an R4B resource
//! and compared with what comes back, so that a wrong code, a missing element, a malformed time or
//! an element that R4B doesn't have stops the request here. It is not used for reading: it refuses
//! a whole resource for one wrong code in an element that nobody asked for, and drops what it
//! doesn't know; after a fallback for those cases nothing would be left that it adds. Nor for
//! building: without its builders a `Communication` is some sixty fields to fill in, none with a
//! default. Its HTTP client is not used, because it logs URLs, repeats POSTs and has no
//! `If-None-Exist`.
//!
//! Spec: <http://hl7.org/fhir/R4/http.html>

mod check;
mod client;
mod decimals;
mod error;
mod instant;
pub mod measures;
mod model;
mod notification;
mod raw;
mod reference;

pub use client::{
    Auth, ClientCredentials, Identity, KeyError, Proof, Secret, SecretError, Tls, TlsError,
};
pub use client::{
    BinaryBody, BinaryContent, BinaryForm, BinarySender, Change, ChangeKind, Changes, Condition,
    Created, Edit, FhirClient, FhirClientBuilder, HistoryQuery, Modified, OddEntry, RestHook,
    SearchResult, ServerInfo, SetupError, SubscriptionState, SubscriptionStatus, Topic, correlated,
    search_token,
};
pub use decimals::{with_decimals, without_decimals};
pub use error::{Call, Error, Issue, Issues, Odd, Retry, Unavailable};
pub use instant::Instant;
pub use model::{
    Attachment, CareTeam, CareTeamStatus, Coding, Communication, CommunicationRequest,
    EVENT_KEY_SYSTEM, Endpoint, EventStatus, InvalidMessage, MATRIX_EVENT_ID_SYSTEM,
    MATRIX_USER_ID_SYSTEM, MatrixAccount, NewCommunication, NewPayload, NewTask, NewThread,
    Participant, Payload, Person, PersonKind, ROOM_KEY_SYSTEM, RequestStatus,
    SOURCE_SYSTEM_EXTENSION, SOURCE_SYSTEM_MATRIX, Sender, TASK_KEY_SYSTEM, Task, TaskStatus, Text,
    add_participant, add_recipient, end_participation, event_identifiers, matrix_user_id,
    payload_json, remove_recipient, room_of_thread, tag_event, with_event_identifier,
};
pub use notification::{Notification, NotificationKind};
pub use raw::RawResource;
pub use reference::{
    BaseUrl, BaseUrlError, Identifier, OtherRef, OtherType, Ref, ResourceRef, ResourceType,
};
