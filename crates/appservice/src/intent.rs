//! Acting on the homeserver as the application service's own user or as one of its ghosts.
//!
//! Every call can be repeated: what is already so is left so. Sends carry a transaction id that is
//! derived from the delivery they belong to, and the same id in the event's content (under
//! [`SOURCE_KEY`]); when a delivery may be a repeat, the room is read back for that id before anything
//! is sent. So a message whose answer was lost is found, not doubled, also when the homeserver has
//! forgotten its transaction ids (Synapse keeps them for half an hour and loses them on a restart).

mod account;
mod alias;
mod device;
mod directory;
mod event;
mod fetch;
mod media;
mod membership;
mod message;
mod power_levels;
mod presence;
mod profile;
mod receipt;
mod redaction;
mod relation;
mod room;
mod scope;
mod send;
mod space;
mod state;
mod typing;
mod upgrade;

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

pub(crate) use self::scope::{Before, Scope};
pub use self::{
    account::{Login, WhoAmI},
    event::NewEvent,
    fetch::History,
    media::{Download, Media, Thumbnail},
    membership::{Invite, InviteOutcome, JoinedMember},
    message::Message,
    profile::Profile,
    receipt::ReadMarkers,
    room::{CreateRoom, CreatedRoom},
    send::SOURCE_KEY,
    space::SpaceChild,
    state::StateEvent,
};
use crate::client::{Acting, Answer, Answering, Call, Client, Error};

/// Acts as one user. Get it from a [`Delivery`](crate::Delivery) or from
/// [`AppService::intent`](crate::AppService::intent). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intent {
    client: Client,
    user: OwnedUserId,
    device: Option<OwnedDeviceId>,
    scope: std::sync::Arc<Scope>,
}

impl Intent {
    pub(crate) fn new(client: Client, user: OwnedUserId, scope: std::sync::Arc<Scope>) -> Self {
        Self {
            client,
            user,
            device: None,
            scope,
        }
    }

    /// Acts with this device of the user's, which has to be there (see
    /// [`Intent::create_device`]). With a device, Synapse keeps the transaction ids of messages over a
    /// restart.
    /// [Specification](https://spec.matrix.org/v1.17/application-service-api/#identity-assertion).
    #[must_use]
    pub fn with_device(mut self, device: &DeviceId) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// Makes a call as this user.
    pub(crate) async fn call(&self, call: Call) -> Result<Answer, Error> {
        let acting = Acting {
            user: &self.user,
            device: self.device.as_deref(),
        };
        let answer = self.client.execute(acting, call).await;
        self.learn(&answer);
        answer
    }

    /// As [`Intent::call`], up to the answer's head.
    pub(crate) async fn begin(&self, call: Call) -> Result<Answering, Error> {
        let acting = Acting {
            user: &self.user,
            device: self.device.as_deref(),
        };
        let answering = self.client.begin(acting, call).await;
        self.learn(&answering);
        answering
    }

    /// A user that the homeserver doesn't have is refused everything: the next `ensure_registered` has
    /// to look.
    fn learn<T>(&self, answer: &Result<T, Error>) {
        if let Err(error) = answer
            && error.is_forbidden()
        {
            self.client.memory().forget_user(&self.user);
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
