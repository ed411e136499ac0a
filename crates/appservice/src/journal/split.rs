//! From a transaction's body to entries: one for each event, each ephemeral event that somebody
//! listens to, each message to a device, and what a bridge that encrypts has to know.
//!
//! What is in it is cut out as it stands and looked at just enough to give each part a key and a
//! lane: what a handler doesn't ask for is never parsed, and one odd part can't spoil the others.

mod devices;
mod ephemeral;
mod events;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Latest, NewEntry, intake::Intake};

/// The keys that are looked at, by their stable names and those of the proposals that homeservers
/// implement: [MSC2409](https://github.com/matrix-org/matrix-spec-proposals/pull/2409) and
/// [MSC3202](https://github.com/matrix-org/matrix-spec-proposals/pull/3202). Synapse sends some under
/// two names with the same value, so that one of them is read, never both.
#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    #[serde(borrow)]
    ephemeral: Option<&'a RawValue>,
    #[serde(borrow, rename = "de.sorunome.msc2409.ephemeral")]
    old_ephemeral: Option<&'a RawValue>,
    #[serde(borrow)]
    to_device: Option<&'a RawValue>,
    #[serde(borrow, rename = "de.sorunome.msc2409.to_device")]
    old_to_device: Option<&'a RawValue>,
    #[serde(borrow)]
    device_lists: Option<&'a RawValue>,
    #[serde(borrow, rename = "org.matrix.msc3202.device_lists")]
    old_device_lists: Option<&'a RawValue>,
    #[serde(borrow)]
    device_one_time_keys_count: Option<&'a RawValue>,
    #[serde(borrow, rename = "org.matrix.msc3202.device_one_time_keys_count")]
    old_one_time_keys: Option<&'a RawValue>,
    #[serde(borrow, rename = "org.matrix.msc3202.device_one_time_key_counts")]
    misspelt_one_time_keys: Option<&'a RawValue>,
    #[serde(borrow)]
    device_unused_fallback_key_types: Option<&'a RawValue>,
    #[serde(borrow, rename = "org.matrix.msc3202.device_unused_fallback_key_types")]
    old_fallback_keys: Option<&'a RawValue>,
}

/// What a homeserver's body is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadBody {
    NotJson,
    NoEvents,
}

fn parse(body: &[u8]) -> Result<Transaction<'_>, BadBody> {
    match serde_json::from_slice(body) {
        // A list is read like an object with its values in order; no homeserver means that.
        Ok(transaction) if starts_as_object(body) => Ok(transaction),
        Ok(_) => Err(BadBody::NoEvents),
        Err(error) if error.is_data() => Err(BadBody::NoEvents),
        Err(_) => Err(BadBody::NotJson),
    }
}

fn starts_as_object(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"{")
}

/// A transaction, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Split {
    /// To be handled.
    pub(crate) waiting: Vec<NewEntry>,
    /// To be kept until a handler asks for it.
    pub(crate) kept: Vec<NewEntry>,
    /// Of which the latest counts.
    pub(crate) latest: Vec<Latest>,
    /// Events of rooms that aren't wanted.
    pub(crate) unwanted: usize,
}

impl Split {
    /// How much memory it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let entries = self.waiting.iter().chain(&self.kept);
        let entries: usize = entries.map(|entry| entry.payload.len() + 256).sum();
        let latest = self.latest.iter().map(|latest| latest.payload.len() + 256);
        entries + latest.sum::<usize>()
    }
}

/// Takes apart a transaction's body.
pub(crate) fn split(txn_id: &str, body: &[u8], intake: &Intake) -> Result<Split, BadBody> {
    let mut split = Split::default();
    let transaction = parse(body)?;
    events::split(&transaction.events, intake, &mut split);
    if let Some(list) = transaction.ephemeral.or(transaction.old_ephemeral) {
        ephemeral::split(list, intake, &mut split);
    }
    if let Some(list) = transaction.to_device.or(transaction.old_to_device) {
        devices::messages(txn_id, list, intake, &mut split);
    }
    if let Some(lists) = transaction.device_lists.or(transaction.old_device_lists) {
        devices::lists(lists, intake, &mut split);
    }
    let one_time_keys = transaction
        .device_one_time_keys_count
        .or(transaction.old_one_time_keys)
        .or(transaction.misspelt_one_time_keys);
    let fallback_keys = transaction
        .device_unused_fallback_key_types
        .or(transaction.old_fallback_keys);
    devices::keys(one_time_keys, fallback_keys, intake, &mut split);
    Ok(split)
}

/// What can't be read is a dead letter; pushed again, it is still one.
fn malformed(source: &'static str, json: &RawValue, class: &'static str) -> NewEntry {
    let payload = json.get().as_bytes();
    NewEntry {
        source,
        key: Some(format!("sha256:{:x}", Sha256::digest(payload))),
        lane: "malformed".into(),
        payload: payload.into(),
        dead: Some(class),
    }
}

/// Names a thing by what tells it apart, without showing it: lanes and keys are in logs, and user ids
/// may tell who somebody is.
fn name_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut name = format!("{:x}", hash.finalize());
    name.truncate(32);
    name
}

#[cfg(test)]
mod tests;
