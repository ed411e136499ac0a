//! What a bridge that encrypts has to know: messages to devices, whose devices changed, which keys
//! are left. Kept in the journal also while nobody asks for it, because it comes only once.

use std::collections::BTreeMap;

use ruma::{OwnedDeviceId, OwnedUserId, UserId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    super::{DEVICE_LISTS, KEY_COUNTS, TO_DEVICE},
    Latest, NewEntry, Split, malformed, name_of,
};
use crate::{
    device::{DeviceLists, KeyCounts, ToDevice},
    journal::intake::Intake,
};

/// Messages to devices, in order for each device.
pub(super) fn messages(txn_id: &str, list: &RawValue, intake: &Intake, split: &mut Split) {
    let Ok(messages) = serde_json::from_str::<Vec<&RawValue>>(list.get()) else {
        let class = "to-device messages that are no list";
        split.waiting.push(malformed(TO_DEVICE, list, class));
        return;
    };
    for (index, json) in messages.into_iter().enumerate() {
        let Ok(message) = ToDevice::parse(json.get().as_bytes()) else {
            let class = "to-device message without sender, receiver or type";
            split.waiting.push(malformed(TO_DEVICE, json, class));
            continue;
        };
        let entry = entry(txn_id, index, &message);
        if intake.handles(TO_DEVICE) {
            split.waiting.push(entry);
        } else {
            split.kept.push(entry);
        }
    }
}

fn entry(txn_id: &str, index: usize, message: &ToDevice) -> NewEntry {
    let user = message.to_user_id().as_str();
    let device = message.to_device_id().as_str();
    let key = match message_id(message.json()) {
        Some(id) => name_of(&["id", message.sender().as_str(), user, device, &id]),
        // A homeserver that repeats a transaction repeats its id and content. The id alone says
        // nothing: homeservers begin again at 1.
        None => name_of(&["content", txn_id, &index.to_string(), message.json().get()]),
    };
    let lane = format!("to-device/{}", name_of(&[user, device]));
    NewEntry::new(
        TO_DEVICE,
        key,
        lane,
        message.json().get().as_bytes().to_vec(),
    )
}

/// The id that clients give their messages to devices.
fn message_id(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "org.matrix.msgid")]
        id: String,
    }
    let message: Message<'_> = serde_json::from_str(json.get()).ok()?;
    let content: Content = serde_json::from_str(message.content.get()).ok()?;
    Some(content.id)
}

/// Whose devices changed: what waits and what came are one.
pub(super) fn lists(json: &RawValue, intake: &Intake, split: &mut Split) {
    #[derive(Deserialize)]
    struct Wire {
        changed: Option<Vec<String>>,
        left: Option<Vec<String>>,
    }
    let Ok(wire) = serde_json::from_str::<Wire>(json.get()) else {
        let class = "device lists that can't be read";
        split.waiting.push(malformed(DEVICE_LISTS, json, class));
        return;
    };
    let users = |ids: Option<Vec<String>>| {
        let ids = ids.into_iter().flatten();
        ids.filter_map(|id| UserId::parse(id).ok()).collect()
    };
    let lists = DeviceLists {
        changed: users(wire.changed),
        left: users(wire.left),
    };
    if lists == DeviceLists::default() {
        return;
    }
    let lane = "device-lists".to_owned();
    let kept = !intake.handles(DEVICE_LISTS);
    split
        .latest
        .extend(latest(DEVICE_LISTS, lane, &lists, kept));
}

/// The keys that are left, for each device.
pub(super) fn keys(
    one_time_keys: Option<&RawValue>,
    fallback_keys: Option<&RawValue>,
    intake: &Intake,
    split: &mut Split,
) {
    let mut all: BTreeMap<(OwnedUserId, OwnedDeviceId), KeyCounts> = BTreeMap::new();
    for (user, device, counts) in by_device(one_time_keys, split) {
        of(&mut all, user, device).one_time_keys = Some(counts);
    }
    for (user, device, types) in by_device(fallback_keys, split) {
        of(&mut all, user, device).unused_fallback_keys = Some(types);
    }
    let kept = !intake.handles(KEY_COUNTS);
    for ((user, device), counts) in all {
        let lane = format!("key-counts/{}", name_of(&[user.as_str(), device.as_str()]));
        split.latest.extend(latest(KEY_COUNTS, lane, &counts, kept));
    }
}

fn of(
    all: &mut BTreeMap<(OwnedUserId, OwnedDeviceId), KeyCounts>,
    user: OwnedUserId,
    device: OwnedDeviceId,
) -> &mut KeyCounts {
    all.entry((user.clone(), device.clone()))
        .or_insert_with(|| KeyCounts::new(user, device))
}

/// What is said of each device; what can't be read is left out, since all of it comes again.
fn by_device<T: DeserializeOwned>(
    json: Option<&RawValue>,
    split: &mut Split,
) -> Vec<(OwnedUserId, OwnedDeviceId, T)> {
    type Level<'a> = BTreeMap<String, &'a RawValue>;
    let Some(json) = json else {
        return Vec::new();
    };
    let Ok(users) = serde_json::from_str::<Level<'_>>(json.get()) else {
        let class = "key counts that can't be read";
        split.waiting.push(malformed(KEY_COUNTS, json, class));
        return Vec::new();
    };
    let mut all = Vec::new();
    for (user, devices) in users {
        let devices: Level<'_> = serde_json::from_str(devices.get()).unwrap_or_default();
        for (device, value) in devices {
            if let (Ok(user), Ok(value)) = (UserId::parse(&user), serde_json::from_str(value.get()))
            {
                all.push((user, device.into(), value));
            }
        }
    }
    all
}

fn latest<T: Join>(source: &'static str, lane: String, value: &T, kept: bool) -> Option<Latest> {
    Some(Latest {
        source,
        slot: lane.clone(),
        lane,
        payload: serde_json::to_vec(value).ok()?,
        merge: Some(merge::<T>),
        kept,
    })
}

/// What can join an older one of its kind.
trait Join: DeserializeOwned + Serialize {
    fn join(&mut self, older: Self);
}

impl Join for DeviceLists {
    fn join(&mut self, older: Self) {
        let (changed, left) = (self.changed.clone(), self.left.clone());
        self.changed.extend(
            older
                .changed
                .into_iter()
                .filter(|user| !left.contains(user)),
        );
        self.left.extend(
            older
                .left
                .into_iter()
                .filter(|user| !changed.contains(user)),
        );
    }
}

impl Join for KeyCounts {
    fn join(&mut self, older: Self) {
        self.one_time_keys = self.one_time_keys.take().or(older.one_time_keys);
        self.unused_fallback_keys = self
            .unused_fallback_keys
            .take()
            .or(older.unused_fallback_keys);
    }
}

fn merge<T: Join>(old: &[u8], new: &[u8]) -> Vec<u8> {
    let joined = || {
        let mut joined: T = serde_json::from_slice(new).ok()?;
        joined.join(serde_json::from_slice(old).ok()?);
        serde_json::to_vec(&joined).ok()
    };
    joined().unwrap_or_else(|| new.to_vec())
}
