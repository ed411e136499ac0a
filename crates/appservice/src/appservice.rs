//! The application service: registration, journal, handlers and homeserver put together.

mod inbound;

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use axum::{Router, serve::ListenerExt};
use ruma::{
    OwnedServerName, OwnedUserId, ServerName, UserId,
    events::room::message::OriginalRoomMessageEvent,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    client::{self, Client},
    dispatch::{Delivery, Dispatcher, Handler, HandlerError, HandlerResult, Limits, RetryPolicy},
    event::Event,
    intent::{Intent, Scope},
    journal::{
        Journal, JournalError, MATRIX,
        intake::{Intake, RoomFilter, RoomPredicate},
    },
    registration::{NamespaceList, Registration},
    server::{self, AnyQuery, Query},
    thirdparty::AnyThirdParty,
};

/// Why an application service could not be built or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppServiceError {
    /// The client to the homeserver can't be set up.
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
    /// Serving ended.
    #[error("the listener failed")]
    Serve(#[source] std::io::Error),
    /// The task that works the journal off died: a fault in this library. What was acknowledged is in
    /// the journal, so start again.
    #[error("the dispatcher died; nothing is lost, start again")]
    Dispatcher,
}

type EventHandler = Arc<dyn Handler>;

/// Builds an [`AppService`]; see [`AppService::builder`].
pub struct Builder {
    registration: Registration,
    server_name: OwnedServerName,
    homeserver: Url,
    journal: Journal,
    events: Vec<EventHandler>,
    /// Handlers of what is pushed besides events, by source.
    pushed: HashMap<&'static str, Vec<EventHandler>>,
    entries: HashMap<String, Arc<dyn Handler>>,
    wanted: Option<RoomPredicate>,
    third_party: Option<Arc<dyn AnyThirdParty>>,
    query_timeout: Duration,
    users: Option<Arc<dyn AnyQuery>>,
    rooms: Option<Arc<dyn AnyQuery>>,
    limits: Limits,
    max_body_bytes: usize,
    request_timeout: Duration,
}

impl Builder {
    /// Calls `handler` with each Matrix event, messages and state, also those of our own ghosts.
    ///
    /// Handlers are called in the order in which they were added. When one fails, all are called
    /// again later.
    #[must_use]
    pub fn on_event<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery, Event) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.events.push(Arc::new(move |delivery: Delivery| {
            let handler = handler.clone();
            async move {
                let event = Event::parse(&delivery.entry().payload)
                    .map_err(|_| HandlerError::never("event without sender or type"))?;
                handler(delivery, event).await
            }
        }));
        self
    }

    /// Calls `handler` with each `m.room.message` that somebody else sent: not with those of the
    /// application service's own user and of its exclusive ghosts, so a bot can't talk to itself,
    /// and not with redacted ones.
    #[must_use]
    pub fn on_message<F, Fut>(self, handler: F) -> Self
    where
        F: Fn(Delivery, OriginalRoomMessageEvent) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let our = self.our_users();
        self.on_event(move |delivery, event| {
            let ours = our.contain(event.sender());
            let handler = handler.clone();
            async move {
                if ours {
                    return Ok(());
                }
                let message = event.message().map_err(|_| {
                    HandlerError::never("m.room.message with a content that is none")
                })?;
                match message {
                    Some(message) => handler(delivery, message).await,
                    None => Ok(()),
                }
            }
        })
    }

    /// Accepts each invitation to the application service's own user and its exclusive ghosts.
    #[must_use]
    pub fn accept_invitations(self) -> Self {
        let our = self.our_users();
        self.on_event(move |delivery, event| {
            let invited = event.invited_user().filter(|user| our.contain(user));
            async move {
                let Some(user) = invited else {
                    return Ok(());
                };
                match delivery.intent(&user).join(event.room_id()).await {
                    Err(error) if error.is("M_FORBIDDEN") => {
                        tracing::info!(room = %event.room_id(), "an invitation was withdrawn before it was accepted");
                        Ok(())
                    }
                    other => Ok(other?),
                }
            }
        })
    }

    /// Calls `handler` with each entry that the application itself appends under the name `source`
    /// (see [`Journal::append`]); no name that begins with `matrix`.
    #[must_use]
    pub fn on_entry<F, Fut>(mut self, source: &str, handler: F) -> Self
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.entries.insert(source.to_owned(), Arc::new(handler));
        self
    }

    /// Answers the homeserver's question whether a user of ours exists; the handler may make it
    /// first. It gets [`Builder::query_timeout`], and the homeserver delivers nothing while it waits.
    /// Default: no.
    #[must_use]
    pub fn on_user_query<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Intent, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, HandlerError>> + Send + 'static,
    {
        self.users = Some(Arc::new(handler));
        self
    }

    /// Answers the homeserver's question whether a room alias of ours exists, as
    /// [`Builder::on_user_query`].
    #[must_use]
    pub fn on_room_query<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Intent, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, HandlerError>> + Send + 'static,
    {
        self.rooms = Some(Arc::new(handler));
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

    fn our_users(&self) -> OurUsers {
        OurUsers {
            sender: self.registration.sender(&self.server_name).ok(),
            namespaces: self.registration.namespaces.users.clone(),
            server_name: self.server_name.clone(),
        }
    }

    /// Puts it together. Nothing is sent or served yet.
    ///
    /// # Errors
    ///
    /// When `sender_localpart` and server name make no user id.
    pub fn build(self) -> Result<AppService, AppServiceError> {
        let our = self.our_users();
        let client = Client::try_new(
            &self.registration,
            self.server_name,
            self.homeserver,
            self.request_timeout,
        )?;
        let mut handlers = self.entries;
        handlers.insert(MATRIX.to_owned(), one_after_another(self.events));
        for (source, pushed) in self.pushed {
            handlers.insert(source.to_owned(), one_after_another(pushed));
        }
        let intake = Intake {
            handled: handlers.keys().cloned().collect(),
            rooms: self.wanted.map(|wanted| RoomFilter {
                wanted,
                ours: Arc::new(move |user| our.contain(user)),
            }),
        };
        let query = |handler: Option<Arc<dyn AnyQuery>>| {
            let client = client.clone();
            handler.map(|handler| Query {
                handler,
                bot: Arc::new(move |id| {
                    let scope = Scope::new(&format!("query\0{id}"), true);
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
            registration: self.registration,
        };
        Ok(AppService {
            id: state.registration.id.clone(),
            router: server::router(Arc::new(state), self.max_body_bytes),
            journal: self.journal,
            client,
            handlers,
            intake: Arc::new(intake),
            limits: self.limits,
        })
    }
}

/// Calls handlers in the order in which they were added.
fn one_after_another(handlers: Vec<EventHandler>) -> EventHandler {
    let handlers = Arc::new(handlers);
    Arc::new(move |delivery: Delivery| {
        let handlers = handlers.clone();
        async move {
            for (number, handler) in handlers.iter().enumerate() {
                handler.handle(delivery.for_handler(number)).await?;
            }
            Ok(())
        }
    })
}

/// The application service's own user and its exclusive ghosts, of its own homeserver only: another
/// organisation's bridge may well give its ghosts names that look the same.
#[derive(Clone)]
struct OurUsers {
    sender: Option<OwnedUserId>,
    namespaces: NamespaceList,
    server_name: OwnedServerName,
}

impl OurUsers {
    fn contain(&self, user: &UserId) -> bool {
        self.sender.as_deref() == Some(user)
            || (user.server_name() == self.server_name
                && self.namespaces.matches_exclusively(user.as_str()))
    }
}

/// An application service, ready to run.
pub struct AppService {
    id: String,
    router: Router,
    journal: Journal,
    client: Client,
    handlers: HashMap<String, Arc<dyn Handler>>,
    intake: Arc<Intake>,
    limits: Limits,
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
        Builder {
            registration,
            server_name: server_name.to_owned(),
            homeserver,
            journal,
            events: Vec::new(),
            pushed: HashMap::new(),
            entries: HashMap::new(),
            wanted: None,
            third_party: None,
            query_timeout: server::DEADLINE,
            users: None,
            rooms: None,
            limits: Limits::default(),
            max_body_bytes: server::MAX_BODY_BYTES,
            request_timeout: Duration::from_mins(1),
        }
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
        let scope = Scope::new(&format!("work\0{work}"), true);
        Intent::new(self.client.clone(), user.to_owned(), scope.into())
    }

    /// Listens on `address` (such as `127.0.0.1:9000`) and works until Ctrl-C or SIGTERM.
    ///
    /// # Errors
    ///
    /// When the address can't be had, or the journal fails at the start.
    pub async fn serve(self, address: &str) -> Result<(), AppServiceError> {
        let listener = listen(address).await?;
        let stop = CancellationToken::new();
        let on_signal = stop.clone();
        tokio::spawn(async move {
            shutdown_signal().await;
            on_signal.cancel();
        });
        let router = self.router();
        self.run(listener, router, stop).await
    }

    /// Serves `router` (see [`AppService::router`]) on `listener` and works the journal off, until
    /// `stop` is cancelled; then takes nothing more, lets the handlers at work finish (for as long as
    /// [`Builder::drain_timeout`]), and returns. No handler runs after that.
    ///
    /// # Errors
    ///
    /// When the journal fails at the start, or the listener at any time.
    pub async fn run(
        self,
        listener: TcpListener,
        router: Router,
        stop: CancellationToken,
    ) -> Result<(), AppServiceError> {
        let client = self.client.clone();
        self.journal.adopt(&self.intake).await?;
        let dispatcher = async |limits| {
            let (journal, client) = (self.journal.clone(), self.client.clone());
            Dispatcher::new(journal, client, self.handlers.clone(), limits).await
        };
        let each = dispatcher(self.limits).await?.with_intake(self.intake);
        let latest = dispatcher(self.limits.for_latest()).await?.of_latest();
        let stop_dispatch = stop.child_token();
        let stopping = stop_dispatch.clone();
        let mut dispatch = tokio::spawn(async move {
            tokio::join!(each.run(stopping.clone()), latest.run(stopping));
        });
        let announcing = tokio::spawn(announce(client, self.id, stop.clone()));
        let listener = listener.tap_io(|stream| {
            // Answers are small; waiting for more to send would only make the homeserver wait.
            let _ = stream.set_nodelay(true);
        });
        let stopping = stop.clone();
        let serve = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stopping.cancelled().await });
        let serve = async {
            tokio::select! {
                served = serve => served.map_err(AppServiceError::Serve),
                // A homeserver keeps its connection open; it may not keep us from ending.
                () = async { stop.cancelled().await; tokio::time::sleep(self.limits.drain).await } => Ok(()),
            }
        };
        tokio::pin!(serve);
        let ended = tokio::select! {
            served = &mut serve => {
                stop_dispatch.cancel();
                served.and(dispatch.await.map_err(|_| AppServiceError::Dispatcher))
            }
            worked = &mut dispatch => match worked {
                Ok(()) => serve.await,
                // Acknowledging what nobody works on helps nobody.
                Err(_) => Err(AppServiceError::Dispatcher),
            },
        };
        announcing.abort();
        ended
    }
}

/// Tells the homeserver that we are there, so that it delivers what it has kept for us at once and not
/// at the end of its pause.
async fn announce(client: Client, id: String, stop: CancellationToken) {
    let mut pause = Duration::from_millis(500);
    loop {
        match client.ping(&id).await {
            Ok(took) => {
                tracing::info!(
                    took_ms = took.as_millis(),
                    "the homeserver reaches the application service"
                );
                return;
            }
            Err(error) if error.is("M_URL_NOT_SET") || error.is("M_UNRECOGNIZED") => {
                tracing::info!(%error, "no ping");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the homeserver does not reach the application service yet: is `url` in the registration right?");
            }
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_none()
        {
            return;
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

/// Binds an address.
///
/// # Errors
///
/// [`AppServiceError::Listen`] names the address.
pub async fn listen(address: &str) -> Result<TcpListener, AppServiceError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| AppServiceError::Listen {
            address: address.to_owned(),
            source,
        })
}

/// Returns on Ctrl-C or, on Unix, SIGTERM.
pub async fn shutdown_signal() {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let terminate = async {
            match signal(SignalKind::terminate()) {
                Ok(mut signal) => {
                    signal.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! { () = ctrl_c => {}, () = terminate => {} }
    }
    #[cfg(not(unix))]
    ctrl_c.await;
}
