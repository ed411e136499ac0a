//! What passes: who types, who has read what, who is there.
//!
//! [Specification](https://spec.matrix.org/v1.17/application-service-api/#pushing-ephemeral-data)

use std::{collections::BTreeMap, fmt};

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, UInt, UserId,
    events::receipt::{ReceiptThread, ReceiptType},
    presence::PresenceState,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Who types in a room: all of them, so that an empty list says that nobody does any more.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#mtyping)
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typing {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who types in it now, our own ghosts too.
    pub user_ids: Vec<OwnedUserId>,
}

impl Typing {
    pub(crate) fn from_wire(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            room_id: OwnedRoomId,
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            user_ids: Vec<OwnedUserId>,
        }
        let wire: Wire = serde_json::from_str(json).ok()?;
        Some(Self {
            room_id: wire.room_id,
            user_ids: wire.content.user_ids,
        })
    }
}

impl fmt::Debug for Typing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typing")
            .field("room_id", &self.room_id)
            .field("users", &self.user_ids.len())
            .finish_non_exhaustive()
    }
}

/// How far one user has read in a room or a thread.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#mreceipt)
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The room.
    pub room_id: OwnedRoomId,
    /// The event up to which it was read.
    pub event_id: OwnedEventId,
    /// Who has read, maybe one of our own ghosts.
    pub user_id: OwnedUserId,
    /// What kind of receipt it is, as a rule `m.read`. Private ones come for own users only.
    pub kind: ReceiptType,
    /// The thread it is for. Synapse leaves it out, so `Unthreaded` may be any.
    #[serde(default, skip_serializing_if = "ruma::serde::is_default")]
    pub thread: ReceiptThread,
    /// When it was read, where the homeserver says so.
    pub ts: Option<MilliSecondsSinceUnixEpoch>,
}

impl Receipt {
    /// The receipts of one `m.receipt`, oldest first. Those that can't be read are left out.
    pub(crate) fn from_wire(json: &str) -> Vec<Self> {
        /// Each level is read by itself, so that an odd part costs only what is in it.
        type Level<'a> = BTreeMap<String, &'a RawValue>;
        #[derive(Deserialize)]
        struct Wire<'a> {
            room_id: OwnedRoomId,
            #[serde(borrow)]
            content: Level<'a>,
        }
        #[derive(Deserialize)]
        struct Data {
            ts: Option<MilliSecondsSinceUnixEpoch>,
            thread_id: Option<ReceiptThread>,
        }
        fn level(json: &RawValue) -> Level<'_> {
            serde_json::from_str(json.get()).unwrap_or_default()
        }

        let Ok(Wire { room_id, content }) = serde_json::from_str(json) else {
            return Vec::new();
        };
        let mut receipts = Vec::new();
        for (event_id, kinds) in content {
            for (kind, readers) in level(kinds) {
                for (user_id, data) in level(readers) {
                    let ids = EventId::parse(&event_id)
                        .ok()
                        .zip(UserId::parse(user_id).ok());
                    let data = serde_json::from_str::<Data>(data.get()).ok();
                    if let Some(((event_id, user_id), data)) = ids.zip(data) {
                        receipts.push(Self {
                            room_id: room_id.clone(),
                            event_id,
                            user_id,
                            kind: kind.as_str().into(),
                            thread: data.thread_id.unwrap_or_default(),
                            ts: data.ts,
                        });
                    }
                }
            }
        }
        receipts.sort_by_key(|receipt| receipt.ts);
        receipts
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("room_id", &self.room_id)
            .field("event_id", &self.event_id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Whether a user is there.
///
/// [Specification](https://spec.matrix.org/v1.17/client-server-api/#mpresence)
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Who, maybe one of our own ghosts.
    pub user_id: OwnedUserId,
    /// There, away or gone.
    pub presence: PresenceState,
    /// What the user says about it.
    pub status_msg: Option<String>,
    /// How long ago the user last did something, in ms, counted from when the homeserver sent this.
    pub last_active_ago: Option<UInt>,
    /// Whether the user does something now.
    pub currently_active: Option<bool>,
}

impl Presence {
    pub(crate) fn from_wire(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            // Synapse has it here, older homeservers in the content.
            sender: Option<OwnedUserId>,
            content: Content,
        }
        #[derive(Deserialize)]
        struct Content {
            user_id: Option<OwnedUserId>,
            presence: PresenceState,
            status_msg: Option<String>,
            last_active_ago: Option<UInt>,
            currently_active: Option<bool>,
        }
        let Wire { sender, content } = serde_json::from_str(json).ok()?;
        Some(Self {
            user_id: sender.or(content.user_id)?,
            presence: content.presence,
            status_msg: content.status_msg,
            last_active_ago: content.last_active_ago,
            currently_active: content.currently_active,
        })
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("presence", &self.presence)
            .finish_non_exhaustive()
    }
}
