//! Makes a registration for an application service that has none yet.

use super::{
    Namespace, NamespaceKind, Namespaces, Registration, RegistrationError, Token, UnknownFields,
    Unstable, namespace::NamespaceList, origin::Origin, parse, write,
};

/// Says what a new registration holds; made by [`Registration::generate`].
///
/// ```
/// use matrix_appservice::{Registration, registration::NamespaceKind};
///
/// let registration = Registration::generate("irc", "_irc_bot")
///     .url("http://127.0.0.1:9000")
///     .ghosts("_irc_")
///     .aliases("_irc_")
///     .receive_ephemeral()
///     .rate_limited(false)
///     .protocol("irc")
///     .build()?;
/// assert!(registration.namespaces.users.matches_exclusively("@_irc_alice:example.org"));
/// assert!(registration.lint().findings().is_empty());
/// # Ok::<(), matrix_appservice::RegistrationError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is made before `build`"]
pub struct RegistrationBuilder {
    id: String,
    sender_localpart: String,
    url: Option<String>,
    namespaces: Vec<Wanted>,
    rate_limited: Option<bool>,
    protocols: Vec<String>,
    receive_ephemeral: bool,
    unstable: Unstable,
}

#[derive(Debug, Clone)]
enum Wanted {
    Prefix(NamespaceKind, String),
    Pattern(NamespaceKind, bool, String),
}

impl RegistrationBuilder {
    pub(super) fn new(id: String, sender_localpart: String) -> Self {
        Self {
            id,
            sender_localpart,
            url: None,
            namespaces: Vec::new(),
            rate_limited: None,
            protocols: Vec::new(),
            receive_ephemeral: false,
            unstable: Unstable::default(),
        }
    }

    /// Where the homeserver pushes to, as the homeserver reaches it. Default: `null`, no pushes.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("irc", "_irc").url("https://irc.example.org/matrix").build()?;
    /// assert_eq!(registration.url.as_deref(), Some("https://irc.example.org/matrix"));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Reserves every user whose localpart begins with `prefix`; nobody else can register them.
    /// The prefix is text, no pattern. The specification wants it to begin with `_`. Default: none.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("v2", "_v2").ghosts("_v2.0_").build()?;
    /// let users = &registration.namespaces.users;
    /// assert!(users.matches_exclusively("@_v2.0_alice:example.org"));
    /// assert!(!users.matches("@_v2x0_alice:example.org"), "the dot is a dot");
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn ghosts(mut self, prefix: impl Into<String>) -> Self {
        self.namespaces
            .push(Wanted::Prefix(NamespaceKind::Users, prefix.into()));
        self
    }

    /// Reserves every room alias whose localpart begins with `prefix`. Default: none.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("irc", "_irc").aliases("_irc_").build()?;
    /// assert!(registration.namespaces.aliases.matches_exclusively("#_irc_rust:example.org"));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn aliases(mut self, prefix: impl Into<String>) -> Self {
        self.namespaces
            .push(Wanted::Prefix(NamespaceKind::Aliases, prefix.into()));
        self
    }

    /// Adds a namespace by its regular expression, as it will stand in the file.
    ///
    /// ```
    /// # use matrix_appservice::{Registration, registration::NamespaceKind};
    /// let registration = Registration::generate("archive", "_archive")
    ///     .namespace(NamespaceKind::Rooms, false, "!.*")
    ///     .build()?;
    /// assert!(registration.namespaces.rooms.matches("!any"));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn namespace(
        mut self,
        kind: NamespaceKind,
        exclusive: bool,
        regex: impl Into<String>,
    ) -> Self {
        self.namespaces
            .push(Wanted::Pattern(kind, exclusive, regex.into()));
        self
    }

    /// Asks for typing, receipts and presence, under the specification's name and under the older one
    /// that Synapse needs up to 1.155. Default: neither.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("irc", "_irc").receive_ephemeral().build()?;
    /// assert!(registration.receive_ephemeral);
    /// assert_eq!(registration.unstable.msc2409_push_ephemeral, Some(true));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn receive_ephemeral(mut self) -> Self {
        self.receive_ephemeral = true;
        self.unstable.msc2409_push_ephemeral = Some(true);
        self
    }

    /// Whether the homeserver limits the rate of ghosts' requests. Default: absent, which homeservers
    /// read as `true`.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("irc", "_irc").rate_limited(false).build()?;
    /// assert_eq!(registration.rate_limited, Some(false));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn rate_limited(mut self, limited: bool) -> Self {
        self.rate_limited = Some(limited);
        self
    }

    /// Adds a third-party protocol that the application service answers look-ups for. Default: none.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("irc", "_irc").protocol("irc").build()?;
    /// assert_eq!(registration.protocols, ["irc"]);
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocols.push(protocol.into());
        self
    }

    /// Sets the fields of proposals that homeservers read. It is given what is set so far.
    ///
    /// ```
    /// # use matrix_appservice::Registration;
    /// let registration = Registration::generate("irc", "_irc")
    ///     .unstable(|unstable| {
    ///         unstable.msc3202 = Some(true);
    ///         unstable.msc4190 = Some(true);
    ///     })
    ///     .build()?;
    /// assert_eq!(registration.unstable.msc4190, Some(true));
    /// # Ok::<(), matrix_appservice::RegistrationError>(())
    /// ```
    pub fn unstable(mut self, set: impl FnOnce(&mut Unstable)) -> Self {
        set(&mut self.unstable);
        self
    }

    /// Makes the registration, with two new tokens of 256 bits from the operating system.
    ///
    /// # Errors
    ///
    /// What [`Registration::parse`] would refuse, a prefix that no id can begin with, or an operating
    /// system without randomness.
    pub fn build(self) -> Result<Registration, RegistrationError> {
        let mut namespaces = Namespaces::default();
        for kind in NamespaceKind::ALL {
            let list = self
                .namespaces
                .iter()
                .filter(|wanted| wanted.kind() == kind)
                .map(Wanted::namespace)
                .collect::<Result<NamespaceList, _>>()?;
            *namespaces.list_mut(kind) = list;
        }
        Registration {
            id: self.id,
            url: self.url.map(|url| url.trim_end_matches('/').to_owned()),
            as_token: Token::generate()?,
            hs_token: Token::generate()?,
            sender_localpart: self.sender_localpart,
            namespaces,
            rate_limited: self.rate_limited,
            protocols: self.protocols,
            receive_ephemeral: self.receive_ephemeral,
            unstable: self.unstable,
            unknown: UnknownFields::default(),
            accepted_too: Vec::new(),
            origin: Origin::default(),
        }
        .checked()
    }
}

impl Registration {
    /// The same, after a file of it was read back: fields can be set to what no file may hold.
    pub(super) fn checked(self) -> Result<Self, RegistrationError> {
        let read = parse::parse(&write::text(&self), parse::Overrides::default())
            .map_err(|error| error.in_line(None))?;
        if same_file(&read, &self) {
            Ok(self)
        } else {
            Err(RegistrationError::new(
                "this registration would be another one when it is read again: is a known field \
                 among the unknown ones, or is `url` more than an address?",
            ))
        }
    }
}

/// Whether both say the same in a file, where further tokens don't stand.
fn same_file(read: &Registration, ours: &Registration) -> bool {
    let ours = Registration {
        accepted_too: Vec::new(),
        ..ours.clone()
    };
    *read == ours
}

impl Wanted {
    fn kind(&self) -> NamespaceKind {
        match self {
            Self::Prefix(kind, _) | Self::Pattern(kind, _, _) => *kind,
        }
    }

    fn namespace(&self) -> Result<Namespace, RegistrationError> {
        let field = format!("namespaces.{}", self.kind());
        match self {
            Self::Prefix(_, prefix)
                if prefix.is_empty()
                    || prefix
                        .contains(|c: char| c == ':' || c.is_whitespace() || c.is_control())
                    || prefix.starts_with(['@', '#', '!']) =>
            {
                Err(RegistrationError::new(format!(
                    "can't begin with {prefix:?}: give the first characters of the localpart, \
                     without sigil and server"
                ))
                .in_field(field))
            }
            Self::Prefix(kind, prefix) => {
                let sigil = kind.sigil().map(String::from).unwrap_or_default();
                Namespace::parse(true, &format!("{sigil}{}.*", escape(prefix)))
            }
            Self::Pattern(_, exclusive, regex) => Namespace::parse(*exclusive, regex),
        }
        .map_err(|error| error.in_field(format!("namespaces.{}", self.kind())))
    }
}

/// Text as a pattern that matches nothing else, for Python and for Rust.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_may_not_hold_is_not_made() {
        for (builder, words) in [
            (Registration::generate("a|b", "_a"), "`id` must not contain"),
            (Registration::generate("a", "@a"), "`sender_localpart`"),
            (Registration::generate("a", "a").url("localhost"), "`url`"),
            (
                Registration::generate("a", "a").ghosts(""),
                "`namespaces.users`",
            ),
            (
                Registration::generate("a", "a").ghosts("@_a_"),
                "without sigil",
            ),
            (
                Registration::generate("a", "a").aliases("a:b"),
                "`namespaces.aliases`",
            ),
            (
                Registration::generate("a", "a").namespace(NamespaceKind::Rooms, false, "(?!a)"),
                "`namespaces.rooms`",
            ),
        ] {
            let error = builder.build().unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.line(), None);
        }
    }

    #[test]
    fn a_prefix_is_text_and_no_pattern() {
        let prefix = r"_a.+*?()|[]{}^$\-~&_";
        let registration = Registration::generate("a", "a")
            .ghosts(prefix)
            .build()
            .unwrap();
        let users = &registration.namespaces.users;
        assert!(users.matches(&format!("@{prefix}1:x")));
        assert!(!users.matches("@_aa1:x"));
    }

    #[test]
    fn a_known_field_among_the_unknown_is_not_written() {
        let mut registration = Registration::generate("a", "a").build().unwrap();
        registration.unknown.insert("rate_limited", true);
        assert!(registration.clone().checked().is_err());
        registration.unknown = UnknownFields::default();
        registration.unknown.insert("org.example.mine", true);
        assert!(registration.checked().is_ok());
    }
}
