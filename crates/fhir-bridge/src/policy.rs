//! Who may take part: the federation policy.
//!
//! In an open federation everybody may but those who are denied; in a closed one nobody may but those who are
//! allowed or on the list. Our own homeserver always may. What is refused is refused in both directions: nobody
//! there is invited, and what they send is not stored.

pub(crate) mod list;
mod refused;
pub(crate) mod source;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use matrix_appservice::ruma::{OwnedServerName, ServerName};

use self::list::FederationList;
use crate::config::{self, Federation};

/// Why somebody may not take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The configuration denies the homeserver.
    Denied,
    /// It is not on the list, and not allowed in the configuration.
    NotListed,
    /// It is not allowed in the configuration, and there has never been a list.
    NoList,
}

impl Refusal {
    /// A word for logs and audit events.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Denied => "homeserver denied",
            Self::NotListed => "homeserver not on the federation list",
            Self::NoList => "homeserver not allowed, and no federation list",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class())
    }
}

/// Decides who may take part.
#[derive(Debug)]
pub(crate) struct Policy {
    own: OwnedServerName,
    closed: bool,
    allow: HashSet<OwnedServerName>,
    deny: HashSet<OwnedServerName>,
    /// The list as it was read last, if it ever was.
    list: RwLock<Option<Arc<FederationList>>>,
}

impl Policy {
    pub(crate) fn new(own: OwnedServerName, config: &config::Policy) -> Self {
        Self {
            own,
            closed: config.federation == Federation::Closed,
            allow: config.allow.iter().cloned().collect(),
            deny: config.deny.iter().cloned().collect(),
            list: RwLock::default(),
        }
    }

    /// Why this homeserver's people may not take part; `None` when they may.
    pub(crate) fn refuses(&self, server: &ServerName) -> Option<Refusal> {
        if *server == *self.own {
            return None;
        }
        if self.deny.contains(server) {
            return Some(Refusal::Denied);
        }
        if !self.closed || self.allow.contains(server) {
            return None;
        }
        match self.list() {
            None => Some(Refusal::NoList),
            Some(list) if list.has(server) => None,
            Some(_) => Some(Refusal::NotListed),
        }
    }

    /// Whether homeservers that nobody has named may not take part.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many homeservers the configuration allows, and how many it denies.
    pub(crate) fn named(&self) -> (usize, usize) {
        (self.allow.len(), self.deny.len())
    }

    /// The list that counts now.
    pub(crate) fn list(&self) -> Option<Arc<FederationList>> {
        self.list
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A list that was read and is good. One that is older than the one that counts is left out: somebody may
    /// have put an old one in its place. Returns whether it counts now.
    pub(crate) fn take(&self, new: FederationList) -> bool {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let older = list
            .as_ref()
            .is_some_and(|old| new.version.is_some() && new.version < old.version);
        if !older {
            *list = Some(Arc::new(new));
        }
        !older
    }
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::server_name;

    use super::*;

    fn policy(yaml: &str) -> Policy {
        let config = serde_yaml::from_str(yaml).unwrap();
        Policy::new(server_name!("own.example").to_owned(), &config)
    }

    fn list(json: &str) -> FederationList {
        FederationList::parse(json.as_bytes(), &[]).unwrap()
    }

    fn refused(policy: &Policy, server: &str) -> Option<Refusal> {
        policy.refuses(&ServerName::parse(server).unwrap())
    }

    #[test]
    fn in_an_open_federation_everybody_may_but_those_who_are_denied() {
        let policy = policy("{deny: [bad.example, own.example]}");
        assert_eq!(refused(&policy, "any.example"), None);
        assert_eq!(refused(&policy, "bad.example"), Some(Refusal::Denied));
        assert_eq!(refused(&policy, "own.example"), None);
        // Another port is another homeserver, as everywhere in Matrix.
        assert_eq!(refused(&policy, "bad.example:8448"), None);
    }

    #[test]
    fn in_a_closed_federation_nobody_may_but_those_who_are_allowed_or_listed() {
        let policy = policy("{federation: closed, allow: [friend.example], deny: [bad.example]}");
        assert_eq!(refused(&policy, "own.example"), None);
        assert_eq!(refused(&policy, "friend.example"), None);
        assert_eq!(refused(&policy, "any.example"), Some(Refusal::NoList));
        assert!(policy.take(list(
            r#"{"version": 2, "domainList": [{"domain": "any.example"}, {"domain": "bad.example"}]}"#
        )));
        assert_eq!(refused(&policy, "any.example"), None);
        assert_eq!(refused(&policy, "bad.example"), Some(Refusal::Denied));
        assert_eq!(refused(&policy, "other.example"), Some(Refusal::NotListed));
        assert_eq!(refused(&policy, "friend.example"), None);
    }

    #[test]
    fn an_older_list_does_not_take_the_place_of_a_newer_one() {
        let policy = policy("{federation: closed}");
        assert!(policy.take(list(r#"{"version": 2, "domainList": []}"#)));
        let old = list(r#"{"version": 1, "domainList": [{"domain": "gone.example"}]}"#);
        assert!(!policy.take(old));
        assert_eq!(refused(&policy, "gone.example"), Some(Refusal::NotListed));
        // The same again, or one that doesn't say.
        assert!(policy.take(list(r#"{"version": 2, "domainList": []}"#)));
        assert!(policy.take(list(r#"["any.example"]"#)));
        assert_eq!(refused(&policy, "any.example"), None);
    }
}
