//! A bridge, tested without a homeserver. Needs the feature `testing`.
//!
//! [`FakeHomeserver`] is a homeserver in miniature: it answers as much of the client-server API as
//! intents use, over HTTP on a port of its own, and does on demand what real ones do at the worst
//! moment.
//!
//! What goes wrong here panics: a test that can't go on has failed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "all of it runs in tests only, and a test that can't go on fails"
)]
#![allow(
    clippy::must_use_candidate,
    reason = "what users of the homeserver do has its effect there; the id that comes back is an extra"
)]

mod homeserver;

pub use self::homeserver::{Call, FakeHomeserver, Fault};
