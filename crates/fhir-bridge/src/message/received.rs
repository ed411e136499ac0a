//! From the room to the record: what somebody wrote becomes a `Communication`, once.

use fhir::{Communication, Instant, NewCommunication, NewPayload, ResourceRef, Sender, Text};
use matrix_appservice::{Delivery, Event, HandlerError, HandlerResult, Intent};
use serde_json::Value;

use crate::{
    bridge::Bridge,
    failure,
    links::{NewMessage, State},
    mapping::{
        audit_event::{Deed, Record},
        content::{self, Said},
        resource,
        thread::Thread,
    },
};

/// What is stored of a message.
pub(super) struct Stored {
    pub(super) payload: Vec<NewPayload>,
    /// Files and other resources that were put into the record for it.
    pub(super) files: Vec<ResourceRef>,
}

impl Bridge {
    /// Somebody wrote in a room, or took something back.
    pub(crate) async fn event_written(&self, delivery: &Delivery, event: &Event) -> HandlerResult {
        if event.state_key().is_some() || event.is_redacted() {
            return Ok(());
        }
        let content: Value = event.content().unwrap_or_default();
        let said = match event.kind() {
            "m.room.message" | "m.room.redaction" => None,
            other => match (resource::names_of(other), content::unsupported(other)) {
                (Some(names), _) if !self.settings.resource_types.is_empty() => {
                    let offered = resource::offered(names, &content);
                    Some(Said::Resource(offered.map(Box::new)))
                }
                (_, Some(kind)) => Some(Said::Other(kind)),
                (_, None) => return Ok(()),
            },
        };
        let bot = delivery.bot();
        let Some(thread) = self.resource_of_room(&bot, event.room_id()).await? else {
            return Ok(());
        };
        if !self.server.threads.is_of(&thread) {
            return Ok(());
        }
        if event.kind() == "m.room.redaction" {
            return self.redaction_written(delivery, event).await;
        }
        if said.is_none() && self.is_command(&content) {
            return Ok(());
        }
        if said.is_none() && content::replaced(&content).is_some() {
            return self.edit_written(delivery, event, &thread, &content).await;
        }
        let said = said.unwrap_or_else(|| content::said(&content));
        self.store(delivery, event, &thread, &said).await
    }

    /// Stores what an event says, unless it is stored. What the record can't take is answered in the room,
    /// and the record says that it was left out.
    pub(super) async fn store(
        &self,
        delivery: &Delivery,
        event: &Event,
        conversation: &ResourceRef,
        said: &Said,
    ) -> HandlerResult {
        let known = self.links.resource_of_event(event.event_id()).await;
        let known = known.map_err(failure::links)?;
        if known.is_some() && !delivery.may_be_repeat() {
            return Ok(());
        }
        let Some(talk) = self.talk(conversation).await? else {
            return Err(HandlerError::never(
                "message in the room of a conversation that is no longer there",
            ));
        };
        let thread = &talk.thread;
        let bot = delivery.bot();
        let content: Value = event.content().unwrap_or_default();
        let sender = self
            .person_in(&bot, conversation, event.room_id(), event.sender())
            .await?;
        // A time that FHIR can't write is nobody's clock.
        let sent = event
            .origin_server_ts()
            .and_then(|at| Instant::from_unix_millis(at.get().into()))
            .unwrap_or_else(Instant::now);
        let mut new = NewCommunication {
            in_response_to: self.answered_message(&content).await?,
            subject: thread.subject.clone(),
            sender: match &sender {
                Some(person) => Sender::Known(person.clone().into()),
                None => Sender::MatrixUser {
                    user_id: event.sender().to_string(),
                    display: None,
                },
            },
            recipients: others(thread, sender.as_ref()),
            part_of: self.server.threads.part_of(conversation),
            sent,
            payload: Vec::new(),
            event_id: event.event_id().to_string(),
        };
        let mut files = Vec::new();
        let mut left_out = None;
        match self.take_in(&bot, event, conversation, said).await? {
            Ok(stored) => {
                new.payload = stored.payload;
                files = stored.files;
            }
            Err(why) => left_out = Some(why),
        }
        let json = match (&left_out, new.to_json()) {
            (None, Ok(json)) => json,
            (None, Err(reason)) => {
                left_out = Some(reason.to_string());
                placeholder(&mut new, &reason.to_string())?
            }
            (Some(why), _) => placeholder(&mut new, why)?,
        };
        let created = self
            .fhir
            .create_if_none_exist(&json, &new.condition())
            .await
            .map_err(failure::fhir)?;
        let reference = &created.reference;
        {
            let _held = self.messages.hold(&reference.to_string()).await;
            self.link_stored(event, reference, json, &files).await?;
        }
        if let Some(why) = &left_out {
            self.answer_left_out(delivery, event, why).await?;
        }
        self.prove(delivery, event, &content, left_out.as_deref())
            .await?;
        self.ask_soon(conversation, reference, sender.as_ref(), &new.sent)
            .await?;
        let external = event.sender().server_name() != self.server_name;
        let mut record = Record::new(if left_out.is_some() {
            Deed::LeftOut
        } else {
            Deed::StoredInFhir
        })
        .by(sender.as_ref())
        .by_user(event.sender().as_str(), external)
        .resource(reference)
        .room(event.room_id())
        .event(event.event_id());
        if left_out.is_some() {
            record = record.because("content that the record can't take");
        }
        self.note(delivery, record).await?;
        tracing::info!(resource = %reference, was_there = created.was_there, left_out = left_out.is_some(), "message stored in the record");
        Ok(())
    }

    async fn link_stored(
        &self,
        event: &Event,
        reference: &ResourceRef,
        mut json: Value,
        files: &[ResourceRef],
    ) -> HandlerResult {
        json["id"] = reference.id().into();
        let fingerprint = Communication::from_json(&json, self.fhir.base())
            .map(|communication| self.fingerprints.of(&communication))
            .map_err(|odd| HandlerError::never(odd.what))?;
        let new = NewMessage {
            resource: reference,
            room: event.room_id(),
            sender: event.sender(),
            from_matrix: true,
            state: State::Live,
            fingerprint: &fingerprint,
            changed_at: written_at(event),
        };
        self.links.add_message(&new).await.map_err(failure::links)?;
        self.links
            .link_part(reference, 0, event.event_id(), &fingerprint)
            .await
            .map_err(failure::links)?;
        for file in files {
            self.links
                .add_file(file, reference)
                .await
                .map_err(failure::links)?;
        }
        Ok(())
    }

    /// What is stored of what somebody said; the inner error says, for people, what the record can't take.
    pub(super) async fn take_in(
        &self,
        bot: &Intent,
        event: &Event,
        conversation: &ResourceRef,
        said: &Said,
    ) -> Result<Result<Stored, String>, HandlerError> {
        Ok(match said {
            Said::Text(text) => Ok(Stored {
                payload: vec![NewPayload::Text(text.clone())],
                files: Vec::new(),
            }),
            Said::File(sent, caption) => self
                .file_into_record(bot, event, conversation, sent)
                .await?
                .map(|(attachment, file)| Stored {
                    payload: caption
                        .iter()
                        .cloned()
                        .map(NewPayload::Text)
                        .chain([NewPayload::Attachment(attachment)])
                        .collect(),
                    files: file.into_iter().collect(),
                }),
            Said::Resource(offered) => {
                let offered = offered.as_deref().map_err(|why| *why);
                self.resource_into_record(bot, event, conversation, offered)
                    .await?
            }
            Said::Other(kind) => Err(format!("content of the type {kind}")),
        })
    }

    /// The message that an event answers, where it is in the record.
    async fn answered_message(&self, content: &Value) -> Result<Option<ResourceRef>, HandlerError> {
        match content::answered(content) {
            Some(answered) => self
                .links
                .resource_of_event(&answered)
                .await
                .map_err(failure::links),
            None => Ok(None),
        }
    }
}

/// When an event was written (ms).
pub(super) fn written_at(event: &Event) -> i64 {
    event.origin_server_ts().map_or(0, |at| i64::from(at.get()))
}

/// Everybody of a conversation but this person.
fn others(thread: &Thread, person: Option<&ResourceRef>) -> Vec<fhir::Ref> {
    let mut others = Vec::new();
    for one in &thread.participants {
        if one.resource() != person && !others.contains(one) {
            others.push(one.clone());
        }
    }
    others
}

/// What the record says in place of what it can't take.
fn placeholder(new: &mut NewCommunication, why: &str) -> Result<Value, HandlerError> {
    let text = format!("(A message was left out here: {why}. It is in the Matrix room only.)");
    new.payload = vec![NewPayload::Text(Text::plain(text))];
    new.to_json()
        .map_err(|error| HandlerError::never(error.to_string()))
}
