//! A `Communication` was created, changed or deleted.

use fhir::{Communication, EventStatus, ResourceRef};
use matrix_appservice::{
    Delivery, HandlerError, HandlerResult, Message,
    ruma::{EventId, UserId},
};
use serde_json::Value;

use super::stored_at;
use crate::{
    bridge::Bridge,
    failure,
    links::{Known, NewMessage, State},
    mapping::{
        audit_event::{Deed, Record},
        parts::{self, Part},
    },
};

impl Bridge {
    /// A `Communication` was created or changed.
    pub(crate) async fn communication_changed(
        &self,
        delivery: &Delivery,
        json: &Value,
    ) -> HandlerResult {
        let communication = Communication::from_json(json, self.fhir.base())
            .map_err(|odd| HandlerError::never(odd.what))?;
        let reference = &communication.reference;
        let _held = self.messages.hold(&reference.to_string()).await;
        let known = self
            .links
            .message(reference)
            .await
            .map_err(failure::links)?;
        match known {
            None if communication.is_from_matrix()
                || communication.event_ids().next().is_some() =>
            {
                self.recognise(delivery, &communication).await
            }
            None => self.send_new(delivery, &communication).await,
            Some(known) => self.version_came(delivery, &communication, &known).await,
        }
    }

    /// A `Communication` was deleted.
    pub(crate) async fn communication_deleted(
        &self,
        delivery: &Delivery,
        reference: &ResourceRef,
    ) -> HandlerResult {
        let _held = self.messages.hold(&reference.to_string()).await;
        let known = self
            .links
            .message(reference)
            .await
            .map_err(failure::links)?;
        // It may not have been sent yet: whoever sends it looks first whether it is still there.
        let Some(known) = known.filter(|known| known.state != State::Gone) else {
            return Ok(());
        };
        if !self.is_linked(&known.room).await? {
            return Ok(());
        }
        self.take_back(delivery, &known).await
    }

    /// Our own writing, coming back before we had noted it, or with the links lost.
    async fn recognise(&self, delivery: &Delivery, communication: &Communication) -> HandlerResult {
        let Some(thread) = self.server.threads.of_message(communication) else {
            return Ok(());
        };
        let bot = delivery.bot();
        let Some(room) = self.thread_room(&bot, &thread).await? else {
            return Ok(());
        };
        let events: Vec<_> = communication
            .event_ids()
            .filter_map(|id| EventId::parse(id).ok())
            .collect();
        let mut sender = self.sender.clone();
        if let Some(first) = events.first()
            && let Some(event) = bot.event(&room, first).await?
            && let Some(user) = event["sender"].as_str()
        {
            sender = UserId::parse(user).unwrap_or(sender);
        }
        let parts = parts::of_payload(&communication.payload);
        let is_gone = communication.status == EventStatus::EnteredInError;
        let sent = communication.sent.as_ref();
        let new = NewMessage {
            resource: &communication.reference,
            room: &room,
            sender: &sender,
            from_matrix: communication.is_from_matrix(),
            state: if is_gone { State::Gone } else { State::Live },
            fingerprint: &self.fingerprints.of_parts(&parts),
            changed_at: sent.map_or(0, |at| i64::try_from(at.unix_millis()).unwrap_or(0)),
        };
        self.links.add_message(&new).await.map_err(failure::links)?;
        let mut pieces = self.pieces(&parts);
        // What it said once and says no more, so that it can be taken back.
        let former = events.len().saturating_sub(pieces.len());
        let numbers = (0..former).filter_map(|n| i64::try_from(parts.len() + n).ok());
        pieces.extend(numbers.map(|number| (number, String::new())));
        for ((number, fingerprint), event) in pieces.into_iter().zip(&events) {
            self.links
                .link_part(&communication.reference, number, event, &fingerprint)
                .await
                .map_err(failure::links)?;
        }
        Ok(())
    }

    /// A version of a message that is known.
    async fn version_came(
        &self,
        delivery: &Delivery,
        communication: &Communication,
        known: &Known,
    ) -> HandlerResult {
        let reference = &communication.reference;
        if known.state == State::Gone || !self.is_linked(&known.room).await? {
            return Ok(());
        }
        if communication.status == EventStatus::EnteredInError {
            if known.state == State::Retracting {
                // Our own writing; whoever wrote it has more to do, and says when all is done.
                return Ok(());
            }
            return self.take_back(delivery, known).await;
        }
        if known.state == State::Retracting || !parts::is_said(communication.status) {
            return Ok(());
        }
        let parts = parts::of_payload(&communication.payload);
        let fingerprint = self.fingerprints.of_parts(&parts);
        if known.pending.as_deref() == Some(&fingerprint) {
            // Our own writing; whoever wrote it settles it, unless the bridge was stopped in between.
            return Ok(());
        }
        if known.from_matrix {
            if fingerprint == known.fingerprint {
                return Ok(());
            }
            return self
                .correct(delivery, communication, known, &parts, &fingerprint)
                .await;
        }
        if known.state == State::Sending || fingerprint != known.fingerprint {
            self.carry(delivery, communication, known, &parts).await?;
            self.links
                .settle(reference, &fingerprint, stored_at(communication), true)
                .await
                .map_err(failure::links)?;
            let record = Record::new(Deed::Changed)
                .resource(reference)
                .room(&known.room)
                .fingerprint(&fingerprint);
            self.note(delivery, record).await?;
            tracing::info!(resource = %reference, "a new version of a message is in its room");
        }
        self.name_events(communication).await?;
        if delivery.may_be_repeat() {
            self.ask_to_read_again(delivery, communication).await?;
        }
        Ok(())
    }

    /// Makes sure that the record names the events of a message, unless it does.
    pub(super) async fn name_events(&self, communication: &Communication) -> HandlerResult {
        let sent = self
            .links
            .parts(&communication.reference)
            .await
            .map_err(failure::links)?;
        let missing: Vec<_> = sent
            .into_iter()
            .map(|part| part.event)
            .filter(|event| !communication.event_ids().any(|id| id == event.as_str()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.note_event_ids(communication, &missing).await
    }

    /// The message of somebody with an account was changed in the record: nobody but its sender can edit
    /// the event, so the bridge says in the room what the record says now.
    async fn correct(
        &self,
        delivery: &Delivery,
        communication: &Communication,
        known: &Known,
        parts: &[Part],
        fingerprint: &str,
    ) -> HandlerResult {
        let reference = &communication.reference;
        let now = self.fhir.read(reference).await.map_err(failure::fhir)?;
        let is_current = now
            .and_then(|raw| Communication::from_json(&raw.json, self.fhir.base()).ok())
            .is_some_and(|now| self.fingerprints.of(&now) == fingerprint);
        if !is_current {
            tracing::info!(resource = %reference, "a version that was overwritten meanwhile is not carried over");
            return Ok(());
        }
        let bot = delivery.part("correction").bot();
        let mut message = Message::notice(says_now(parts));
        if let Some(earlier) = &known.correction {
            let edit = bot.edit(&known.room, earlier, message).await?;
            self.links
                .add_edit(reference, &edit, earlier)
                .await
                .map_err(failure::links)?;
        } else {
            if let Some(first) = self.links.event(reference).await.map_err(failure::links)? {
                message = message.reply_to(&first);
            }
            let notice = bot.send(&known.room, message).await?;
            self.links
                .set_correction(reference, Some(&notice))
                .await
                .map_err(failure::links)?;
        }
        self.links
            .settle(reference, fingerprint, stored_at(communication), true)
            .await
            .map_err(failure::links)?;
        let record = Record::new(Deed::Changed)
            .resource(reference)
            .room(&known.room)
            .fingerprint(fingerprint);
        self.note(delivery, record).await?;
        tracing::info!(resource = %reference, "a change in the record was told in the room");
        Ok(())
    }
}

/// What the record says now, for the room.
pub(super) fn says_now(parts: &[Part]) -> String {
    let mut lines = vec!["This message was changed in the record. It says now:".to_owned()];
    for part in parts {
        lines.push(match part {
            Part::Text { body, .. } => body.clone(),
            Part::Reference { line, .. } => line.clone(),
            Part::Notice(text) => text.clone(),
            Part::File(file) => format!("(a file, {})", file.name),
        });
    }
    lines.join("\n")
}
