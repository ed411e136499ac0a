//! A message: `Communication` ⇄ `m.room.message`, each way once, with its edits and until it is taken back; and
//! the resources that it refers to.
//!
//! The two directions run beside each other (a room is one lane, its resource another), so
//! everything about one message is done with its lock held. What the bridge writes itself is known when it
//! comes back: in Matrix by its sender, in the record by its fingerprint.
//!
//! # When both sides change a message at once
//!
//! Only the message of somebody with an account can be changed on both sides: a ghost's is edited in the
//! record alone. The later change wins, by `meta.lastUpdated` and `origin_server_ts`; at the same
//! millisecond the record wins. The loser is logged, without what it said. When the record wins, the bridge
//! says in the room what the record says, because nobody else's event can be edited; when Matrix wins, it
//! takes that notice back.

mod answered;
pub(crate) mod asked;
mod changed;
mod edited;
mod files;
mod locks;
mod proof;
mod read;
mod received;
mod redacted;
mod resource_received;
mod resource_sent;
mod sent;
mod taken_back;

use fhir::{Communication, Edit, PersonKind, Ref, with_event_identifier};
use matrix_appservice::{
    HandlerError, HandlerResult, Intent,
    ruma::{OwnedEventId, RoomId},
};

pub(crate) use locks::Locks;

use crate::{bridge::Bridge, failure};

impl Bridge {
    /// Who sends a message in Matrix: the ghost of its sender, else the bridge itself.
    async fn sending_user(
        &self,
        bot: &Intent,
        sender: Option<&Ref>,
    ) -> Result<Intent, HandlerError> {
        let known = sender
            .and_then(Ref::resource)
            .filter(|one| PersonKind::of(one.resource_type()).is_some());
        let Some(reference) = known else {
            return Ok(bot.clone());
        };
        match self.person(reference).await? {
            Some(person) => self.ensure_ghost(bot, &person).await,
            None => Ok(bot.clone()),
        }
    }

    /// Whether a room is still one of ours: in one that was unlinked, nothing is said or taken back.
    async fn is_linked(&self, room: &RoomId) -> Result<bool, HandlerError> {
        let resource = self.links.resource_of_room(room).await;
        Ok(resource.map_err(failure::links)?.is_some())
    }

    /// Puts the event ids into the record, beside whatever else stands there.
    async fn note_event_ids(
        &self,
        communication: &Communication,
        events: &[OwnedEventId],
    ) -> HandlerResult {
        let mut wrong = None;
        self.fhir
            .modify(&communication.reference, &mut |json| {
                let mut edit = Edit::Unchanged;
                for event in events {
                    match with_event_identifier(json, event.as_str()) {
                        Ok(true) => edit = Edit::Changed,
                        Ok(false) => {}
                        Err(error) => wrong = Some(error),
                    }
                }
                edit
            })
            .await
            .map_err(failure::fhir)?;
        match wrong {
            None => Ok(()),
            Some(error) => Err(HandlerError::never(error.to_string())),
        }
    }
}

/// When a version of a message was stored (ms); 0 when the server doesn't say.
fn stored_at(communication: &Communication) -> i64 {
    communication
        .last_updated
        .as_ref()
        .map_or(0, |at| i64::try_from(at.unix_millis()).unwrap_or(i64::MAX))
}
