//! Calls to the homeserver, as the application service's own user or as one of its ghosts.
//!
//! A call that meets a homeserver which is away for a moment is made again, where that can't do
//! harm; one that meets a rate limit waits, within limits ([`ClientConfig`]). What remains is an
//! [`Error`] that says what now.

mod call;
mod clock;
mod config;
mod error;
mod limiter;
mod lru;
mod memory;
mod uploads;
mod versions;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::{HeaderValue, header};
use ruma::{
    DeviceId, OwnedServerName, OwnedUserId, ServerName, UserId,
    api::{
        IncomingResponse, MatrixVersion, OutgoingRequest, SupportedVersions,
        auth_scheme::{AuthScheme, SendAccessToken},
        path_builder::PathBuilder,
    },
};
use serde::Deserialize;
use tokio::{sync::Semaphore, time::Instant};
use tracing::{Instrument as _, field::Empty};
use url::Url;

pub(crate) use self::{
    call::{Answer, Body as CallBody, Call, Repeat},
    memory::Creation,
};
use self::{
    clock::Clock,
    limiter::{Limiter, TooLong, Turn},
    memory::Memory,
    uploads::UploadLimit,
};
pub use self::{config::ClientConfig, error::Error, versions::Versions};
use crate::{
    measures,
    registration::{Registration, Token},
};

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// The pause after a 429 that names none.
const UNNAMED_PAUSE: Duration = Duration::from_secs(1);
/// The pause after a 429 that names next to none.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// Idle connections are closed by us, before a homeserver or a proxy does (60 s is usual): a call
/// that is sent on a connection which the other side just closes fails.
const IDLE_CONNECTION: Duration = Duration::from_secs(45);

/// A connection to the homeserver. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    /// Without a slash at the end.
    homeserver: String,
    as_token: Token,
    authorization: HeaderValue,
    server_name: OwnedServerName,
    sender: OwnedUserId,
    versions: SupportedVersions,
    config: ClientConfig,
    clock: Clock,
    limiter: Arc<Limiter>,
    /// Calls at the same time.
    calls: Arc<Semaphore>,
    memory: Memory,
    upload_limit: UploadLimit,
}

/// As whom a call is made.
#[derive(Clone, Copy)]
pub(crate) struct Acting<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) device: Option<&'a DeviceId>,
}

impl Client {
    pub(crate) fn try_new(
        registration: &Registration,
        server_name: OwnedServerName,
        homeserver: &Url,
        timeout: Duration,
        config: ClientConfig,
    ) -> Result<Self, Error> {
        let sender = registration
            .sender(&server_name)
            .map_err(|_| Error::Request("sender_localpart and server name make no user id"))?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails when another thread was faster, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("matrix-appservice/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_nodelay(true);
        if homeserver.scheme() == "http" {
            // Nothing else is ever asked: without the system's certificates it starts sooner and is smaller.
            http = http.tls_certs_only([]);
        }
        let http = http
            .build()
            .map_err(|_| Error::Request("the HTTP client can't be set up"))?;
        let as_token = registration.as_token.clone();
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", as_token.expose()))
            .map_err(|_| Error::Request("the as_token can't be put into a header"))?;
        authorization.set_sensitive(true);
        let (own, server) = (sender.clone(), server_name.clone());
        let ghosts = registration.namespaces.users.clone();
        let ours = Box::new(move |user: &UserId| {
            *user == *own || (user.server_name() == server && ghosts.matches(user.as_str()))
        });
        Ok(Self(Arc::new(Inner {
            http,
            homeserver: homeserver.as_str().trim_end_matches('/').to_owned(),
            as_token,
            authorization,
            server_name,
            sender,
            // Stable paths (`/v3/`) only; each homeserver that is alive has them.
            versions: SupportedVersions {
                versions: [MatrixVersion::V1_11].into(),
                features: std::collections::BTreeSet::new(),
            },
            calls: Arc::new(Semaphore::new(config.parallel_calls.max(1))),
            config,
            clock: Clock::default(),
            limiter: Arc::default(),
            memory: Memory::new(config.remembered_rooms, ours),
            upload_limit: UploadLimit::default(),
        })))
    }

    /// The application service's own user.
    #[must_use]
    pub fn sender(&self) -> &UserId {
        &self.0.sender
    }

    /// The homeserver's name, the part of its users' ids after the colon.
    #[must_use]
    pub fn server_name(&self) -> &ServerName {
        &self.0.server_name
    }

    /// Sends a request as `user`, for what [`Intent`](crate::Intent) has no word.
    ///
    /// It waits out rate limits, as all calls. What isn't a `POST` is made again when the homeserver is
    /// away for a moment.
    ///
    /// # Errors
    ///
    /// [`Error`] says what failed and whether to try again.
    pub async fn send<R>(&self, user: &UserId, request: R) -> Result<R::IncomingResponse, Error>
    where
        R: OutgoingRequest,
        for<'a> R::Authentication: AuthScheme<Input<'a> = SendAccessToken<'a>>,
        for<'a> R::PathBuilder: PathBuilder<Input<'a> = Cow<'a, SupportedVersions>>,
    {
        let route = R::PATH_BUILDER.all_paths().last().unwrap_or("/");
        let mut request: http::Request<Vec<u8>> = request
            .try_into_http_request(
                "",
                SendAccessToken::Always(self.0.as_token.expose()),
                Cow::Borrowed(&self.0.versions),
            )
            .map_err(|_| Error::Request("the request can't be put into HTTP"))?;
        // Every call gets our own, which is marked as a secret.
        request.headers_mut().remove(header::AUTHORIZATION);
        let acting = Acting { user, device: None };
        let answer = self
            .execute(acting, Call::from_http(route, request))
            .await?;
        let mut response = http::Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        R::IncomingResponse::try_from_http_response(response).map_err(|_| Error::Answer { route })
    }

    /// Asks the homeserver to call our ping endpoint: it finds out whether the homeserver reaches us, and
    /// ends the homeserver's pause after we were away (Synapse's grows to nearly nine minutes). Returns
    /// how long the homeserver's call took.
    ///
    /// # Errors
    ///
    /// `M_URL_NOT_SET`, `M_BAD_STATUS`, `M_CONNECTION_FAILED` or `M_CONNECTION_TIMEOUT` when it doesn't
    /// reach us; else as any call.
    pub async fn ping(&self, appservice_id: &str) -> Result<Duration, Error> {
        #[derive(Deserialize)]
        struct Pong {
            duration_ms: u64,
        }
        const ROUTE: &str = "/_matrix/client/v1/appservice/{appserviceId}/ping";
        let call = Call::post(ROUTE, &[appservice_id])?.json(&serde_json::Map::new())?;
        let pong: Pong = self.execute(self.as_sender(), call).await?.read()?;
        Ok(Duration::from_millis(pong.duration_ms))
    }

    pub(crate) fn as_sender(&self) -> Acting<'_> {
        Acting {
            user: &self.0.sender,
            device: None,
        }
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.config
    }

    /// Makes a call, and makes it again as far as that is allowed and worth it.
    pub(crate) async fn execute(&self, acting: Acting<'_>, call: Call) -> Result<Answer, Error> {
        let answered = self.begin(acting, call).await?;
        answered.read().await
    }

    /// As [`Client::execute`], up to the answer's head.
    pub(crate) async fn begin(&self, acting: Acting<'_>, call: Call) -> Result<Answering, Error> {
        let Inner {
            clock,
            config,
            limiter,
            ..
        } = &*self.0;
        let (route, repeat) = (call.route, call.repeat);
        let mut call = self.acting(acting, call);
        let began = clock.now();
        let wait_until = began + config.longest_wait;
        let limited = |TooLong(pause)| Error::limited(route, pause);
        let mut turn: Option<Turn> = limiter
            .enter(clock, acting.user, route, wait_until)
            .await
            .map_err(limited)?;
        let mut attempts = 0;
        loop {
            let request = self.request(&mut call)?;
            let error = match self.exchange(route, request).await {
                Ok(answering) => return Ok(answering),
                Err(error) => error,
            };
            if call.body.is_gone() {
                return Err(error);
            }
            if error.is_rate_limited() {
                let pause = error.retry_after();
                let pause = pause.unwrap_or(UNNAMED_PAUSE).max(SHORTEST_PAUSE);
                tracing::debug!(route, pause_ms = pause.as_millis(), "rate limited");
                let waited = limiter
                    .limited(clock, turn.take(), acting.user, route, pause, wait_until)
                    .await;
                turn = Some(waited.map_err(limited)?);
                continue;
            }
            attempts += 1;
            let may = error.is_transient() && (repeat == Repeat::Always || error.is_unsent());
            let elapsed = clock.now() - began;
            match config.pause(attempts, elapsed, clock.jitter()) {
                Some(pause) if may => clock.sleep(pause).await,
                _ => return Err(error),
            }
        }
    }

    /// Pauses after `error` when the caller itself may try again; false when it may not.
    pub(crate) async fn pause_after(&self, error: &Error, attempts: u32, began: Instant) -> bool {
        let clock = &self.0.clock;
        let elapsed = clock.now() - began;
        match self.0.config.pause(attempts, elapsed, clock.jitter()) {
            Some(pause) if error.is_transient() => {
                clock.sleep(pause).await;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.clock.now()
    }

    /// Says as whom a call is made.
    fn acting(&self, acting: Acting<'_>, mut call: Call) -> Call {
        // Without a `user_id` it is the application service's own user.
        if acting.user != self.sender() {
            call = call.query("user_id", acting.user.as_str());
        }
        if let Some(device) = acting.device {
            call = call.query("device_id", device.as_str());
        }
        call
    }

    /// One attempt at a call.
    fn request(&self, call: &mut Call) -> Result<reqwest::Request, Error> {
        let homeserver = &self.0.homeserver;
        let mut url = String::with_capacity(homeserver.len() + call.target.len());
        url.push_str(homeserver);
        url.push_str(&call.target);
        let url =
            Url::parse(&url).map_err(|_| Error::Request("the call can't be put into a URL"))?;
        let mut request = reqwest::Request::new(call.method.clone(), url);
        let headers = request.headers_mut();
        for (name, value) in &call.headers {
            headers.insert(name, value.clone());
        }
        headers.insert(header::AUTHORIZATION, self.0.authorization.clone());
        *request.body_mut() = call.body.take();
        if call.is_media {
            *request.timeout_mut() = Some(self.0.config.media_timeout);
        }
        Ok(request)
    }

    /// One HTTP exchange up to the answer's head. The error names the route's pattern, never the URL.
    async fn exchange(
        &self,
        route: &'static str,
        request: reqwest::Request,
    ) -> Result<Answering, Error> {
        // Never closed.
        let place = self.0.calls.clone().acquire_owned().await.ok();
        // For programs that trace. The route says what was asked without the ids and searches of the URL.
        let span = tracing::debug_span!(
            "matrix.request",
            otel.name = format!("{} {route}", request.method()),
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = request.method().as_str(),
            http.route = route,
            http.response.status_code = Empty,
        );
        let began = std::time::Instant::now();
        let response = (self.0.http.execute(request))
            .instrument(span.clone())
            .await;
        let status = response.as_ref().ok().map(reqwest::Response::status);
        measures::request(began.elapsed(), status);
        if let Some(status) = status {
            span.record("http.response.status_code", status.as_u16());
        }
        if !status.is_some_and(|status| status.is_success()) {
            span.record("otel.status_code", "error");
        }
        let response = response.map_err(|source| Error::unreachable(route, source))?;
        let answering = Answering {
            route,
            response,
            _place: place,
        };
        let status = answering.response.status();
        if status.is_success() {
            return Ok(answering);
        }
        let retry_after = error::retry_after_header(answering.response.headers());
        let answer = answering.read().await?;
        Err(Error::refused(route, status, &answer.body, retry_after))
    }

    /// What is known without asking.
    pub(crate) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Looks at a Matrix event before it is handled, for what it tells of our users and rooms.
    pub(crate) fn observe(&self, event_json: &[u8]) {
        self.0.memory.observe(event_json);
    }
}

/// An answer whose body is still to be read. It counts as a call until it is dropped.
pub(crate) struct Answering {
    route: &'static str,
    response: reqwest::Response,
    _place: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Answering {
    async fn read(mut self) -> Result<Answer, Error> {
        let expected = self.response.content_length().unwrap_or(0);
        let expected = usize::try_from(expected).unwrap_or(usize::MAX);
        let mut body = Vec::with_capacity(expected.min(64 * 1024));
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Error::Answer { route: self.route });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            route: self.route,
            status: self.response.status(),
            headers: std::mem::take(self.response.headers_mut()),
            body,
        })
    }

    pub(crate) fn headers(&self) -> &http::HeaderMap {
        self.response.headers()
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    pub(crate) async fn chunk(&mut self) -> Result<Option<axum::body::Bytes>, Error> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|source| Error::unreachable(self.route, source))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server_name", &self.0.server_name)
            .field("sender", &self.0.sender)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
