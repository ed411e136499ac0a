//! The user itself: its account and its profile.

use ruma::api::client::{
    account::register::{self, LoginType},
    profile::set_profile_field,
};
use ruma::profile::ProfileFieldValue;

use super::Intent;
use crate::client::Error;

impl Intent {
    /// Registers the user when the homeserver doesn't have it yet. Remembered for the life of the
    /// process, so it costs nothing the second time.
    ///
    /// # Errors
    ///
    /// `M_EXCLUSIVE` when the user is outside the registration's namespace; else as any call.
    pub async fn ensure_registered(&self) -> Result<(), Error> {
        if self.client.is_registered(&self.user) {
            return Ok(());
        }
        if self.user.server_name() != self.client.server_name() {
            return Err(Error::Request("this is no user of our homeserver"));
        }
        let mut request = register::v3::Request::new();
        request.username = Some(self.user.localpart().to_owned());
        request.login_type = Some(LoginType::ApplicationService);
        // Without this, homeservers with Matrix Authentication Service refuse, and Synapse even
        // creates the user while it refuses.
        request.inhibit_login = true;
        match self.client.send(self.client.sender(), request).await {
            Ok(_) => {}
            Err(error) if error.is("M_USER_IN_USE") => {}
            Err(error) => return Err(error),
        }
        self.client.remember_registered(&self.user);
        Ok(())
    }

    /// Sets the name that people see.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn set_display_name(&self, name: &str) -> Result<(), Error> {
        self.ensure_registered().await?;
        let request = set_profile_field::v3::Request::new(
            self.user.clone(),
            ProfileFieldValue::DisplayName(name.to_owned()),
        );
        self.client.send(&self.user, request).await?;
        Ok(())
    }
}
