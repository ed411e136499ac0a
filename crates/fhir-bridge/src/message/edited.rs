//! Somebody edits a message in Matrix: the same `Communication` gets the new text, and its history keeps
//! the old one.

use std::time::Duration;

use fhir::{Communication, Edit, EventStatus, ResourceRef, payload_json};
use matrix_appservice::{Delivery, Event, HandlerError, HandlerResult, ruma::EventId};
use serde_json::Value;

use super::{changed::says_now, received::written_at, stored_at};
use crate::{
    bridge::Bridge,
    failure,
    links::{Known, State},
    mapping::{
        audit_event::{Deed, Record},
        content, parts,
    },
};

/// How long the original of an edit may take to come from its homeserver.
const ORIGINAL_COMES: Duration = Duration::from_secs(30);
const ORIGINAL_PAUSE: Duration = Duration::from_secs(2);

/// What became of an edit.
enum Outcome {
    /// The record says so now.
    Written,
    /// The message was taken back meanwhile.
    Gone,
    /// Something later is there: whether somebody wrote it in the record, whether the room has been told,
    /// and what it says.
    Later {
        in_record: bool,
        told: bool,
        says: String,
    },
}

impl Bridge {
    /// Somebody edits a message.
    pub(super) async fn edit_written(
        &self,
        delivery: &Delivery,
        event: &Event,
        conversation: &ResourceRef,
        content: &Value,
    ) -> HandlerResult {
        let Some(target) = content::replaced(content) else {
            return Ok(());
        };
        let new = &content["m.new_content"];
        let mut edited = self.message_of_event(&target).await?;
        if edited.is_none() {
            match self.original(delivery, event, &target).await? {
                Original::Stored(original) => {
                    let said: Value = original.content().unwrap_or_default();
                    if self.is_command(&said) {
                        return Ok(());
                    }
                    let said = content::said(&said);
                    self.store(&delivery.part("original"), &original, conversation, &said)
                        .await?;
                    edited = self.message_of_event(&target).await?;
                }
                Original::NotTheirs => return Ok(()),
                Original::Nowhere => {
                    return self
                        .store(delivery, event, conversation, &content::said(new))
                        .await;
                }
            }
        }
        let Some(reference) = edited else {
            return Ok(());
        };
        let _held = self.messages.hold(&reference.to_string()).await;
        let known = self.links.message(&reference).await;
        let Some(known) = known.map_err(failure::links)? else {
            return Ok(());
        };
        if !known.from_matrix || known.sender != event.sender() {
            tracing::info!(event = %event.event_id(), resource = %reference, "an edit by somebody else than the sender counts for nothing");
            return Ok(());
        }
        if matches!(known.state, State::Gone | State::Retracting) {
            return Ok(());
        }
        self.links
            .add_edit(&reference, event.event_id(), &target)
            .await
            .map_err(failure::links)?;
        self.apply(
            delivery,
            event,
            conversation,
            &known,
            new,
            written_at(event),
        )
        .await
    }

    /// Writes what a message says now into the record, unless something later is there. With the message's
    /// lock held.
    pub(super) async fn apply(
        &self,
        delivery: &Delivery,
        event: &Event,
        conversation: &ResourceRef,
        known: &Known,
        content: &Value,
        at: i64,
    ) -> HandlerResult {
        let reference = &known.resource;
        let said = content::said(content);
        let stored = match self
            .take_in(&delivery.bot(), event, conversation, &said)
            .await?
        {
            Ok(stored) => stored,
            Err(why) => return self.answer_left_out(delivery, event, &why).await,
        };
        let payload = match payload_json(&stored.payload) {
            Ok(payload) => payload,
            Err(reason) => {
                let why = reason.to_string();
                return self.answer_left_out(delivery, event, &why).await;
            }
        };
        for file in &stored.files {
            self.links
                .add_file(file, reference)
                .await
                .map_err(failure::links)?;
        }
        let probe = serde_json::json!({
            "resourceType": "Communication", "id": reference.id(), "payload": payload,
        });
        let fingerprint = Communication::from_json(&probe, self.fhir.base())
            .map(|communication| self.fingerprints.of(&communication))
            .map_err(|odd| HandlerError::never(odd.what))?;
        self.links
            .set_pending(reference, Some(&fingerprint))
            .await
            .map_err(failure::links)?;
        let mut outcome = Outcome::Gone;
        self.fhir
            .modify(reference, &mut |json| {
                outcome = self.weigh(json, known, &fingerprint, at);
                let Some(object) = json.as_object_mut() else {
                    return Edit::Unchanged;
                };
                if !matches!(outcome, Outcome::Written) || object.get("payload") == Some(&payload) {
                    return Edit::Unchanged;
                }
                object.insert("payload".to_owned(), payload.clone());
                // What a server or application made of the old text.
                object.remove("text");
                Edit::Changed
            })
            .await
            .map_err(failure::fhir)?;
        match outcome {
            Outcome::Written => {
                self.take_back_correction(&delivery.part("correction"), known)
                    .await?;
                self.links
                    .settle(reference, &fingerprint, at, false)
                    .await
                    .map_err(failure::links)?;
                tracing::info!(resource = %reference, event = %event.event_id(), "an edit is in the record");
                self.note_edit(delivery, event, reference, None).await
            }
            Outcome::Gone => self
                .links
                .set_pending(reference, None)
                .await
                .map_err(failure::links),
            Outcome::Later {
                in_record,
                told,
                says,
            } => {
                self.links
                    .set_pending(reference, None)
                    .await
                    .map_err(failure::links)?;
                tracing::warn!(resource = %reference, event = %event.event_id(), in_record, "an edit lost against a later change of the same message");
                if in_record && told {
                    self.tell_again(delivery, event, known, says).await?;
                }
                let lost = Some("a later change of the same message");
                self.note_edit(delivery, event, reference, lost).await
            }
        }
    }

    /// What was told of the record stands above an edit that lost: it is told below it, and there alone.
    async fn tell_again(
        &self,
        delivery: &Delivery,
        event: &Event,
        known: &Known,
        says: String,
    ) -> HandlerResult {
        let reference = &known.resource;
        let to = self.links.event(reference).await.map_err(failure::links)?;
        let to = to.as_deref().unwrap_or(event.event_id());
        let notice = self.answer(delivery, event, to, "lost edit", says).await?;
        if known.correction.as_ref() == Some(&notice) {
            // The bridge stopped right behind this.
            return Ok(());
        }
        self.take_back_correction(&delivery.part("correction"), known)
            .await?;
        self.links
            .set_correction(reference, Some(&notice))
            .await
            .map_err(failure::links)
    }

    /// Writes down that somebody edited a message, or why that counts for nothing.
    async fn note_edit(
        &self,
        delivery: &Delivery,
        event: &Event,
        reference: &ResourceRef,
        lost: Option<&str>,
    ) -> HandlerResult {
        let external = event.sender().server_name() != self.server_name;
        let record = Record::new(if lost.is_some() {
            Deed::LeftOut
        } else {
            Deed::Changed
        })
        .by_user(event.sender().as_str(), external)
        .resource(reference)
        .room(event.room_id())
        .event(event.event_id());
        let record = match lost {
            Some(lost) => record.because(lost),
            None => record,
        };
        self.note(delivery, record).await
    }

    /// Whether an edit of `at` is the last word on what the record holds.
    fn weigh(&self, json: &Value, known: &Known, fingerprint: &str, at: i64) -> Outcome {
        let Ok(now) = Communication::from_json(json, self.fhir.base()) else {
            return Outcome::Gone;
        };
        if now.status == EventStatus::EnteredInError {
            return Outcome::Gone;
        }
        let parts = parts::of_payload(&now.payload);
        let current = self.fingerprints.of_parts(&parts);
        // Somebody changed it in the record, and that has not come to us yet.
        let is_news = current != known.fingerprint
            && known.pending.as_deref() != Some(&current)
            && current != fingerprint;
        let is_later = if is_news {
            stored_at(&now) >= at
        } else if known.changed_in_record {
            known.changed_at >= at
        } else {
            known.changed_at > at
        };
        if is_later {
            Outcome::Later {
                in_record: is_news || known.changed_in_record,
                told: !is_news,
                says: says_now(&parts),
            }
        } else {
            Outcome::Written
        }
    }

    pub(super) async fn message_of_event(
        &self,
        event: &EventId,
    ) -> Result<Option<ResourceRef>, HandlerError> {
        self.links
            .resource_of_event(event)
            .await
            .map_err(failure::links)
    }

    /// The original of an edit that came before it.
    async fn original(
        &self,
        delivery: &Delivery,
        edit: &Event,
        target: &EventId,
    ) -> Result<Original, HandlerError> {
        let Some(json) = delivery.bot().event(edit.room_id(), target).await? else {
            if delivery.age() < ORIGINAL_COMES {
                return Err(HandlerError::after(
                    "the original of an edit is not there yet",
                    ORIGINAL_PAUSE,
                ));
            }
            return Ok(Original::Nowhere);
        };
        let event = serde_json::to_vec(&json)
            .ok()
            .and_then(|json| Event::parse(&json).ok());
        Ok(match event {
            Some(original)
                if original.sender() == edit.sender()
                    && original.room_id() == edit.room_id()
                    && original.kind() == "m.room.message"
                    && !original.is_redacted() =>
            {
                Original::Stored(original)
            }
            _ => Original::NotTheirs,
        })
    }
}

/// What is known of the original of an edit that is not in the record.
enum Original {
    /// Here it is, to be stored.
    Stored(Event),
    /// It is somebody else's, or none that could be edited.
    NotTheirs,
    /// No homeserver has it: the edit has to stand for it.
    Nowhere,
}
