//! Calls to the homeserver, as the application service's own user or as one of its ghosts.

mod error;

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ruma::{
    OwnedServerName, OwnedUserId, ServerName, UserId,
    api::client::appservice::request_ping,
    api::{
        AppserviceUserIdentity, IncomingResponse, MatrixVersion, OutgoingRequest,
        OutgoingRequestAppserviceExt, SupportedVersions,
        auth_scheme::{AuthScheme, SendAccessToken},
        path_builder::PathBuilder,
    },
};
use url::Url;

pub use self::error::Error;
use crate::registration::{Registration, Token};

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A connection to the homeserver. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    homeserver: Url,
    as_token: Token,
    server_name: OwnedServerName,
    sender: OwnedUserId,
    versions: SupportedVersions,
    /// Ghosts that are known to be registered.
    registered: Mutex<HashSet<OwnedUserId>>,
}

impl Client {
    pub(crate) fn try_new(
        registration: &Registration,
        server_name: OwnedServerName,
        homeserver: Url,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let sender = registration
            .sender(&server_name)
            .map_err(|_| Error::Request("sender_localpart and server name make no user id"))?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails when another thread was faster, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("matrix-appservice/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(timeout)
            .build()
            .map_err(|_| Error::Request("the HTTP client can't be set up"))?;
        Ok(Self(Arc::new(Inner {
            http,
            homeserver,
            as_token: registration.as_token.clone(),
            server_name,
            sender,
            // Stable paths (`/v3/`) only; each homeserver that is alive has them.
            versions: SupportedVersions {
                versions: [MatrixVersion::V1_11].into(),
                features: std::collections::BTreeSet::new(),
            },
            registered: Mutex::default(),
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

    /// Sends a request as `user`.
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
        let identity = if user == self.sender() {
            AppserviceUserIdentity::default()
        } else {
            AppserviceUserIdentity::new(user)
        };
        let request: http::Request<Vec<u8>> = request
            .try_into_http_request_with_identity(
                self.0.homeserver.as_str(),
                // Always, also where the specification needs none: `user_id` means nothing without.
                SendAccessToken::Always(self.0.as_token.expose()),
                identity,
                Cow::Borrowed(&self.0.versions),
            )
            .map_err(|_| Error::Request("the request can't be put into HTTP"))?;
        let response = self.exchange(request, route).await?;
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
        let request = request_ping::v1::Request::new(appservice_id.to_owned());
        Ok(self.send(self.sender(), request).await?.duration)
    }

    /// One HTTP exchange. The error names the route's pattern, never the URL.
    async fn exchange(
        &self,
        request: http::Request<Vec<u8>>,
        route: &'static str,
    ) -> Result<http::Response<Vec<u8>>, Error> {
        let unreachable = |source: reqwest::Error| Error::Unreachable {
            route,
            source: source.without_url(),
        };
        let mut request = reqwest::Request::try_from(request)
            .map_err(|_| Error::Request("the request can't be put into HTTP"))?;
        for (name, value) in request.headers_mut() {
            if name == http::header::AUTHORIZATION {
                value.set_sensitive(true);
            }
        }
        let mut response = self.0.http.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = error::retry_after_header(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Error::Answer { route });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            let mut answer = http::Response::new(body);
            *answer.status_mut() = status;
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            return Ok(answer);
        }
        Err(Error::refused(route, status, &body, retry_after))
    }

    pub(crate) fn is_registered(&self, user: &UserId) -> bool {
        self.lock().contains(user)
    }

    pub(crate) fn remember_registered(&self, user: &UserId) {
        self.lock().insert(user.to_owned());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<OwnedUserId>> {
        self.0
            .registered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
