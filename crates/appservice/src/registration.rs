//! The registration: the YAML file that tells a homeserver who the application service is.
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#registration)

mod error;
mod namespace;
mod raw;
mod token;

use std::{fmt, path::Path};

use ruma::{OwnedUserId, ServerName, UserId};

pub use self::{
    error::RegistrationError,
    namespace::{Namespace, NamespaceKind, NamespaceList, Namespaces},
    token::Token,
};

/// A parsed and validated registration.
///
/// Both tokens are [`Token`]s: they are never printed, and compared in constant time. `Debug` doesn't
/// show unknown fields either: one of them may be a token whose name was misspelt.
#[derive(Clone)]
#[non_exhaustive]
pub struct Registration {
    /// Unique on the homeserver, and never changes. May hold spaces, but no `|`.
    pub id: String,
    /// Where the homeserver pushes to; `None` (YAML `null`) when it shall push nothing.
    pub url: Option<String>,
    /// What the application service shows to the homeserver.
    pub as_token: Token,
    /// What the homeserver shows to the application service.
    pub hs_token: Token,
    /// Localpart of the application service's own user.
    pub sender_localpart: String,
    /// Which users, aliases and rooms the application service is interested in.
    pub namespaces: Namespaces,
    /// Whether the homeserver limits the rate of ghosts' requests. Absent means `None`, which
    /// homeservers read as `true`.
    pub rate_limited: Option<bool>,
    /// Third-party protocols that the application service answers look-ups for.
    pub protocols: Vec<String>,
    /// Whether the homeserver shall push typing, receipts and presence. Default: false.
    pub receive_ephemeral: bool,
    /// Fields that this version of the library doesn't know, as they stood in the file.
    pub unknown: std::collections::BTreeMap<String, serde_yaml::Value>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("id", &self.id)
            .field("sender_localpart", &self.sender_localpart)
            .field("namespaces", &self.namespaces)
            .field("rate_limited", &self.rate_limited)
            .field("receive_ephemeral", &self.receive_ephemeral)
            .field("unknown", &self.unknown.keys())
            .finish_non_exhaustive()
    }
}

impl Registration {
    /// Reads and checks a registration file.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`] names the file, the line and the field, and what is expected there.
    /// It never shows a token.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RegistrationError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| RegistrationError::unreadable(path, source))?;
        Self::parse(&text).map_err(|error| error.in_file(path))
    }

    /// Parses and checks the text of a registration.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::parse(
    ///     r##"
    /// id: echo
    /// url: http://127.0.0.1:9000
    /// as_token: an-example-as-token-of-some-length
    /// hs_token: an-example-hs-token-of-some-length
    /// sender_localpart: echobot
    /// namespaces:
    ///   users: [{exclusive: true, regex: "@_echo_.*"}]
    /// "##,
    /// )?;
    /// assert!(registration.namespaces.users.matches("@_echo_1:example.org"));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Registration::load`], without the file's name.
    pub fn parse(text: &str) -> Result<Self, RegistrationError> {
        raw::parse(text)
    }

    /// The user id of the application service's own user on `server`.
    ///
    /// # Errors
    ///
    /// When `sender_localpart` and `server` together are no user id (255 bytes at most).
    pub fn sender(&self, server: &ServerName) -> Result<OwnedUserId, ruma::IdParseError> {
        UserId::parse(format!("@{}:{server}", self.sender_localpart))
    }
}
