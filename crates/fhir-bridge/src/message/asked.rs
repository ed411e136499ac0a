//! A `Task` for each reader of a message.
//!
//! What people write in a room is on record as soon as its `Communication` is: the tasks follow through the journal, in a
//! lane of their own, so that the conversation's next message doesn't wait for them.

use fhir::{Communication, Instant, NewTask, Ref, ResourceRef};
use futures_util::future::join_all;
use matrix_appservice::{Delivery, HandlerError, HandlerResult, NewEntry};
use serde::{Deserialize, Serialize};

use super::sent::sender_of;
use crate::{
    bridge::Bridge,
    failure,
    links::{Known, State},
    thread::talk::{Reader, Talk},
};

/// The journal's source of messages whose readers are to get their tasks.
pub(crate) const ASKS: &str = "asks";

/// How many tasks of one message are made at once.
const AT_ONCE: usize = 4;

/// A message whose readers are to get their tasks: ids only.
#[derive(Serialize, Deserialize)]
struct Stored {
    message: String,
    conversation: String,
    sender: Option<String>,
    sent: String,
}

impl Bridge {
    /// Has the readers of a message get their tasks, a moment later.
    pub(super) async fn ask_soon(
        &self,
        conversation: &ResourceRef,
        message: &ResourceRef,
        sender: Option<&ResourceRef>,
        sent: &Instant,
    ) -> HandlerResult {
        if !self.settings.tasks {
            return Ok(());
        }
        let stored = Stored {
            message: message.to_string(),
            conversation: conversation.to_string(),
            sender: sender.map(ToString::to_string),
            sent: sent.to_string(),
        };
        let entry = NewEntry::new(
            self.asks,
            message.to_string(),
            self.lane(&format!("{ASKS}/{conversation}")),
            // A value of this type is always JSON.
            serde_json::to_vec(&stored).unwrap_or_default(),
        );
        self.journal.append(&[entry], None).await?;
        Ok(())
    }

    /// The readers of a message are to get their tasks.
    pub(crate) async fn ask_now(&self, delivery: &Delivery) -> HandlerResult {
        let unreadable = || HandlerError::never("entry that this version can't read");
        let stored: Stored =
            serde_json::from_slice(&delivery.entry().payload).map_err(|_| unreadable())?;
        let resource = |text: &str| ResourceRef::parse(text).ok_or_else(unreadable);
        let message = resource(&stored.message)?;
        let sender = stored.sender.as_deref().map(resource).transpose()?;
        let sent = Instant::parse(&stored.sent).ok_or_else(unreadable)?;
        match self.talk(&resource(&stored.conversation)?).await? {
            Some(talk) => {
                self.ask_to_read(&talk, &message, sender.as_ref(), &sent)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Makes sure that each reader of a message that was written in the record has a task.
    pub(super) async fn ask_to_read_again(
        &self,
        delivery: &Delivery,
        communication: &Communication,
    ) -> HandlerResult {
        if !self.settings.tasks {
            return Ok(());
        }
        let Some(conversation) = self.server.threads.of_message(communication) else {
            return Ok(());
        };
        // As it is now: whoever was added before this was written has to read it.
        let Some(talk) = self.read_talk(&conversation).await? else {
            return Ok(());
        };
        let received = u64::try_from(delivery.entry().received_at).unwrap_or_default();
        let sent = communication
            .sent
            .clone()
            .or_else(|| communication.last_updated.clone())
            .or_else(|| Instant::from_unix_millis(received))
            .unwrap_or_else(Instant::now);
        self.ask_to_read(
            &talk,
            &communication.reference,
            sender_of(communication),
            &sent,
        )
        .await
    }

    /// Makes sure that each reader of a message has a task.
    async fn ask_to_read(
        &self,
        talk: &Talk,
        message: &ResourceRef,
        sender: Option<&ResourceRef>,
        sent: &Instant,
    ) -> HandlerResult {
        if !self.settings.tasks {
            return Ok(());
        }
        let known = self.links.message(message).await.map_err(failure::links)?;
        let Some(known) = known.filter(|known| known.state != State::Gone) else {
            return Ok(());
        };
        for few in talk.readers.chunks(AT_ONCE) {
            let mut asking = Vec::new();
            for reader in few {
                let new = NewTask {
                    focus: message.clone(),
                    owner: reader.person.clone(),
                    subject: talk.thread.subject.clone(),
                    requester: sender.cloned().map(Ref::from),
                    completed: sender == Some(&reader.person),
                    authored_on: sent.clone(),
                };
                asking.push(self.ask(reader, &known, new));
            }
            // All of them to their end: one that is still under way must not be begun a second time.
            for done in join_all(asking).await {
                done?;
            }
        }
        Ok(())
    }

    /// Makes sure that one reader of a message has a task.
    async fn ask(&self, reader: &Reader, known: &Known, mut task: NewTask) -> HandlerResult {
        let has_read = async || {
            let read = self.links.reading(&known.room, &reader.user).await;
            Ok::<_, HandlerError>(read.map_err(failure::links)? >= known.seq)
        };
        task.completed = task.completed || has_read().await?;
        let created = self
            .fhir
            .create_if_none_exist(&task.to_json(), &task.condition())
            .await
            .map_err(failure::fhir)?;
        self.links
            .add_task(&created.reference, &task.focus, &task.owner, task.completed)
            .await
            .map_err(failure::links)?;
        // It may have been read in between, when nobody knew of the task.
        if !task.completed && has_read().await? {
            self.complete(&created.reference).await?;
        }
        Ok(())
    }
}
