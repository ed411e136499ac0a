//! Real servers for tests, benches and the demo: three homeservers that federate over TLS, and a FHIR server.
//!
//! A [`Testbed`] is a small care network on this machine: the homeservers `apotheek`, `huisarts` and `vvt`, each a
//! Synapse on a loopback address of its own, a TLS proxy in front of them on port 8448 with certificates of a CA that
//! they verify, and a FHIR server where it is asked for. Everything is installed below `target/testbed`, in the
//! versions and with the hashes that are checked in; no root, container or hosts file is needed.
//!
//! [`Postgres`] is there on its own: a test that needs a database needs no homeserver. So are the [`checkers`] of
//! formats, and a [`Collector`] of traces.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use testbed::{Testbed, unique};
//!
//! let testbed = Testbed::shared().await?;
//! let arts = testbed.client("huisarts", &unique("arts")).await?;
//! let nurse = testbed.client("vvt", &unique("nurse")).await?;
//!
//! let room = arts.create_room("Mevrouw Jansen", &[nurse.user_id()]).await?;
//! nurse.wait_for_invite(&room, Duration::from_secs(30)).await?;
//! nurse.join(&room).await?;
//! nurse.send_text(&room, "Goedemorgen").await?;
//! arts.wait_for_text(&room, "Goedemorgen", Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on fails")
)]

mod appservice;
mod background;
mod bridge;
mod builder;
mod ca;
mod client;
mod collector;
mod fhir;
mod fhir_stub;
mod files;
mod hapi;
mod homeserver;
mod http;
mod install;
mod log_file;
mod net;
mod paths;
mod poll;
mod postgres;
mod process;
mod progress;
mod proxy;
mod python;
mod random;
mod runs;
pub mod scene;
mod server;
mod shared;
mod synapse;
mod testbed;

pub use appservice::Appservice;
pub use bridge::{Bridge, BridgeSetup};
pub use builder::TestbedBuilder;
pub use client::{Client, Event, Invite};
pub use collector::{Collector, Refusal, TracedSpan};
pub use fhir::FhirServer;
pub use fhir_stub::{Fault, FhirStub, Seen};
pub use homeserver::{Homeserver, User};
pub use net::{CLIENT_PORT, FEDERATION_PORT, FHIR_HOST, FHIR_PORT, HOMESERVERS, Net};
pub use paths::root;
pub use postgres::{Database, Fsync, Postgres};
pub use progress::Progress;
pub use proxy::Proxy;
pub use python::checkers;
pub use testbed::Testbed;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// A localpart that no other test uses: the given one with a tail.
#[must_use]
pub fn unique(localpart: &str) -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    format!("{localpart}-{:x}-{now:x}-{call:x}", std::process::id())
}
