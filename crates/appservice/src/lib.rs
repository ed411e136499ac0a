//! An SDK for [Matrix application services](https://spec.matrix.org/v1.17/application-service-api/):
//! bridges, bots and everything else that a homeserver pushes events to.
//!
//! # What it guarantees
//!
//! 1. **No acknowledgement before the commit.** The homeserver gets its `200` after the transaction is
//!    on disk. A crash right behind it loses nothing.
//! 2. **Once in.** Events are told apart by their id. A transaction that comes again, with the same id
//!    or another, in whole or in part, now or after a restart, adds nothing.
//! 3. **In order within a room, rooms in parallel.** One event of a room is handled at a time, oldest
//!    first. One that fails is tried again, and holds its own room only.
//! 4. **Handlers can be repeated.** An event may be handled again after a failure or a crash. What a
//!    handler does through an [`Intent`] it does once: sends carry ids that are derived from the event.
//! 5. **Nothing is dropped.** What can't be handled becomes a dead letter: kept, counted, listed,
//!    to be retried or skipped. Only what passes (typing, receipts, presence) gives way to the newer.
//! 6. **Secrets and people stay inside.** Tokens and message text are in no log, error or `Debug`.
//!
//! # A bot in ten lines
//!
//! ```no_run
#![doc = include_str!("../../../examples/echo.rs")]
//! ```
//!
//! Let the homeserver know the registration (Synapse: `app_service_config_files`), restart it, and
//! invite the bot.
//!
//! # Where to go on
//!
//! [The guide](guide) leads from here to a bridge in production, in an hour. [`Builder`] lists what an
//! application service can listen to, [`Intent`] what it can do, `testing` (a feature) how to try it
//! without a homeserver.

mod appservice;
mod client;
#[cfg(feature = "commands")]
pub mod commands;
mod device;
mod dispatch;
mod ephemeral;
mod event;
pub mod guide;
mod handlers;
mod intent;
mod journal;
pub mod localpart;
pub mod measures;
pub mod registration;
mod server;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod thirdparty;

#[doc(inline)]
pub use registration::{Registration, RegistrationError};
pub use ruma;
#[doc(inline)]
pub use server::serve;
pub use thirdparty::ThirdParty;

pub use self::{
    appservice::{AppService, AppServiceError, Builder, listen, shutdown_signal},
    client::{Client, ClientConfig, Error, Versions},
    device::{DeviceLists, KeyCounts, ToDevice},
    dispatch::{Delivery, HandlerError, HandlerResult, Retry, RetryPolicy},
    ephemeral::{Presence, Receipt, Typing},
    event::{Edit, Event, Invitation, Membership, MembershipChange, Redaction, TypedEvent},
    handlers::Handlers,
    intent::{
        CreateRoom, CreatedRoom, Download, History, Intent, Invite, InviteOutcome, JoinedMember,
        Login, Media, Message, NewEvent, Profile, ReadMarkers, SOURCE_KEY, SpaceChild, StateEvent,
        Thumbnail, WhoAmI,
    },
    journal::{
        DeadLetter, Entry, HeldLane, Journal, JournalError, MATRIX, NewEntry, Retention, Stats,
    },
};

/// The README's code has to compile too.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
