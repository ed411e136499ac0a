//! Devices of users: what sends and receives encrypted messages.

use http::StatusCode;
use ruma::{DeviceId, OwnedDeviceId};
use serde::Deserialize;
use serde_json::{Map, json};

use super::Intent;
use crate::client::{Call, Error};

const DEVICE: &str = "/_matrix/client/v3/devices/{deviceId}";
const DEVICES: &str = "/_matrix/client/v3/devices";

impl Intent {
    /// Makes sure that this user has a device, without a login. Returns whether it is new. To act with
    /// it, see [`Intent::with_device`].
    /// [Specification](https://spec.matrix.org/v1.17/application-service-api/#device-management).
    ///
    /// # Errors
    ///
    /// `M_NOT_FOUND` from homeservers before v1.17, which don't make devices so; else as any call.
    pub async fn create_device(
        &self,
        device: &DeviceId,
        display_name: Option<&str>,
    ) -> Result<bool, Error> {
        self.ensure_registered().await?;
        let mut body = Map::new();
        if let Some(name) = display_name {
            body.insert("display_name".to_owned(), json!(name));
        }
        let call = Call::put(DEVICE, &[device.as_str()])?.json(&body)?;
        let answer = self.call(call).await?;
        Ok(answer.status == StatusCode::CREATED)
    }

    /// Takes a device away, and what was encrypted for it alone with it.
    ///
    /// # Errors
    ///
    /// A refusal with status 401 from homeservers before v1.17, which ask for a password; else as any
    /// call.
    pub async fn delete_device(&self, device: &DeviceId) -> Result<(), Error> {
        let call = Call::delete(DEVICE, &[device.as_str()])?.json(&json!({}))?;
        match self.call(call).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The devices that this user has.
    ///
    /// # Errors
    ///
    /// As any call.
    pub async fn devices(&self) -> Result<Vec<OwnedDeviceId>, Error> {
        #[derive(Deserialize)]
        struct Devices {
            devices: Vec<Device>,
        }
        #[derive(Deserialize)]
        struct Device {
            device_id: OwnedDeviceId,
        }
        let devices: Devices = self.call(Call::get(DEVICES, &[])?).await?.read()?;
        let ids = devices.devices.into_iter().map(|device| device.device_id);
        Ok(ids.collect())
    }
}
