//! The application service: registration, journal, handlers and homeserver put together.

mod announce;
mod builder;
mod on;
mod outbound;
mod run;

use std::sync::Arc;

use axum::Router;
use ruma::{ServerName, UserId};
use url::Url;

pub use self::{
    builder::Builder,
    run::{listen, shutdown_signal},
};
use crate::{
    client::{self, Client},
    dispatch::Limits,
    handlers::Readers,
    intent::{Intent, Scope},
    journal::{Journal, JournalError, Retention, intake::Intake},
    registration::Registration,
};

/// Why an application service could not be built or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppServiceError {
    /// The client to the homeserver can't be set up, or the homeserver speaks none of the versions asked for.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The journal can't be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The address to listen on can't be had.
    #[error("can't listen on {address}")]
    Listen {
        /// The address asked for.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The task that works the journal off died: a fault in this library. What was acknowledged is in
    /// the journal, so start again.
    #[error("the dispatcher died; nothing is lost, start again")]
    Dispatcher,
}

/// An application service, ready to run.
pub struct AppService {
    id: String,
    router: Router,
    journal: Journal,
    client: Client,
    readers: Readers,
    intake: Arc<Intake>,
    retention: Retention,
    limits: Limits,
    versions: outbound::VersionRange,
}

impl AppService {
    /// Begins to build an application service.
    ///
    /// `server_name` is the homeserver's name, as in its users' ids; `homeserver` is where its
    /// client-server API is reached.
    #[must_use]
    pub fn builder(
        registration: Registration,
        server_name: &ServerName,
        homeserver: Url,
        journal: Journal,
    ) -> Builder {
        Builder::new(registration, server_name, homeserver, journal)
    }

    /// The endpoints that the homeserver calls, to be merged into a server of your own or called in
    /// a test.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Calls to the homeserver that are not part of a delivery.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Acts as `user` outside any delivery. `work` names the piece of work: sends of the same work
    /// get the same transaction ids, so that it can be repeated.
    #[must_use]
    pub fn intent(&self, user: &UserId, work: &str) -> Intent {
        let scope = Scope::named(format!("work\0{work}"));
        Intent::new(self.client.clone(), user.to_owned(), scope.into())
    }
}
