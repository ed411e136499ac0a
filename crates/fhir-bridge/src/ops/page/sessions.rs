//! Who is logged in: random ids in memory, so that a restart logs everybody out.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use matrix_appservice::registration::Token;

use crate::{bridge::lock, ops::access::Access, startup::random_hex};

const COOKIE: &str = "fhir_bridge_session";
/// How long somebody is logged in.
const LIFE: Duration = Duration::from_hours(8);
/// So many may be at once; the one that ends first gives way to the next.
const MOST: usize = 32;

struct Session {
    /// What its forms show.
    secret: Token,
    ends: Instant,
}

/// All who are logged in.
pub(crate) struct Sessions {
    by_id: Mutex<HashMap<String, Session>>,
    /// What the forms show of those on this machine, who need no login.
    here: Token,
}

impl Sessions {
    /// # Errors
    ///
    /// When the operating system gives no random numbers.
    pub(crate) fn try_new() -> anyhow::Result<Self> {
        Ok(Self {
            by_id: Mutex::default(),
            here: Token::generate()?,
        })
    }

    /// What the forms of whoever asks have to show; `None` for those who have to log in first.
    pub(super) fn secret(&self, access: &Access, headers: &HeaderMap) -> Option<Token> {
        match access {
            Access::Nobody => None,
            Access::ThisMachine => Some(self.here.clone()),
            Access::Token(..) => {
                let sessions = lock(&self.by_id);
                let session = sessions.get(id(headers)?)?;
                (session.ends > Instant::now()).then(|| session.secret.clone())
            }
        }
    }

    /// Somebody has shown the token. Returns the session's id.
    pub(super) fn open(&self) -> anyhow::Result<String> {
        let id = random_hex()?;
        let now = Instant::now();
        let session = Session {
            secret: Token::generate()?,
            ends: now + LIFE,
        };
        let mut sessions = lock(&self.by_id);
        sessions.retain(|_, session| session.ends > now);
        if sessions.len() >= MOST {
            let first = sessions.iter().min_by_key(|(_, session)| session.ends);
            if let Some(first) = first.map(|(id, _)| id.clone()) {
                sessions.remove(&first);
            }
        }
        sessions.insert(id.clone(), session);
        Ok(id)
    }

    /// Somebody logs out.
    pub(super) fn close(&self, headers: &HeaderMap) {
        if let Some(id) = id(headers) {
            lock(&self.by_id).remove(id);
        }
    }

    #[cfg(test)]
    pub(crate) fn end_all(&self) {
        for session in lock(&self.by_id).values_mut() {
            session.ends = Instant::now();
        }
    }
}

/// The session's id, as the browser sends it.
fn id(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    cookies
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Has the browser keep it, away from scripts and from pages of others.
pub(super) fn cookie(id: &str, is_https: bool) -> String {
    set(id, LIFE.as_secs(), is_https)
}

/// Has the browser forget it.
pub(super) fn no_cookie(is_https: bool) -> String {
    set("", 0, is_https)
}

fn set(value: &str, seconds: u64, is_https: bool) -> String {
    // Without TLS a browser wouldn't send it back.
    let secure = if is_https { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(id: &str) -> HeaderMap {
        let cookie = format!("other=1; {COOKIE}={id}");
        [(header::COOKIE, cookie.parse().unwrap())]
            .into_iter()
            .collect()
    }

    fn access() -> Access {
        Access::with(Token::parse("example-token-of-operators").unwrap())
    }

    #[test]
    fn a_session_lasts_until_it_ends_or_is_closed() {
        let sessions = Sessions::try_new().unwrap();
        let id = sessions.open().unwrap();
        assert!(sessions.secret(&access(), &with(&id)).is_some());
        assert!(sessions.secret(&access(), &with("guess")).is_none());
        assert!(sessions.secret(&access(), &HeaderMap::new()).is_none());
        sessions.close(&with(&id));
        assert!(sessions.secret(&access(), &with(&id)).is_none());
        let id = sessions.open().unwrap();
        sessions.end_all();
        assert!(sessions.secret(&access(), &with(&id)).is_none());
    }

    #[test]
    fn each_has_a_secret_of_its_own_and_only_so_many_are_kept() {
        let sessions = Sessions::try_new().unwrap();
        let ids: Vec<String> = (0..=MOST).map(|_| sessions.open().unwrap()).collect();
        assert_eq!(lock(&sessions.by_id).len(), MOST);
        assert!(sessions.secret(&access(), &with(&ids[0])).is_none());
        let secret = |id| sessions.secret(&access(), &with(id)).unwrap();
        assert!(!secret(&ids[1]).matches(secret(&ids[2]).expose()));
    }
}
