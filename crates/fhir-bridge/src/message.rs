//! A message: `Communication` ⇄ `m.room.message`, each way once.

use fhir::{
    Communication, Edit, Instant, NewCommunication, Ref, ResourceType, Sender,
    with_event_identifier,
};
use matrix_appservice::{
    Delivery, Event, HandlerError, HandlerResult, Intent, Message, ruma::OwnedEventId,
};
use serde_json::Value;

use crate::{bridge::Bridge, failure, mapping::parts, thread::participants};

/// What the bridge answers to a message that it can't store yet.
const NOT_STORED: &str = "This kind of message can't be put into the record yet, so only the people in \
                          this room have it. Please send it as text.";

impl Bridge {
    /// A `Communication` was created or changed: it is sent to its conversation's room, once.
    pub(crate) async fn communication_changed(
        &self,
        delivery: &Delivery,
        json: &Value,
    ) -> HandlerResult {
        let communication = Communication::from_json(json, self.fhir.base())
            .map_err(|odd| HandlerError::never(odd.what))?;
        let reference = &communication.reference;
        if let Some(event_id) = self.links.event(reference).await.map_err(failure::links)? {
            if !communication.event_ids().any(|id| id == event_id.as_str()) {
                // Sent before, but the bridge stopped (or somebody wrote over it) before the
                // record said so.
                self.note_event_id(&communication, &[event_id]).await?;
            }
            return Ok(());
        }
        if communication.is_from_matrix() || communication.event_ids().next().is_some() {
            // Our own writing, coming back.
            return self
                .links
                .link_events(reference, communication.event_ids())
                .await
                .map_err(failure::links);
        }
        let messages = match parts::to_messages(&communication) {
            Ok(messages) => messages,
            Err(reason) => {
                tracing::info!(resource = %reference, %reason, "a Communication is left out");
                return Ok(());
            }
        };
        let Some(thread) = communication.thread() else {
            return Ok(());
        };
        let bot = delivery.bot();
        let Some(room) = self.thread_room(&bot, thread).await? else {
            tracing::info!(resource = %reference, "a Communication is left out: its conversation is not there or not active");
            return Ok(());
        };
        let sender = self
            .sending_user(&bot, communication.sender.as_ref())
            .await?;
        sender.ensure_joined(&room).await?;
        let mut events = Vec::new();
        for message in messages {
            events.push(sender.send(&room, message).await?);
        }
        self.links
            .link_events(reference, &events)
            .await
            .map_err(failure::links)?;
        self.note_event_id(&communication, &events).await?;
        tracing::info!(resource = %reference, parts = events.len(), "message sent to its room");
        Ok(())
    }

    /// Who sends a message in Matrix: the ghost of its sender, else the bridge itself.
    async fn sending_user(
        &self,
        bot: &Intent,
        sender: Option<&Ref>,
    ) -> Result<Intent, HandlerError> {
        let known = sender
            .and_then(Ref::resource)
            .filter(|one| fhir::PersonKind::of(one.resource_type()).is_some());
        let Some(reference) = known else {
            return Ok(bot.clone());
        };
        match self.person(reference).await? {
            Some(person) => self.ensure_ghost(bot, &person).await,
            None => Ok(bot.clone()),
        }
    }

    /// Puts the event ids into the record, beside whatever else stands there.
    async fn note_event_id(
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

    /// Somebody wrote in a room: in one of ours, it becomes a `Communication`, once.
    pub(crate) async fn message_written(
        &self,
        delivery: &Delivery,
        event: &Event,
    ) -> HandlerResult {
        let bot = delivery.bot();
        let Some(resource) = self.resource_of_room(&bot, event.room_id()).await? else {
            return Ok(());
        };
        if *resource.resource_type() != ResourceType::CommunicationRequest {
            return Ok(());
        }
        let known = self.links.resource_of_event(event.event_id()).await;
        if known.map_err(failure::links)?.is_some() {
            return Ok(());
        }
        let Some(message) = event
            .message()
            .map_err(|_| HandlerError::never("m.room.message with a content that is none"))?
        else {
            return Ok(());
        };
        let Some(text) = parts::text_of(&message.content.msgtype) else {
            bot.send(event.room_id(), Message::notice(NOT_STORED))
                .await?;
            tracing::info!(event = %event.event_id(), "a message of a kind that can't be stored yet was answered");
            return Ok(());
        };
        let Some(thread) = self.thread(&resource).await? else {
            return Err(HandlerError::never(
                "message in the room of a conversation that is no longer there",
            ));
        };
        let sender = self.person_of(event.sender()).await?;
        let recipients = participants(&thread)
            .into_iter()
            .filter(|one| one.resource() != sender.as_ref())
            .fold(Vec::new(), |mut list, one| {
                if !list.contains(&one) {
                    list.push(one);
                }
                list
            });
        let communication = NewCommunication {
            part_of: resource,
            in_response_to: None,
            subject: thread.subject.clone(),
            sender: match sender {
                Some(person) => Sender::Known(person.into()),
                None => Sender::MatrixUser {
                    user_id: event.sender().to_string(),
                    display: None,
                },
            },
            recipients,
            // A time that FHIR can't write is nobody's clock.
            sent: Instant::from_unix_millis(message.origin_server_ts.get().into())
                .unwrap_or_else(Instant::now),
            text: text.to_owned(),
            event_id: event.event_id().to_string(),
        };
        let json = match communication.to_json() {
            Ok(json) => json,
            Err(reason) => {
                bot.send(event.room_id(), Message::notice(NOT_STORED))
                    .await?;
                tracing::info!(event = %event.event_id(), %reason, "a message that can't be stored was answered");
                return Ok(());
            }
        };
        let created = self
            .fhir
            .create_if_none_exist(&json, &communication.condition())
            .await
            .map_err(failure::fhir)?;
        self.links
            .link_events(&created.reference, [event.event_id()])
            .await
            .map_err(failure::links)?;
        tracing::info!(resource = %created.reference, was_there = created.was_there, "message stored in the record");
        Ok(())
    }
}
