//! What an application service is made of.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ruma::{OwnedServerName, RoomId, ServerName};
use url::Url;

use super::{AppService, AppServiceError, outbound::Outbound};
use crate::{
    client::Client,
    dispatch::{Limits, RetryPolicy},
    handlers::{DEFAULT_READER, Handlers, OurUsers, Readers},
    intent::{Intent, Scope},
    journal::{
        Journal, Retention,
        intake::{Intake, RoomFilter, RoomPredicate},
    },
    registration::Registration,
    server::{self, AnyQuery, Query},
    thirdparty::AnyThirdParty,
};

/// Builds an [`AppService`]; see [`AppService::builder`].
pub struct Builder {
    registration: Registration,
    server_name: OwnedServerName,
    homeserver: Url,
    journal: Journal,
    pub(super) handlers: Handlers,
    readers: BTreeMap<String, Handlers>,
    wanted: Option<RoomPredicate>,
    pub(super) third_party: Option<Arc<dyn AnyThirdParty>>,
    query_timeout: Duration,
    pub(super) users: Option<Arc<dyn AnyQuery>>,
    pub(super) rooms: Option<Arc<dyn AnyQuery>>,
    limits: Limits,
    retention: Retention,
    max_body_bytes: usize,
    request_timeout: Duration,
    pub(super) outbound: Outbound,
}

impl Builder {
    pub(super) fn new(
        registration: Registration,
        server_name: &ServerName,
        homeserver: Url,
        journal: Journal,
    ) -> Self {
        Self {
            registration,
            server_name: server_name.to_owned(),
            homeserver,
            journal,
            handlers: Handlers::new(),
            readers: BTreeMap::new(),
            wanted: None,
            third_party: None,
            query_timeout: server::DEADLINE,
            users: None,
            rooms: None,
            limits: Limits::default(),
            retention: Retention::default(),
            max_body_bytes: server::MAX_BODY_BYTES,
            request_timeout: Duration::from_mins(1),
            outbound: Outbound::default(),
        }
    }

    /// A reader with a progress of its own: `handlers` get each entry that they ask for, beside the
    /// handlers of the builder and those of other readers, with retries, dead letters and an order of
    /// their own. One reader that fails, or is slow, holds up none of the others. Given twice, the
    /// handlers of the same name are added up.
    ///
    /// ```
    /// # use matrix_appservice::{Builder, Delivery, Event, HandlerResult, Handlers};
    /// # fn example(builder: Builder) -> Builder {
    /// async fn note(_: Delivery, event: Event) -> HandlerResult {
    ///     println!("{} in {}", event.kind(), event.room_id());
    ///     Ok(())
    /// }
    ///
    /// builder.reader("audit", Handlers::new().on_event(note))
    /// # }
    /// ```
    ///
    /// The journal remembers under `name` how far it has come: when it changes, the reader begins anew
    /// with what comes from then on, and what waited under the old name waits until
    /// [`Journal::forget_reader`]. Change it after an orderly stop: of what came just before a crash the
    /// next process gives entries to its own readers only.
    #[must_use]
    pub fn reader(mut self, name: impl Into<String>, handlers: Handlers) -> Self {
        let name = name.into();
        if name == DEFAULT_READER {
            self.handlers = self.handlers.and(handlers);
        } else {
            let before = self.readers.remove(&name).unwrap_or_default();
            self.readers.insert(name, before.and(handlers));
        }
        self
    }

    /// How long the journal keeps what is done. Default: payloads not at all, keys for ever.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// How often failed entries are tried again.
    #[must_use]
    pub fn retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.limits.retry = policy;
        self
    }

    /// How many lanes are worked at the same time. Default: 32.
    #[must_use]
    pub fn parallel_lanes(mut self, lanes: usize) -> Self {
        self.limits.parallel = lanes.max(1);
        self
    }

    /// How long a handler may take before it has failed. Default: 2 minutes.
    #[must_use]
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.limits.handler_timeout = timeout;
        self
    }

    /// How long handlers at work may go on after a stop was asked for. Default: 10 s.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.limits.drain = timeout;
        self
    }

    /// The largest body that is taken from the homeserver. Default: 64 MiB. One that is larger
    /// blocks the homeserver's queue until the limit is raised.
    #[must_use]
    pub fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// How long a call to the homeserver may take. Default: 60 s.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// How long the application may take to answer a query about a user, a room or a third-party
    /// network. Default: 20 s. The homeserver delivers nothing while it waits for a user's, and gives
    /// up after 60 s.
    #[must_use]
    pub fn query_timeout(mut self, timeout: Duration) -> Self {
        self.query_timeout = timeout;
        self
    }

    /// Stores what happens in rooms that `wanted` says yes to, and nothing of the others: neither
    /// their events nor who types or has read what there. Default: all rooms.
    ///
    /// What isn't stored is gone: the homeserver has its acknowledgement and doesn't send it again
    /// when the room is wanted later. Stored in any case are membership events of the application
    /// service's own user and its exclusive ghosts (an invitation is the way into a room that isn't
    /// wanted yet), presence, and what encryption needs. A transaction is on disk as a whole until it
    /// has been looked through, right behind its acknowledgement.
    ///
    /// `wanted` is asked once for each room of a transaction, while the transaction is being stored, and
    /// holds up the acknowledgement while it thinks: let it look into memory, not into a database.
    /// It must know the application's rooms before [`AppService::run`](crate::AppService::run). When it
    /// panics, the room is stored.
    #[must_use]
    pub fn only_rooms<F>(mut self, wanted: F) -> Self
    where
        F: Fn(&RoomId) -> bool + Send + Sync + 'static,
    {
        self.wanted = Some(Arc::new(wanted));
        self
    }

    /// Puts it together. Nothing is sent or served yet.
    ///
    /// # Errors
    ///
    /// When `sender_localpart` and server name make no user id.
    pub fn build(self) -> Result<AppService, AppServiceError> {
        let ours = Arc::new(OurUsers::new(&self.registration, &self.server_name));
        let client = Client::try_new(
            &self.registration,
            self.server_name,
            &self.homeserver,
            self.request_timeout,
            self.outbound.client,
        )?;
        let default = self.handlers.into_sources(ours.clone());
        let mut readers = Readers::from([(DEFAULT_READER.to_owned(), Arc::new(default))]);
        for (name, handlers) in self.readers {
            readers.insert(name, Arc::new(handlers.into_named_sources(ours.clone())));
        }
        let handled = readers.iter().map(|(name, sources)| {
            let sources = sources.keys().cloned().collect();
            (name.clone(), sources)
        });
        let intake = Arc::new(Intake {
            readers: handled.collect(),
            rooms: self.wanted.map(|wanted| RoomFilter {
                wanted,
                ours: Arc::new(move |user| ours.contain(user)),
            }),
        });
        self.journal.read_by(&intake.readers);
        let query = |handler: Option<Arc<dyn AnyQuery>>| {
            let client = client.clone();
            handler.map(|handler| Query {
                handler,
                bot: Arc::new(move |id| {
                    let scope = Scope::named(format!("query\0{id}"));
                    Intent::new(client.clone(), client.sender().to_owned(), scope.into())
                }),
            })
        };
        let state = server::State {
            users: query(self.users),
            rooms: query(self.rooms),
            third_party: self.third_party,
            query_timeout: self.query_timeout,
            journal: self.journal.clone(),
            intake: intake.clone(),
            registration: self.registration,
        };
        Ok(AppService {
            id: state.registration.id.clone(),
            router: server::router(Arc::new(state), self.max_body_bytes),
            journal: self.journal,
            client,
            readers,
            intake,
            retention: self.retention,
            limits: self.limits,
            versions: self.outbound.versions,
        })
    }
}
