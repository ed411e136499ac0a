//! What a bridge that encrypts has to know, as
//! [MSC2409](https://github.com/matrix-org/matrix-spec-proposals/pull/2409),
//! [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202) and
//! [MSC4203](https://github.com/matrix-org/matrix-spec-proposals/pull/4203) push it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ruma::{
    DeviceId, OneTimeKeyAlgorithm, OwnedDeviceId, OwnedUserId, UInt, UserId,
    events::AnyToDeviceEvent, serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A message to one device of one of the application service's users: its head read, the rest left
/// as it came.
#[derive(Clone)]
pub struct ToDevice {
    head: Head,
    json: Box<RawValue>,
}

#[derive(Clone, Deserialize)]
struct Head {
    sender: OwnedUserId,
    to_user_id: OwnedUserId,
    to_device_id: OwnedDeviceId,
    #[serde(rename = "type")]
    kind: String,
}

impl ToDevice {
    /// Reads the head of a message.
    ///
    /// # Errors
    ///
    /// When one of `sender`, `to_user_id`, `to_device_id` and `type` is missing or no such thing. The
    /// error may quote the message: don't log it.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        let json: Box<RawValue> = serde_json::from_slice(json)?;
        if !json.get().starts_with('{') {
            // It would be read like an object with its values in order.
            return Err(serde::de::Error::custom("not an object"));
        }
        Ok(Self {
            head: serde_json::from_str(json.get())?,
            json,
        })
    }

    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> &UserId {
        &self.head.sender
    }

    /// The user it is for.
    #[must_use]
    pub fn to_user_id(&self) -> &UserId {
        &self.head.to_user_id
    }

    /// The device it is for.
    #[must_use]
    pub fn to_device_id(&self) -> &DeviceId {
        &self.head.to_device_id
    }

    /// Its type, such as `m.room.encrypted`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.head.kind
    }

    /// The whole message as JSON, to be read as a type of your choice.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        &self.json
    }

    /// The whole message as one of ruma's types, as `OlmMachine` takes it.
    #[must_use]
    pub fn raw(&self) -> Raw<AnyToDeviceEvent> {
        Raw::from_json(self.json.clone())
    }
}

impl fmt::Debug for ToDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToDevice")
            .field("type", &self.head.kind)
            .finish_non_exhaustive()
    }
}

/// Whose devices changed since the last time, and who no longer shares an encrypted room with the
/// application service's users.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#tracking-the-device-list-for-a-user)
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLists {
    /// Their devices are to be asked for again.
    #[serde(default)]
    pub changed: BTreeSet<OwnedUserId>,
    /// Their devices need no longer be followed.
    #[serde(default)]
    pub left: BTreeSet<OwnedUserId>,
}

impl fmt::Debug for DeviceLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceLists")
            .field("changed", &self.changed.len())
            .field("left", &self.left.len())
            .finish()
    }
}

/// Which keys of one device the homeserver still has to give away.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#one-time-and-fallback-keys)
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCounts {
    /// The user.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// How many one-time keys are left of each algorithm; one that isn't named has none. `None` when
    /// the homeserver said nothing of them.
    pub one_time_keys: Option<BTreeMap<OneTimeKeyAlgorithm, UInt>>,
    /// The algorithms whose fallback key has not been used. `None` when the homeserver said nothing
    /// of them.
    pub unused_fallback_keys: Option<Vec<OneTimeKeyAlgorithm>>,
}

impl KeyCounts {
    pub(crate) fn new(user_id: OwnedUserId, device_id: OwnedDeviceId) -> Self {
        Self {
            user_id,
            device_id,
            one_time_keys: None,
            unused_fallback_keys: None,
        }
    }
}

impl fmt::Debug for KeyCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCounts")
            .field("one_time_keys", &self.one_time_keys)
            .field("unused_fallback_keys", &self.unused_fallback_keys)
            .finish_non_exhaustive()
    }
}
