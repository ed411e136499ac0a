//! A bridge, tested without a homeserver. Needs the feature `testing`:
//!
//! ```toml
//! [dev-dependencies]
//! matrix-appservice = { path = "../matrix-appservice/crates/appservice", features = ["testing"] }
//! ```
//!
//! [`FakeHomeserver`] is a homeserver in miniature. It answers as much of the client-server API as
//! intents use, over HTTP on a port of its own; people of it invite, say, edit and redact; it pushes
//! all that to the application service as Synapse does; and it does on demand what real ones do at
//! the worst moment.
//!
//! ```
//! use matrix_appservice::{
//!     Registration,
//!     ruma::server_name,
//!     testing::{FakeHomeserver, Running, TempJournal, assert_nothing_left},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registration = Registration::generate("echo", "echobot").build()?;
//! let homeserver = FakeHomeserver::start(server_name!("example.org"), &registration).await;
//! let place = TempJournal::new();
//!
//! // The bridge under test.
//! let bridge = homeserver
//!     .builder(place.open().await)
//!     .accept_invitations()
//!     .on_message(|delivery, event| async move {
//!         delivery.bot().send_text(&event.room_id, event.content.body()).await?;
//!         Ok(())
//!     })
//!     .build()?;
//! let bridge = Running::connected(bridge, &homeserver).await;
//!
//! // What people do …
//! let anna = homeserver.person("anna");
//! let room = anna.makes_room();
//! anna.invites(&room, homeserver.sender().id());
//! homeserver.settle().await; // what is said before the bot is there, it never hears
//! anna.says(&room, "Is there anybody?");
//!
//! // … on a bad day: the answer to the bridge's message gets lost, and so does its acknowledgement.
//! homeserver.fail("send", [matrix_appservice::testing::Fault::LoseAnswer]);
//! homeserver.lose_acks(1);
//! homeserver.settle().await;
//!
//! let (anna, bot) = ("@anna:example.org", "@echobot:example.org");
//! homeserver.assert_messages(&room, &[(anna, "Is there anybody?"), (bot, "Is there anybody?")]);
//! assert_nothing_left(&bridge.stop().await).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it can do
//!
//! | a homeserver … | here |
//! | --- | --- |
//! | has users who do something | [`FakeHomeserver::person`], [`Person`] |
//! | pushes, and tries again with less | [`deliver`](FakeHomeserver::deliver), [`settle`](FakeHomeserver::settle) |
//! | pushes what it has pushed before | [`push_again`](FakeHomeserver::push_again), [`push_again_with_another_id`](FakeHomeserver::push_again_with_another_id), [`lose_acks`](FakeHomeserver::lose_acks), [`reset_transaction_ids`](FakeHomeserver::reset_transaction_ids) |
//! | pushes what no homeserver should | [`slip_in`](FakeHomeserver::slip_in), [`push_body`](FakeHomeserver::push_body), [`push_with_token`](FakeHomeserver::push_with_token) |
//! | loses an answer, refuses, is slow | [`fail`](FakeHomeserver::fail), [`fail_for`](FakeHomeserver::fail_for), [`hold`](FakeHomeserver::hold) |
//! | limits the rate | [`limit_rate`](FakeHomeserver::limit_rate), [`Fault::limited`] |
//! | is away, restarts | [`go_down`](FakeHomeserver::go_down), [`come_back`](FakeHomeserver::come_back), [`restart`](FakeHomeserver::restart) |
//! | leaves accounts to MAS | [`use_mas`](FakeHomeserver::use_mas) |
//!
//! And for the application service: [`assert_survives_kill_at_each_step`] ends it behind each of its
//! effects; [`Handled`] notes what was handled; [`CapturedLog`] holds what was logged; [`store`] holds a store
//! of your own to the rules.
//!
//! What goes wrong here panics: a test that can't go on has failed. Whoever waits, waits for a condition
//! and not for a time, and nothing is random: ids and times are the same in each run.

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

mod assert;
mod homeserver;
mod journal;
mod kill;
mod log;
mod running;
pub mod store;
mod until;

pub use self::{
    assert::{Handled, assert_nothing_left},
    homeserver::{Answer, Call, FakeHomeserver, Fault, Held, Person},
    journal::TempJournal,
    kill::{Effects, KillTest, assert_survives_kill_at_each_step},
    log::CapturedLog,
    running::Running,
};
