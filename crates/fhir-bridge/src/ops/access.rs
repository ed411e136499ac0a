//! Who may see the page and use its API: those who have the token; without one, those on this machine.

mod attempts;

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, StatusCode, Uri, header};
use matrix_appservice::registration::Token;

use self::attempts::Attempts;
use crate::config;

/// Who may see more than health and metrics.
#[derive(Debug)]
pub(crate) enum Access {
    /// Nobody: there is no token, and others than this machine reach the listener.
    Nobody,
    /// Everybody on this machine.
    ThisMachine,
    /// Whoever has the token.
    Token(Token, Attempts),
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No token, or another one.
    #[error(
        "the token is missing or wrong: send `Authorization: Bearer …` with the one in ops.token_file"
    )]
    Token,
    /// Too many wrong ones from there.
    #[error("too many wrong tokens: wait a minute")]
    TooMany,
    /// A page of somebody else's asks in a browser on this machine.
    #[error("only pages of this address may ask here")]
    Foreign,
}

impl Refused {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Foreign => StatusCode::FORBIDDEN,
        }
    }
}

impl Access {
    /// As the configuration says, for a listener on this address.
    ///
    /// # Errors
    ///
    /// When the token can't be had, or is easy to guess.
    pub(crate) fn of(config: &config::Ops, listens_on: SocketAddr) -> anyhow::Result<Self> {
        let token = match config.token()? {
            Some(token) => token,
            None if listens_on.ip().is_loopback() => return Ok(Self::ThisMachine),
            None => return Ok(Self::Nobody),
        };
        Ok(Self::with(token))
    }

    pub(crate) fn with(token: Token) -> Self {
        Self::Token(token, Attempts::default())
    }

    /// Whether there is anything to be served.
    pub(crate) fn is_anybody(&self) -> bool {
        !matches!(self, Self::Nobody)
    }

    /// Checks what somebody at `peer` has shown as the token.
    pub(crate) fn check(&self, peer: IpAddr, shown: Option<&str>) -> Result<(), Refused> {
        match self {
            Self::Nobody => Err(Refused::Token),
            Self::ThisMachine => Ok(()),
            Self::Token(token, attempts) => {
                if attempts.are_too_many(peer) {
                    return Err(Refused::TooMany);
                }
                if shown.is_some_and(|shown| token.matches(shown)) {
                    attempts.succeeded(peer);
                    return Ok(());
                }
                if shown.is_some() {
                    attempts.failed(peer);
                }
                Err(Refused::Token)
            }
        }
    }

    /// Keeps out what pages of others do in a browser on this machine: they reach it, too, and may have any name lead
    /// there.
    pub(crate) fn check_browser(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refused> {
        if is_foreign(headers, uri) {
            return Err(Refused::Foreign);
        }
        let is_ours = host(headers, uri).is_some_and(names_this_machine);
        if matches!(self, Self::ThisMachine) && !is_ours {
            return Err(Refused::Foreign);
        }
        Ok(())
    }
}

/// The token in the header `Authorization`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a browser says that a page of another address asks.
fn is_foreign(headers: &HeaderMap, uri: &Uri) -> bool {
    match headers.get(header::ORIGIN) {
        None => false,
        Some(_) => !is_own(headers, uri),
    }
}

/// Whether a browser says that one of our own pages asks.
pub(crate) fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|it| it.to_str().ok());
    let from = origin.and_then(|origin| {
        let plain = origin.strip_prefix("http://");
        plain.or_else(|| origin.strip_prefix("https://"))
    });
    match (from, host(headers, uri)) {
        (Some(from), Some(host)) => from.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// By what name and port we were asked.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    header.or_else(|| uri.authority().map(axum::http::uri::Authority::as_str))
}

/// Whether a host, perhaps with a port, is this machine whatever a name server says.
fn names_this_machine(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name: header::HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        pairs.collect()
    }

    fn of(yaml: &str, address: &str) -> anyhow::Result<Access> {
        let config = serde_yaml::from_str(yaml).unwrap();
        Access::of(&config, address.parse().unwrap())
    }

    #[test]
    fn without_a_token_only_this_machine_is_served() {
        assert!(matches!(
            of("{}", "127.0.0.1:1").unwrap(),
            Access::ThisMachine
        ));
        assert!(matches!(of("{}", "[::1]:1").unwrap(), Access::ThisMachine));
        for everywhere in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1"] {
            let access = of("{}", everywhere).unwrap();
            assert!(!access.is_anybody(), "{everywhere}");
            assert_eq!(access.check(PEER, None), Err(Refused::Token));
        }
    }

    #[test]
    fn a_token_is_read_and_asked_for_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let yaml = format!("{{token_file: {}}}", file.display());
        assert!(of(&yaml, "127.0.0.1:1").is_err(), "it isn't there");
        std::fs::write(&file, "short\n").unwrap();
        let error = of(&yaml, "127.0.0.1:1").unwrap_err().to_string();
        assert!(
            error.contains("ops.token_file") && !error.contains("short"),
            "{error}"
        );
        std::fs::write(&file, "example-token-of-operators\n").unwrap();
        for address in ["127.0.0.1:1", "0.0.0.0:1"] {
            let access = of(&yaml, address).unwrap();
            assert_eq!(access.check(PEER, None), Err(Refused::Token));
            assert_eq!(access.check(PEER, Some("example")), Err(Refused::Token));
            assert_eq!(
                access.check(PEER, Some("example-token-of-operators")),
                Ok(())
            );
        }
        assert!(of("{token_env: NO_SUCH_VARIABLE_HERE}", "127.0.0.1:1").is_err());
    }

    #[test]
    fn whoever_guesses_is_made_to_wait_and_nobody_else() {
        let access = Access::with(Token::parse("example-token-of-operators").unwrap());
        let other: IpAddr = "192.0.2.2".parse().unwrap();
        let right = Some("example-token-of-operators");
        for _ in 0..attempts::MOST {
            assert_eq!(access.check(PEER, Some("guess")), Err(Refused::Token));
        }
        assert_eq!(access.check(PEER, right), Err(Refused::TooMany));
        assert_eq!(access.check(other, right), Ok(()));
    }

    #[test]
    fn a_page_of_another_address_is_kept_out() {
        let uri = Uri::from_static("/");
        let access = Access::ThisMachine;
        let check =
            |pairs: &[(&'static str, &'static str)]| access.check_browser(&headers(pairs), &uri);
        assert_eq!(check(&[("host", "127.0.0.1:1233")]), Ok(()));
        assert_eq!(check(&[("host", "localhost:1233")]), Ok(()));
        assert_eq!(check(&[("host", "[::1]:1233")]), Ok(()));
        let own = ("origin", "http://localhost:1233");
        assert_eq!(check(&[("host", "localhost:1233"), own]), Ok(()));
        // A name that leads to this machine, and pages from elsewhere.
        assert_eq!(
            check(&[("host", "rebound.example:1233")]),
            Err(Refused::Foreign)
        );
        assert_eq!(
            check(&[("host", "127.0.0.1.rebound.example")]),
            Err(Refused::Foreign)
        );
        assert_eq!(check(&[]), Err(Refused::Foreign));
        for origin in [
            "http://bad.example",
            "null",
            "http://localhost:1234",
            "localhost:1233",
        ] {
            assert_eq!(
                check(&[("host", "localhost:1233"), ("origin", origin)]),
                Err(Refused::Foreign),
                "{origin}"
            );
        }
        // With a token any name may lead there, but no page from elsewhere.
        let access = Access::with(Token::parse("example-token-of-operators").unwrap());
        let check =
            |pairs: &[(&'static str, &'static str)]| access.check_browser(&headers(pairs), &uri);
        assert_eq!(
            check(&[
                ("host", "ops.vvt.example"),
                ("origin", "https://ops.vvt.example")
            ]),
            Ok(())
        );
        assert_eq!(
            check(&[
                ("host", "ops.vvt.example"),
                ("origin", "https://bad.example")
            ]),
            Err(Refused::Foreign)
        );
    }
}
