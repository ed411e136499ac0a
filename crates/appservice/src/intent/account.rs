//! The user's account.

use ruma::{OwnedDeviceId, OwnedUserId};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::Intent;
use crate::client::{Call, Error};

const REGISTER: &str = "/_matrix/client/v3/register";
const LOGIN: &str = "/_matrix/client/v3/login";
const WHOAMI: &str = "/_matrix/client/v3/account/whoami";
const DEACTIVATE: &str = "/_matrix/client/v3/account/deactivate";

/// What the homeserver takes a call's maker for. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct WhoAmI {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device, where [`Intent::with_device`] named one.
    pub device_id: Option<OwnedDeviceId>,
}

impl std::fmt::Debug for WhoAmI {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WhoAmI").finish_non_exhaustive()
    }
}

/// A session of a ghost, for a client that can't masquerade. `Debug` shows nothing of it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Login {
    /// The token that the client shows. Keep it as one keeps a password.
    pub access_token: SecretString,
    /// The device that the session is.
    pub device_id: OwnedDeviceId,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl Intent {
    /// Registers the user when the homeserver doesn't have it yet. Remembered for the life of the
    /// process, so it costs nothing the second time.
    /// [Specification](https://spec.matrix.org/v1.17/application-service-api/#server-admin-style-permissions).
    ///
    /// # Errors
    ///
    /// `M_EXCLUSIVE` when the user is outside the registration's namespace; else as any call.
    pub async fn ensure_registered(&self) -> Result<(), Error> {
        if self.client.memory().is_registered(&self.user) {
            return Ok(());
        }
        if self.user.server_name() != self.client.server_name() {
            return Err(Error::Request("this is no user of our homeserver"));
        }
        let call = Call::post(REGISTER, &[])?.json(&json!({
            "type": "m.login.application_service",
            "username": self.user.localpart(),
            // Without this, homeservers with Matrix Authentication Service refuse, and Synapse even
            // creates the user while it refuses.
            "inhibit_login": true,
        }))?;
        match self.sender().call(call.repeatable()).await {
            Ok(_) => {}
            Err(error) if error.is("M_USER_IN_USE") => {}
            Err(error) => return Err(error),
        }
        self.client.memory().remember_registered(&self.user);
        Ok(())
    }

    /// Who the homeserver says that this is: finds out whether the `as_token` is right, and
    /// the homeserver's name that of the configuration.
    ///
    /// # Errors
    ///
    /// `M_UNKNOWN_TOKEN` when the homeserver doesn't know the registration; else as any call.
    pub async fn who_am_i(&self) -> Result<WhoAmI, Error> {
        self.call(Call::get(WHOAMI, &[])?).await?.read()
    }

    /// Logs the user in: gives it a session of its own with this device, which may be there already. An
    /// application service rarely needs one: it may act as any of its users without.
    /// [Specification](https://spec.matrix.org/v1.17/application-service-api/#server-admin-style-permissions).
    ///
    /// # Errors
    ///
    /// [`Error::LoginUnsupported`] where the homeserver uses the OAuth 2.0 API (Matrix Authentication
    /// Service): create a device with [`Intent::create_device`] and name it in
    /// [`Intent::with_device`] instead. Else as any call.
    pub async fn log_in(&self, device: &ruma::DeviceId) -> Result<Login, Error> {
        #[derive(Deserialize)]
        struct Session {
            access_token: String,
            device_id: OwnedDeviceId,
        }
        self.ensure_registered().await?;
        let call = Call::post(LOGIN, &[])?.json(&json!({
            "type": "m.login.application_service",
            "identifier": {"type": "m.id.user", "user": self.user},
            "device_id": device,
        }))?;
        match self.sender().call(call).await {
            Ok(answer) => {
                let session: Session = answer.read()?;
                Ok(Login {
                    access_token: session.access_token.into(),
                    device_id: session.device_id,
                })
            }
            Err(error)
                if error
                    .errcode()
                    .is_some_and(|code| code.ends_with("M_APPSERVICE_LOGIN_UNSUPPORTED")) =>
            {
                Err(Error::LoginUnsupported)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the user's account for good: it leaves all rooms and can't be registered again. `erase`
    /// asks the homeserver to hide its messages from people who come later.
    ///
    /// The specification asks for a password here; Synapse lets an application service do without. For
    /// others, leave the rooms.
    ///
    /// # Errors
    ///
    /// A refusal with status 401 where a password is asked for; else as any call.
    pub async fn deactivate(&self, erase: bool) -> Result<(), Error> {
        let call = Call::post(DEACTIVATE, &[])?.json(&json!({"erase": erase}))?;
        self.call(call.repeatable()).await?;
        self.client.memory().forget_user(&self.user);
        Ok(())
    }
}
