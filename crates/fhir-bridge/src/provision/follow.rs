//! What follows from a link that was made or undone: an entry in the journal, in the resource's lane.

use std::sync::Arc;

use fhir::{ResourceRef, ResourceType};
use matrix_appservice::{
    Delivery, HandlerError, HandlerResult, Intent, NewEntry,
    ruma::{OwnedUserId, RoomId},
};
use serde::{Deserialize, Serialize};

use super::Link;
use crate::{
    bridge::Bridge,
    failure,
    links::{linked::Leaving, now_ms},
    mapping::{
        audit_event::{Deed, Record},
        room_state::RoomState,
    },
};

/// The journal's source of what follows.
pub(crate) const PROVISION: &str = "provision";

const PARENT: &str = "m.space.parent";

/// What is to be done.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    /// To bring a resource's room in line, and to carry over what is in the record.
    Linked { resource: String },
    /// To leave a room.
    Left {
        resource: String,
        room: String,
        keep: bool,
        at: i64,
    },
}

impl Step {
    fn leaving(&self) -> Option<Leaving> {
        let Self::Left {
            resource,
            room,
            keep,
            at,
        } = self
        else {
            return None;
        };
        Some(Leaving {
            room: RoomId::parse(room.as_str()).ok()?,
            resource: ResourceRef::parse(resource)?,
            keep: *keep,
            at: *at,
        })
    }
}

impl Bridge {
    fn step(&self, key: String, resource: &ResourceRef, step: &Step) -> NewEntry {
        NewEntry::new(
            self.provisions,
            key,
            self.lane(&resource.to_string()),
            // A value of this type is always JSON.
            serde_json::to_vec(step).unwrap_or_default(),
        )
    }

    /// Has a room brought in line that was linked; again when it is asked for again.
    pub(super) async fn follow_link(&self, link: &Link) -> HandlerResult {
        let step = Step::Linked {
            resource: link.resource.to_string(),
        };
        let key = format!("linked/{}/{}", link.room, now_ms());
        let entry = self.step(key, &link.resource, &step);
        self.journal.append(&[entry], None).await?;
        Ok(())
    }

    /// Has all rooms left that are still to be left; also those that an earlier process did not come to.
    pub(crate) async fn follow_leaving(&self) -> HandlerResult {
        let mut entries = Vec::new();
        for leaving in self.links.leaving().await.map_err(failure::links)? {
            let step = Step::Left {
                resource: leaving.resource.to_string(),
                room: leaving.room.to_string(),
                keep: leaving.keep,
                at: leaving.at,
            };
            let key = format!("left/{}/{}", leaving.room, leaving.at);
            entries.push(self.step(key, &leaving.resource, &step));
        }
        if !entries.is_empty() {
            self.journal.append(&entries, None).await?;
        }
        Ok(())
    }

    /// Does what follows.
    pub(crate) async fn provisioned(self: Arc<Self>, delivery: Delivery) -> HandlerResult {
        let unreadable = || HandlerError::never("entry that this version can't read");
        let step: Step =
            serde_json::from_slice(&delivery.entry().payload).map_err(|_| unreadable())?;
        match &step {
            Step::Linked { resource } => {
                let resource = ResourceRef::parse(resource).ok_or_else(unreadable)?;
                self.bring_in_line(&delivery, &resource).await
            }
            Step::Left { .. } => {
                let leaving = step.leaving().ok_or_else(unreadable)?;
                self.leave_room(&delivery, &leaving).await?;
                self.links.has_left(&leaving).await.map_err(failure::links)
            }
        }
    }

    async fn bring_in_line(&self, delivery: &Delivery, resource: &ResourceRef) -> HandlerResult {
        let source = self.server.threads.source(resource);
        let raw = self.fhir.read(&source).await.map_err(failure::fhir)?;
        let json = raw.as_ref().map(|raw| &raw.json);
        if *resource.resource_type() == ResourceType::CareTeam {
            return self.care_team_is(delivery, resource, json).await;
        }
        self.thread_is(delivery, resource, json).await?;
        self.fetch_messages(delivery, resource, true).await
    }

    /// Leaves a room with all ghosts, unless they are to stay or it is linked again.
    async fn leave_room(&self, delivery: &Delivery, leaving: &Leaving) -> HandlerResult {
        let (room, resource) = (&*leaving.room, &leaving.resource);
        let linked = self.links.resource_of_room(room).await;
        if linked.map_err(failure::links)?.is_some() {
            return Ok(());
        }
        let bot = delivery.bot();
        let state = match bot.all_state(room).await {
            Ok(events) => RoomState::read(events),
            // The bridge was thrown out: nothing is left to be done.
            Err(error) if error.is_forbidden() || error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if state.membership(&self.sender) != Some("join") {
            // So it was when the bridge left.
            return Ok(());
        }
        self.take_out(&bot, leaving, &state).await?;
        if !leaving.keep {
            let ghosts: Vec<OwnedUserId> = state
                .members()
                .filter(|(user, membership)| {
                    matches!(*membership, "join" | "invite") && self.is_ghost(user)
                })
                .map(|(user, _)| user)
                .collect();
            for ghost in ghosts {
                bot.as_user(&ghost).leave(room, None).await?;
            }
            bot.leave(room, None).await?;
            let record = Record::new(Deed::Removed).resource(resource).room(room);
            self.note(delivery, record).await?;
            tracing::info!(%resource, %room, "a room that is linked no more was left");
        }
        // Conversations hang in no space that is none of ours.
        self.pass_on(delivery, resource).await
    }

    /// Takes a room out of our spaces, and the resource's name off a room that we made.
    async fn take_out(&self, bot: &Intent, leaving: &Leaving, state: &RoomState) -> HandlerResult {
        let room = &*leaving.room;
        for space in state.relations(PARENT) {
            let Ok(space) = RoomId::parse(space) else {
                continue;
            };
            let ours = self.links.resource_of_room(&space).await;
            if ours.map_err(failure::links)?.is_some() {
                as_far_as_allowed(bot.remove_space_child(&space, room).await)?;
                as_far_as_allowed(bot.remove_space_parent(room, &space).await)?;
            }
        }
        if state.creator() == Some(&*self.sender) {
            let alias = self.full_alias(&leaving.resource)?;
            if bot.resolve_alias(&alias).await?.as_deref() == Some(room) {
                as_far_as_allowed(bot.delete_alias(&alias).await)?;
            }
            as_far_as_allowed(bot.set_canonical_alias(room, None, &[]).await)?;
        }
        Ok(())
    }
}

/// What is forbidden in a room that we leave is left.
fn as_far_as_allowed<T>(done: Result<T, matrix_appservice::Error>) -> HandlerResult {
    match done {
        Err(error) if !error.is_forbidden() => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_left_is_read_as_it_was_written() {
        let step = Step::Left {
            resource: "CareTeam/1".to_owned(),
            room: "!r:x".to_owned(),
            keep: true,
            at: 7,
        };
        let read: Step = serde_json::from_slice(&serde_json::to_vec(&step).unwrap()).unwrap();
        assert_eq!(read, step);
        let leaving = read.leaving().unwrap();
        assert_eq!((leaving.room.as_str(), leaving.at), ("!r:x", 7));
    }
}
