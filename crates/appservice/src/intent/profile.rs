//! What people see of a user.

use std::fmt;

use ruma::{MxcUri, UserId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Intent;
use crate::client::{Call, Error};

const PROFILE: &str = "/_matrix/client/v3/profile/{userId}";
const FIELD: &str = "/_matrix/client/v3/profile/{userId}/{keyName}";

/// A user's profile. `Debug` shows nothing of it.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Profile {
    /// The name that people see.
    pub displayname: Option<String>,
    /// The picture, an `mxc:` URI.
    pub avatar_url: Option<String>,
    /// Further fields, such as `m.tz`.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").finish_non_exhaustive()
    }
}

impl Intent {
    /// The profile of any user; empty when there is none.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#profiles).
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn profile(&self, user: &UserId) -> Result<Profile, Error> {
        match self.call(Call::get(PROFILE, &[user.as_str()])?).await {
            Ok(answer) => answer.read(),
            Err(error) if error.is_not_found() => Ok(Profile::default()),
            Err(error) => Err(error),
        }
    }

    /// Sets the name that people see.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn set_display_name(&self, name: &str) -> Result<(), Error> {
        self.set_profile_field("displayname", &json!(name)).await
    }

    /// Sets the user's picture, which was uploaded before: see [`Intent::upload`].
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn set_avatar_url(&self, avatar: &MxcUri) -> Result<(), Error> {
        self.set_profile_field("avatar_url", &json!(avatar)).await
    }

    /// Sets any field of the profile.
    /// [Specification](https://spec.matrix.org/v1.17/client-server-api/#put_matrixclientv3profileuseridkeyname).
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn set_profile_field(&self, field: &str, value: &Value) -> Result<(), Error> {
        self.ensure_registered().await?;
        let body = Map::from_iter([(field.to_owned(), value.clone())]);
        let call = Call::put(FIELD, &[self.user.as_str(), field])?.json(&body)?;
        self.call(call).await?;
        self.client
            .memory()
            .remember_field(&self.user, field, Some(value));
        Ok(())
    }

    /// Takes a field out of the profile.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn delete_profile_field(&self, field: &str) -> Result<(), Error> {
        let call = Call::delete(FIELD, &[self.user.as_str(), field])?;
        let memory = self.client.memory();
        memory.remember_field(&self.user, field, None);
        self.call(call).await?;
        Ok(())
    }

    /// Sets the name that people see, unless it is that already. Costs nothing while it is remembered.
    /// Returns whether it had to.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn ensure_display_name(&self, name: &str) -> Result<bool, Error> {
        self.ensure_field("displayname", &json!(name)).await
    }

    /// Sets the user's picture, unless it is that already; as [`Intent::ensure_display_name`].
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn ensure_avatar_url(&self, avatar: &MxcUri) -> Result<bool, Error> {
        self.ensure_field("avatar_url", &json!(avatar)).await
    }

    /// A name that is set anew changes the membership in all of the user's rooms, so it is worth a look.
    async fn ensure_field(&self, field: &str, value: &Value) -> Result<bool, Error> {
        if self.client.memory().has_field(&self.user, field, value) {
            return Ok(false);
        }
        self.ensure_registered().await?;
        let call = Call::get(FIELD, &[self.user.as_str(), field])?;
        let current: Map<String, Value> = match self.call(call).await {
            Ok(answer) => answer.read()?,
            Err(error) if error.is_not_found() => Map::new(),
            Err(error) => return Err(error),
        };
        if current.get(field) == Some(value) {
            let memory = self.client.memory();
            memory.remember_field(&self.user, field, Some(value));
            return Ok(false);
        }
        self.set_profile_field(field, value).await?;
        Ok(true)
    }
}
