//! Who has read what: `Task` ⇄ receipt.
//!
//! Each reader of a message has a `Task` (see `asked`), `requested` until it is read. A receipt means "up to here": it
//! completes all tasks of its user up to that event.

use std::time::Duration;

use fhir::{Edit, Ref, ResourceRef, ResourceType, Task, TaskStatus};
use matrix_appservice::{
    Delivery, HandlerError, HandlerResult, Receipt,
    ruma::{RoomId, events::receipt::ReceiptType},
};
use serde_json::{Value, json};

use crate::{bridge::Bridge, failure, links::State};

/// How long an event may take to be linked after somebody has read it.
const LINKED_SOON: Duration = Duration::from_secs(10);
const LINKED_PAUSE: Duration = Duration::from_millis(700);

impl Bridge {
    /// Somebody has read a room up to an event.
    pub(crate) async fn receipt_came(
        &self,
        delivery: &Delivery,
        receipt: &Receipt,
    ) -> HandlerResult {
        if !self.settings.tasks
            || receipt.kind != ReceiptType::Read
            || self.is_ours(&receipt.user_id)
        {
            return Ok(());
        }
        let bot = delivery.bot();
        let room = &receipt.room_id;
        let resource = self.resource_of_room(&bot, room).await?;
        let Some(resource) = resource.filter(|one| self.server.threads.is_of(one)) else {
            return Ok(());
        };
        let Some(place) = self.place(delivery, receipt).await? else {
            return Ok(());
        };
        self.links
            .has_read(room, &receipt.user_id, place)
            .await
            .map_err(failure::links)?;
        let Some(reader) = self
            .person_in(&bot, &resource, room, &receipt.user_id)
            .await?
        else {
            return Ok(());
        };
        self.complete_up_to(room, &reader, place).await
    }

    /// The place among a room's messages that a receipt is for.
    async fn place(
        &self,
        delivery: &Delivery,
        receipt: &Receipt,
    ) -> Result<Option<i64>, HandlerError> {
        let room = &receipt.room_id;
        let place = self.links.place_of(room, &receipt.event_id).await;
        if let Some(place) = place.map_err(failure::links)? {
            return Ok(Some(place));
        }
        if delivery.age() < LINKED_SOON {
            return Err(HandlerError::after(
                "receipt for an event that is not known yet",
                LINKED_PAUSE,
            ));
        }
        // Nothing that people say, or from before the bridge: what was there before it has been read.
        let Some(event) = delivery.bot().event(room, &receipt.event_id).await? else {
            return Ok(None);
        };
        let Some(at) = event["origin_server_ts"].as_i64() else {
            return Ok(None);
        };
        self.links.place_at(room, at).await.map_err(failure::links)
    }

    async fn complete_up_to(
        &self,
        room: &RoomId,
        reader: &ResourceRef,
        place: i64,
    ) -> HandlerResult {
        let open = self.links.open_tasks(room, reader, place).await;
        for task in open.map_err(failure::links)? {
            self.complete(&task).await?;
        }
        Ok(())
    }

    pub(super) async fn complete(&self, task: &ResourceRef) -> HandlerResult {
        self.fhir
            .modify(task, &mut |json| {
                let Some(object) = json.as_object_mut() else {
                    return Edit::Unchanged;
                };
                let is_open = ["requested", "received", "accepted", "ready", "in-progress"]
                    .iter()
                    .any(|open| object.get("status") == Some(&json!(open)));
                if !is_open {
                    return Edit::Unchanged;
                }
                object.insert("status".to_owned(), json!("completed"));
                Edit::Changed
            })
            .await
            .map_err(failure::fhir)?;
        self.links
            .complete_task(task)
            .await
            .map_err(failure::links)?;
        tracing::info!(%task, "a reader has read a message");
        Ok(())
    }

    /// A `Task` was created or changed: when it is completed in the record, its reader has read the
    /// message, and the ghost says so in the room.
    pub(crate) async fn task_changed(&self, delivery: &Delivery, json: &Value) -> HandlerResult {
        let task =
            Task::from_json(json, self.fhir.base()).map_err(|odd| HandlerError::never(odd.what))?;
        let message =
            (task.focus.as_ref()).and_then(|focus| focus.resource_of(&ResourceType::Communication));
        let owner = task.owner.as_ref().and_then(Ref::resource);
        let (TaskStatus::Completed, Some(message), Some(owner)) = (task.status, message, owner)
        else {
            return Ok(());
        };
        if !self.settings.tasks || fhir::PersonKind::of(owner.resource_type()).is_none() {
            return Ok(());
        }
        let done = self.links.is_completed(&task.reference).await;
        if done.map_err(failure::links)? {
            return Ok(());
        }
        let known = self.links.message(message).await.map_err(failure::links)?;
        let Some(known) = known.filter(|known| known.state == State::Live) else {
            return Ok(());
        };
        if !self.is_linked(&known.room).await? {
            return Ok(());
        }
        let Some(person) = self.person(owner).await? else {
            return Ok(());
        };
        let roster = self.roster(vec![owner.clone().into()], None).await?;
        let has_account = roster.members.iter().any(|member| !member.ghost);
        if !has_account
            && let Some(event) = self
                .links
                .last_event(message)
                .await
                .map_err(failure::links)?
        {
            let ghost = self.ensure_ghost(&delivery.bot(), &person).await?;
            let is_news = self
                .links
                .has_read(&known.room, ghost.user_id(), known.seq)
                .await;
            if (is_news.map_err(failure::links)? || delivery.may_be_repeat())
                && known.sender != ghost.user_id()
            {
                ghost.ensure_joined(&known.room).await?;
                ghost.send_read_receipt(&known.room, &event).await?;
                tracing::info!(task = %task.reference, "a receipt says that a message was read in the record");
            }
        }
        self.links
            .add_task(&task.reference, message, owner, true)
            .await
            .map_err(failure::links)
    }
}
