#![doc = include_str!("../docs/registration.md")]

mod error;
mod generate;
mod lint;
mod namespace;
mod origin;
mod parse;
mod pattern;
mod source;
mod token;
mod unknown;
mod unstable;
mod write;

use std::{fmt, path::Path};

use ruma::{OwnedUserId, ServerName, UserId};
/// A YAML value, as it stands in [`UnknownFields`].
pub use serde_yaml::Value as YamlValue;

pub use self::{
    error::RegistrationError,
    generate::RegistrationBuilder,
    lint::{Code, Explained, Explanation, Finding, Lint, Match, Sample, Severity},
    namespace::{Namespace, NamespaceKind, NamespaceList, Namespaces},
    pattern::meaning::Meaning,
    source::RegistrationFile,
    token::Token,
    unknown::UnknownFields,
    unstable::Unstable,
};

/// A parsed and validated registration.
///
/// Both tokens are [`Token`]s: they are never printed, and compared in constant time. `Debug` doesn't
/// show unknown fields either: one of them may be a token whose name was misspelt. Two registrations
/// are equal when they say the same, wherever they were read from.
#[derive(Clone, PartialEq)]
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
    /// Fields of proposals that homeservers read already.
    pub unstable: Unstable,
    /// Fields that this version of the library doesn't know, as they stood in the file.
    pub unknown: UnknownFields,
    accepted_too: Vec<Token>,
    origin: origin::Origin,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("id", &self.id)
            .field("sender_localpart", &self.sender_localpart)
            .field("namespaces", &self.namespaces)
            .field("rate_limited", &self.rate_limited)
            .field("receive_ephemeral", &self.receive_ephemeral)
            .field("unstable", &self.unstable)
            .field("unknown", &self.unknown)
            .field("accepted_too", &self.accepted_too.len())
            .finish_non_exhaustive()
    }
}

impl Registration {
    /// Reads and checks a registration file. [`RegistrationFile`] takes the tokens from elsewhere.
    ///
    /// # Errors
    ///
    /// [`RegistrationError`] names the file, the line and the field, and what is expected there.
    /// It never shows a token.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RegistrationError> {
        RegistrationFile::new(path.as_ref()).load()
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
        parse::parse(text, parse::Overrides::default())
    }

    /// Begins a new registration, with new tokens. `id` is unique on the homeserver and never changes;
    /// `sender_localpart` is the localpart of the application service's own user.
    pub fn generate(
        id: impl Into<String>,
        sender_localpart: impl Into<String>,
    ) -> RegistrationBuilder {
        RegistrationBuilder::new(id.into(), sender_localpart.into())
    }

    /// Writes a new file, which only its owner can read (Unix: mode 0600). It is there whole or not at
    /// all, and durable when this returns.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("irc.yaml");
    /// let registration = Registration::generate("irc", "_irc_bot").ghosts("_irc_").build()?;
    /// registration.write_new(&path)?;
    /// assert_eq!(Registration::load(&path)?, registration);
    /// assert!(registration.write_new(&path).is_err(), "there is a file already");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there is a file already, which stays as it is; when it can't be written; when a field was set
    /// to what no registration may hold.
    pub fn write_new(&self, path: impl AsRef<Path>) -> Result<(), RegistrationError> {
        self.write(path.as_ref(), write::file::create)
    }

    /// Writes a file in the place of the one that is there, if any: as [`Registration::write_new`], and
    /// at no moment is there half a file, or none. The new one is for its owner only, whoever could read
    /// the old one. Comments of the old one are lost.
    ///
    /// # Errors
    ///
    /// When it can't be written, and when a field was set to what no registration may hold. The old file
    /// stays as it is then.
    pub fn replace_file(&self, path: impl AsRef<Path>) -> Result<(), RegistrationError> {
        self.write(path.as_ref(), write::file::replace)
    }

    fn write(
        &self,
        path: &Path,
        how: fn(&Path, &str) -> std::io::Result<()>,
    ) -> Result<(), RegistrationError> {
        let registration = self
            .clone()
            .checked()
            .map_err(|error| error.in_file(path))?;
        how(path, &registration.expose_yaml()).map_err(|error| {
            let what = if error.kind() == std::io::ErrorKind::AlreadyExists {
                "the registration isn't written: there is a file already"
            } else {
                "the registration can't be written"
            };
            RegistrationError::io(what, error).in_file(path)
        })
    }

    /// The text of its file, **with both tokens**: to be handed to whoever keeps secrets, and to be
    /// printed nowhere. [`Registration::write_new`] writes it to a file that nobody else can read.
    #[must_use]
    pub fn expose_yaml(&self) -> String {
        write::text(self)
    }

    /// Accepts this `hs_token` as well, while tokens are rotated: the homeserver shows one of the two, and
    /// nobody has to restart both at the same moment. It stands in no file that is written.
    ///
    /// 1. Write the new `hs_token` into the registration, and accept the former one also. Restart the
    ///    application service.
    /// 2. Give the homeserver the new registration. Restart it.
    /// 3. Stop accepting the former one.
    ///
    /// May be called for several. [`Registration::lint`] reminds of it.
    ///
    /// ```
    /// use matrix_appservice::{Registration, registration::Token};
    ///
    /// let mut registration = Registration::generate("irc", "_irc").build()?;
    /// registration.accept_also(Token::parse("the-token-until-yesterday")?)?;
    /// assert!(registration.accepts("the-token-until-yesterday"));
    /// assert!(registration.accepts(registration.hs_token.expose()));
    /// assert!(!registration.accepts(registration.as_token.expose()));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When it is the `as_token`, which the homeserver has no reason to show.
    pub fn accept_also(&mut self, token: Token) -> Result<(), RegistrationError> {
        if token == self.as_token {
            return Err(RegistrationError::new("must differ from as_token").in_field("hs_token"));
        }
        self.accepted_too.push(token);
        Ok(())
    }

    /// Whether the homeserver may show this token: `hs_token`, or one that is accepted also. The time
    /// taken depends on how many these are, and on nothing else.
    #[must_use]
    pub fn accepts(&self, candidate: &str) -> bool {
        self.accepted_too
            .iter()
            .fold(self.hs_token.matches(candidate), |accepted, token| {
                accepted | token.matches(candidate)
            })
    }

    /// Whether the homeserver pushes typing, receipts and presence, by the specification's name of this
    /// field or by the older one.
    #[must_use]
    pub fn wants_ephemeral(&self) -> bool {
        self.receive_ephemeral || self.unstable.msc2409_push_ephemeral == Some(true)
    }

    /// Looks for what is allowed but hardly meant, and explains the namespaces.
    ///
    /// ```
    /// use matrix_appservice::{Registration, registration::Code};
    ///
    /// let registration = Registration::generate("irc", "_irc")
    ///     .namespace(matrix_appservice::registration::NamespaceKind::Rooms, false, "!*")
    ///     .build()?;
    /// let lint = registration.lint();
    /// assert_eq!(lint.findings()[0].code, Code::MatchesEverything);
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    #[must_use]
    pub fn lint(&self) -> Lint<'_> {
        Lint::of(self)
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
