//! Acting on a homeserver: once, as the right user, and again after a failure.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

mod accounts;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod members;
mod rooms;
mod sends;

use std::{
    error::Error as _,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{AS_TOKEN, Running, homeserver, journal, message, push, registration, server, user};
use matrix_appservice::{
    AppService, Builder, ClientConfig, CreateRoom, Delivery, Error, HandlerResult, Intent, Invite,
    InviteOutcome, Message, Retry, RetryPolicy, SOURCE_KEY, StateEvent,
    ruma::{OwnedRoomId, RoomId, events::room::member::MembershipState},
    testing::{FakeHomeserver, Fault},
};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

const GHOST: &str = "@_ghost_1:hs.test";
const OTHER_GHOST: &str = "@_ghost_2:hs.test";
const BOT: &str = "@bot:hs.test";

struct World {
    folder: tempfile::TempDir,
    homeserver: FakeHomeserver,
}

impl World {
    async fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            homeserver: homeserver().await,
        }
    }

    /// An application service whose failed entries are tried again at once.
    async fn builder(&self) -> Builder {
        AppService::builder(
            registration(),
            server(),
            self.homeserver.url(),
            journal(&self.folder).await,
        )
        .retry_policy(RetryPolicy {
            give_up_after: Duration::ZERO,
            first_pause: Duration::ZERO,
            longest_pause: Duration::ZERO,
            ..RetryPolicy::default()
        })
        .client_config(ClientConfig {
            first_pause: Duration::ZERO,
            ..ClientConfig::default()
        })
        .drain_timeout(Duration::ZERO)
    }

    /// One that leaves it to the dispatcher to try again.
    async fn once(&self) -> Builder {
        self.builder().await.client_config(ClientConfig {
            max_attempts: 1,
            ..ClientConfig::default()
        })
    }

    async fn service(&self) -> AppService {
        self.builder().await.build().unwrap()
    }

    /// A room that the ghost made, and in which the bot is.
    fn room(&self) -> OwnedRoomId {
        self.homeserver.register(GHOST);
        let room = self.homeserver.make_room(GHOST, None);
        self.homeserver.set_membership(&room, BOT, "join");
        room.try_into().unwrap()
    }
}

/// Pushes one message and says what to do with it.
async fn run<F, Fut>(world: &World, handler: F) -> Running
where
    F: Fn(Delivery) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    let service = world
        .builder()
        .await
        .on_message(move |delivery, _| handler(delivery))
        .build()
        .unwrap();
    Running::start(service).await
}

async fn send_as(intent: Intent, room: &RoomId, text: &str) -> HandlerResult {
    intent.send_text(room, text).await?;
    Ok(())
}
