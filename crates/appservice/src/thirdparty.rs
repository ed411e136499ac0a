//! Third-party networks: what a client asks for when its user looks for somebody on IRC, or for the
//! room that a channel is bridged to.
//!
//! The homeserver asks the application services whose registration names the protocol (under
//! `protocols`), puts their answers together and gives them to the client. Implement [`ThirdParty`]
//! and hand it to [`Builder::third_party`](crate::Builder::third_party).
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#third-party-networks)

use std::{collections::BTreeMap, fmt, future::Future, pin::Pin, sync::Arc};

use ruma::{OwnedRoomAliasId, OwnedUserId, RoomAliasId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::dispatch::HandlerError;

/// Answers questions about third-party networks.
///
/// Called while a homeserver waits, several calls side by side, each with
/// [`Builder::query_timeout`](crate::Builder::query_timeout) to answer; one that takes longer is
/// dropped at its next `await`. Nothing is asked again. An error and a panic are answered with 500;
/// an error's class is logged. What isn't implemented finds nothing. A list that is empty is answered
/// with 404, as the specification has it.
///
/// ```
/// use matrix_appservice::{
///     HandlerError,
///     thirdparty::{Fields, Protocol, ThirdParty, User},
/// };
///
/// struct Irc;
///
/// impl ThirdParty for Irc {
///     async fn protocol(&self, protocol: &str) -> Result<Option<Protocol>, HandlerError> {
///         Ok((protocol == "irc").then(Protocol::default))
///     }
///
///     async fn users(&self, _: &str, fields: &Fields) -> Result<Vec<User>, HandlerError> {
///         let user = fields.get("nickname").and_then(|nickname| {
///             Some(User {
///                 // Nobody has a nickname that makes no user id.
///                 userid: format!("@_irc_{nickname}:example.org").try_into().ok()?,
///                 protocol: "irc".to_owned(),
///                 fields: [("nickname".to_owned(), nickname.into())].into_iter().collect(),
///             })
///         });
///         Ok(user.into_iter().collect())
///     }
/// }
/// ```
pub trait ThirdParty: Send + Sync + 'static {
    /// What there is to know about a protocol; `None` when it isn't ours. Homeservers keep the answer
    /// (Synapse for an hour).
    ///
    /// # Errors
    ///
    /// When it can't be told now.
    fn protocol(
        &self,
        protocol: &str,
    ) -> impl Future<Output = Result<Option<Protocol>, HandlerError>> + Send;

    /// The Matrix users that stand for those users of the network whom `fields` describe.
    ///
    /// # Errors
    ///
    /// When it can't be told now.
    fn users(
        &self,
        protocol: &str,
        fields: &Fields,
    ) -> impl Future<Output = Result<Vec<User>, HandlerError>> + Send {
        let _ = (protocol, fields);
        async { Ok(Vec::new()) }
    }

    /// The rooms that stand for those places on the network that `fields` describe.
    ///
    /// # Errors
    ///
    /// When it can't be told now.
    fn locations(
        &self,
        protocol: &str,
        fields: &Fields,
    ) -> impl Future<Output = Result<Vec<Location>, HandlerError>> + Send {
        let _ = (protocol, fields);
        async { Ok(Vec::new()) }
    }

    /// Whom on the network a Matrix user stands for.
    ///
    /// # Errors
    ///
    /// When it can't be told now.
    fn user(
        &self,
        user_id: &UserId,
    ) -> impl Future<Output = Result<Vec<User>, HandlerError>> + Send {
        let _ = user_id;
        async { Ok(Vec::new()) }
    }

    /// Which places on the network the room with this alias stands for.
    ///
    /// # Errors
    ///
    /// When it can't be told now.
    fn location(
        &self,
        alias: &RoomAliasId,
    ) -> impl Future<Output = Result<Vec<Location>, HandlerError>> + Send {
        let _ = alias;
        async { Ok(Vec::new()) }
    }
}

/// What there is to know about a protocol.
///
/// [Specification](https://spec.matrix.org/v1.17/application-service-api/#get_matrixappv1thirdpartyprotocolprotocol)
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// The fields that tell a user apart, the broadest first: `network`, `nickname`.
    pub user_fields: Vec<String>,
    /// The fields that tell a place apart, the broadest first: `network`, `channel`.
    pub location_fields: Vec<String>,
    /// A picture; an `mxc://` address, or empty.
    pub icon: String,
    /// What each of the fields looks like: an entry for each that is named above.
    pub field_types: BTreeMap<String, FieldType>,
    /// The networks that there are of this protocol.
    pub instances: Vec<ProtocolInstance>,
}

/// What a field looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldType {
    /// A regular expression that the field's values match.
    pub regexp: String,
    /// An example.
    pub placeholder: String,
}

/// One of a protocol's networks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolInstance {
    /// Its name, for people.
    pub desc: String,
    /// A picture, instead of the protocol's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// The fields that are given with this network.
    pub fields: Map<String, Value>,
    /// A name that no other network of the application service has.
    pub network_id: String,
}

/// A Matrix user who stands for somebody on the network.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The Matrix user.
    pub userid: OwnedUserId,
    /// The protocol.
    pub protocol: String,
    /// Who it is on the network.
    pub fields: Map<String, Value>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// A room that stands for a place on the network.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// An alias of the room.
    pub alias: OwnedRoomAliasId,
    /// The protocol.
    pub protocol: String,
    /// Which place it is on the network.
    pub fields: Map<String, Value>,
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Location")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

/// What is looked for: names and values, in the order in which they came. A name may be there more
/// than once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of this name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter()
            .filter_map(move |(key, value)| (key == name).then_some(value))
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, HandlerError>> + Send>>;

/// [`ThirdParty`] as an object.
pub(crate) trait AnyThirdParty: Send + Sync {
    fn protocol(self: Arc<Self>, protocol: String) -> Answer<Option<Protocol>>;
    fn users(self: Arc<Self>, protocol: String, fields: Fields) -> Answer<Vec<User>>;
    fn locations(self: Arc<Self>, protocol: String, fields: Fields) -> Answer<Vec<Location>>;
    fn user(self: Arc<Self>, user_id: OwnedUserId) -> Answer<Vec<User>>;
    fn location(self: Arc<Self>, alias: OwnedRoomAliasId) -> Answer<Vec<Location>>;
}

impl<T: ThirdParty> AnyThirdParty for T {
    fn protocol(self: Arc<Self>, protocol: String) -> Answer<Option<Protocol>> {
        Box::pin(async move { ThirdParty::protocol(&*self, &protocol).await })
    }

    fn users(self: Arc<Self>, protocol: String, fields: Fields) -> Answer<Vec<User>> {
        Box::pin(async move { ThirdParty::users(&*self, &protocol, &fields).await })
    }

    fn locations(self: Arc<Self>, protocol: String, fields: Fields) -> Answer<Vec<Location>> {
        Box::pin(async move { ThirdParty::locations(&*self, &protocol, &fields).await })
    }

    fn user(self: Arc<Self>, user_id: OwnedUserId) -> Answer<Vec<User>> {
        Box::pin(async move { ThirdParty::user(&*self, &user_id).await })
    }

    fn location(self: Arc<Self>, alias: OwnedRoomAliasId) -> Answer<Vec<Location>> {
        Box::pin(async move { ThirdParty::location(&*self, &alias).await })
    }
}
