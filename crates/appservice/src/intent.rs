//! Acting on the homeserver as the application service's own user or as one of its ghosts.
//!
//! Every call can be repeated: what is already so is left so. Sends carry a transaction id that is
//! derived from the delivery they belong to, and the same id in the event's content (under
//! [`SOURCE_KEY`]); when a delivery may be a repeat, the room is read back for that id before anything
//! is sent. So a message whose answer was lost is found, not doubled, also when the homeserver has
//! forgotten its transaction ids (Synapse keeps them for half an hour and loses them on a restart).

mod membership;
mod message;
mod room;
mod scope;
mod user;

use ruma::{OwnedUserId, UserId};

pub(crate) use self::scope::Scope;
pub use self::{
    message::{Message, SOURCE_KEY},
    room::{CreateRoom, CreatedRoom, StateEvent},
};
use crate::client::Client;

/// Acts as one user. Get it from a [`Delivery`](crate::Delivery) or from
/// [`AppService::intent`](crate::AppService::intent). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intent {
    client: Client,
    user: OwnedUserId,
    scope: std::sync::Arc<Scope>,
}

impl Intent {
    pub(crate) fn new(client: Client, user: OwnedUserId, scope: std::sync::Arc<Scope>) -> Self {
        Self {
            client,
            user,
            scope,
        }
    }

    /// Whom it acts as.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.user
    }

    /// Whether this is the application service's own user.
    #[must_use]
    pub fn is_sender(&self) -> bool {
        self.user == self.client.sender()
    }

    /// The application service's own user, for the same piece of work.
    #[must_use]
    pub fn sender(&self) -> Self {
        self.as_user(self.client.sender())
    }

    /// Another user of the application service, for the same piece of work.
    #[must_use]
    pub fn as_user(&self, user: &UserId) -> Self {
        Self::new(self.client.clone(), user.to_owned(), self.scope.clone())
    }
}
