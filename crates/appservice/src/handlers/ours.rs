//! Who is one of ours.

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};

use crate::registration::{NamespaceList, Registration};

/// The application service's own user and its exclusive ghosts, of its own homeserver only: another
/// organisation's bridge may well give its ghosts names that look the same.
#[derive(Clone)]
pub(crate) struct OurUsers {
    sender: Option<OwnedUserId>,
    namespaces: NamespaceList,
    server_name: OwnedServerName,
}

impl OurUsers {
    pub(crate) fn new(registration: &Registration, server_name: &ServerName) -> Self {
        Self {
            sender: registration.sender(server_name).ok(),
            namespaces: registration.namespaces.users.clone(),
            server_name: server_name.to_owned(),
        }
    }

    pub(crate) fn contain(&self, user: &UserId) -> bool {
        self.sender.as_deref() == Some(user)
            || (user.server_name() == self.server_name
                && self.namespaces.matches_exclusively(user.as_str()))
    }
}
