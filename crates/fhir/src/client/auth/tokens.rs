//! The token that is shown, kept until it is used up.
//!
//! A token is fetched before the old one ends, by one caller at a time while the others wait; one that a server refuses is
//! replaced at once, and once for all who were refused with it.

use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use url::Url;

use super::{Auth, ClientCredentials, Proof, Secret, Shown, assertion, bearer, exchange};
use crate::{BaseUrl, Call, Error, client::SetupError};

/// How long before its end a token is replaced; a short one when half of its time is over.
const BEFORE_THE_END: Duration = Duration::from_mins(1);

/// For so long after a failed fetch no other one is tried, so that a token endpoint in trouble is not flooded.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What is shown to a server, fetched when needed.
pub(in crate::client) struct Tokens {
    source: Source,
    state: Mutex<State>,
}

enum Source {
    None,
    /// Read again when the server refuses it.
    Bearer(Secret),
    Client(Box<ClientCredentials>),
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// How often a token was fetched.
    number: u64,
    failed: Option<(Instant, Error)>,
    token_url: Option<Url>,
}

struct Current {
    header: HeaderValue,
    replace_at: Option<Instant>,
    ends_at: Option<Instant>,
}

impl Tokens {
    /// Looks whether everything that is needed is there; nothing is fetched yet.
    pub(in crate::client) fn try_new(auth: Auth) -> Result<Self, SetupError> {
        let source = match auth {
            Auth::None => Source::None,
            Auth::Bearer(secret) => {
                bearer(secret.read()?.expose_secret())?;
                Source::Bearer(secret)
            }
            Auth::Client(credentials) => {
                match &credentials.proof {
                    Proof::Basic(secret) | Proof::Post(secret) => {
                        secret.read()?;
                    }
                    Proof::SignedJwt { key, .. } => assertion::check(key)?,
                }
                if let Some(url) = &credentials.token_url {
                    let url = Url::parse(url).ok().filter(exchange::is_safe);
                    url.ok_or(SetupError::TokenUrl)?;
                }
                Source::Client(Box::new(credentials))
            }
        };
        Ok(Self {
            source,
            state: Mutex::default(),
        })
    }

    /// What to show; `None`: nothing. `refused` is the number of what a server has refused just now.
    pub(in crate::client) async fn shown(
        &self,
        http: &reqwest::Client,
        base: &BaseUrl,
        refused: Option<u64>,
    ) -> Result<Option<Shown>, Error> {
        if matches!(self.source, Source::None) {
            return Ok(None);
        }
        // Held while a token is fetched: the others would only fetch it too.
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let number = state.number;
        if refused != Some(number)
            && let Some(current) = &state.current
            && current.replace_at.is_none_or(|at| now < at)
        {
            let header = current.header.clone();
            return Ok(Some(Shown { header, number }));
        }
        let lately = state.failed.as_ref();
        let lately = lately.filter(|(at, _)| now.duration_since(*at) < AFTER_FAILURE);
        let fetched = if let Some((_, error)) = lately {
            Err(error.clone())
        } else {
            let fetched = self.fetch(http, base, &mut state).await;
            let failed = fetched.as_ref().err().cloned();
            state.failed = failed.map(|error| (Instant::now(), error));
            fetched
        };
        match fetched {
            Ok(current) => {
                state.number += 1;
                let header = current.header.clone();
                state.current = Some(current);
                Ok(Some(Shown {
                    header,
                    number: state.number,
                }))
            }
            Err(error) => {
                // The old one may do for a while yet.
                let old = state.current.as_ref().filter(|_| refused != Some(number));
                match old.filter(|old| old.ends_at.is_none_or(|at| now < at)) {
                    Some(old) => Ok(Some(Shown {
                        header: old.header.clone(),
                        number,
                    })),
                    None => Err(error),
                }
            }
        }
    }

    async fn fetch(
        &self,
        http: &reqwest::Client,
        base: &BaseUrl,
        state: &mut State,
    ) -> Result<Current, Error> {
        match &self.source {
            Source::None => Err(unreadable(base, "there is no token".to_owned())),
            Source::Bearer(secret) => {
                let token = secret
                    .read()
                    .map_err(|error| unreadable(base, error.to_string()))?;
                let header = bearer(token.expose_secret())
                    .map_err(|error| unreadable(base, error.to_string()))?;
                Ok(Current {
                    header,
                    replace_at: None,
                    ends_at: None,
                })
            }
            Source::Client(credentials) => {
                let token_url = match (&credentials.token_url, &state.token_url) {
                    (Some(url), _) => Url::parse(url)
                        .map_err(|_| unreadable(base, "the token endpoint is no URL".to_owned()))?,
                    (None, Some(known)) => known.clone(),
                    (None, None) => exchange::discover(http, base).await?,
                };
                let fetched = exchange::fetch(http, credentials, &token_url).await;
                // After a failure it is looked up anew: it may have moved.
                state.token_url = fetched.is_ok().then_some(token_url);
                let fetched = fetched?;
                let now = Instant::now();
                let early = BEFORE_THE_END.min(fetched.lifetime / 2);
                let header = bearer(fetched.token.expose_secret())
                    .map_err(|error| unreadable(base, error.to_string()))?;
                Ok(Current {
                    header,
                    replace_at: now.checked_add(fetched.lifetime.saturating_sub(early)),
                    ends_at: now.checked_add(fetched.lifetime),
                })
            }
        }
    }

    /// Whether a refusal can be answered with another token.
    pub(in crate::client) fn can_be_replaced(&self) -> bool {
        match &self.source {
            Source::None | Source::Bearer(Secret::Given(_)) => false,
            Source::Bearer(_) | Source::Client(_) => true,
        }
    }
}

fn unreadable(base: &BaseUrl, what: String) -> Error {
    let call = Call {
        method: "GET",
        path: "a token".to_owned(),
        origin: base.origin(),
    };
    Error::Credentials { call, what }
}
