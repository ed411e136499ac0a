//! Somebody takes a message back in Matrix: in the record it is marked as an error and, unless the settings
//! say otherwise, what it said is removed.

use fhir::{Edit, ResourceRef, ResourceType};
use matrix_appservice::{
    Delivery, Event, HandlerError, HandlerResult, Redaction, TypedEvent, ruma::EventId,
};
use serde_json::{Value, json};

use super::received::written_at;
use crate::{
    bridge::Bridge,
    config::OnRedaction,
    failure,
    links::{Known, State},
    mapping::audit_event::{Deed, Record},
};

/// What the record gives as the reason when nobody gave one.
const REDACTED: &str = "Taken back in Matrix";

impl Bridge {
    /// Somebody takes an event back.
    pub(super) async fn redaction_written(
        &self,
        delivery: &Delivery,
        event: &Event,
    ) -> HandlerResult {
        let Ok(redaction) = Redaction::read(event) else {
            return Err(HandlerError::never("m.room.redaction of nothing"));
        };
        let target = &redaction.redacts;
        if let Some(reference) = self.message_of_event(target).await? {
            let _held = self.messages.hold(&reference.to_string()).await;
            let known = self.links.message(&reference).await;
            let Some(known) = known.map_err(failure::links)? else {
                return Ok(());
            };
            if known.state == State::Gone || !self.is_redacted(delivery, &known, &redaction).await?
            {
                return Ok(());
            }
            return self.mark_as_error(delivery, &known, &redaction).await;
        }
        let edited = self.links.edited_by(target).await.map_err(failure::links)?;
        if let Some((reference, original)) = edited {
            let _held = self.messages.hold(&reference.to_string()).await;
            let known = self.links.message(&reference).await;
            if let Some(known) = known.map_err(failure::links)?
                && known.state == State::Live
                && known.from_matrix
                && self.is_redacted(delivery, &known, &redaction).await?
            {
                return self
                    .undo_edit(delivery, event, &known, target, &original)
                    .await;
            }
        }
        Ok(())
    }

    /// Whether a redaction counts: a sender's own does, about anybody else's the homeserver has the word.
    async fn is_redacted(
        &self,
        delivery: &Delivery,
        known: &Known,
        redaction: &Redaction,
    ) -> Result<bool, HandlerError> {
        if redaction.sender == known.sender {
            return Ok(true);
        }
        let now = delivery
            .bot()
            .event(&redaction.room_id, &redaction.redacts)
            .await?;
        Ok(now.is_some_and(|event| {
            !event["unsigned"]["redacted_because"].is_null() || !event["redacted_because"].is_null()
        }))
    }

    async fn mark_as_error(
        &self,
        delivery: &Delivery,
        known: &Known,
        redaction: &Redaction,
    ) -> HandlerResult {
        let reference = &known.resource;
        self.links
            .set_state(reference, State::Retracting)
            .await
            .map_err(failure::links)?;
        let strip = self.settings.on_redaction == OnRedaction::Strip;
        let reason = redaction.reason.as_deref().unwrap_or(REDACTED);
        self.fhir
            .modify(reference, &mut |json| mark(json, strip, reason))
            .await
            .map_err(failure::fhir)?;
        if strip {
            self.remove_files(reference).await?;
        }
        // What else shows what it said: its other parts, its edits, the bridge's notice.
        let parts = self.links.parts(reference).await;
        for part in parts.map_err(failure::links)? {
            if part.event == redaction.redacts {
                let edits = self.links.edits_of(&part.event).await;
                for edit in edits.map_err(failure::links)? {
                    self.redact(delivery, known, &edit).await?;
                }
            } else {
                self.take_back_event(delivery, known, &part).await??;
            }
        }
        self.take_back_correction(delivery, known).await?;
        self.links
            .set_state(reference, State::Gone)
            .await
            .map_err(failure::links)?;
        let external = redaction.sender.server_name() != self.server_name;
        let record = Record::new(Deed::TakenBack)
            .by_user(redaction.sender.as_str(), external)
            .resource(reference)
            .room(&known.room)
            .event(&redaction.redacts);
        self.note(delivery, record).await?;
        tracing::info!(resource = %reference, "a message that was redacted is marked as an error in the record");
        Ok(())
    }

    /// Deletes the files and other resources that the bridge put into the record for a message; what others
    /// refer to by now stays.
    async fn remove_files(&self, reference: &ResourceRef) -> HandlerResult {
        for file in self.links.files(reference).await.map_err(failure::links)? {
            match self.fhir.delete(&file).await {
                Err(fhir::Error::VersionConflict { status: 409, .. })
                    if *file.resource_type() != ResourceType::Binary =>
                {
                    tracing::info!(resource = %file, "what a redacted message brought stays in the record: others refer to it");
                }
                deleted => deleted.map_err(failure::fhir)?,
            }
            self.links
                .forget_file(&file)
                .await
                .map_err(failure::links)?;
        }
        Ok(())
    }

    /// An edit was taken back: the message says again what it said before.
    async fn undo_edit(
        &self,
        delivery: &Delivery,
        event: &Event,
        known: &Known,
        edit: &EventId,
        original: &EventId,
    ) -> HandlerResult {
        let bot = delivery.bot();
        if let Some(now) = bot.event(&known.room, original).await? {
            let latest = &now["unsigned"]["m.relations"]["m.replace"];
            let new = &latest["content"]["m.new_content"];
            let is_valid = new.is_object() && latest["sender"] == now["sender"];
            let content: &Value = if is_valid { new } else { &now["content"] };
            let thread = self.resource_of_room(&bot, &known.room).await?;
            if let Some(thread) = thread.filter(|_| content.get("msgtype").is_some()) {
                self.apply(delivery, event, &thread, known, content, written_at(event))
                    .await?;
            }
        }
        self.links.remove_edit(edit).await.map_err(failure::links)
    }
}

/// Marks a `Communication` as an error.
fn mark(json: &mut Value, strip: bool, reason: &str) -> Edit {
    let Some(object) = json.as_object_mut() else {
        return Edit::Unchanged;
    };
    let is_marked = object.get("status") == Some(&json!("entered-in-error"));
    let has_words = ["payload", "text"]
        .iter()
        .any(|name| object.contains_key(*name));
    if is_marked && !(strip && has_words) {
        return Edit::Unchanged;
    }
    object.insert("status".to_owned(), json!("entered-in-error"));
    let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
    let reason = if reason.trim().is_empty() {
        REDACTED
    } else {
        &reason
    };
    object.insert("statusReason".to_owned(), json!({"text": reason}));
    if strip {
        object.remove("payload");
        object.remove("text");
    }
    Edit::Changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_message_says_nothing_and_the_rest_stays() {
        let mut json = json!({"resourceType": "Communication", "status": "completed", "x": 1,
            "payload": [{"contentString": "a"}], "text": {"div": "<div>a</div>"}});
        let mut kept = json.clone();
        assert_eq!(mark(&mut json, true, ""), Edit::Changed);
        let marked = json!({"resourceType": "Communication", "status": "entered-in-error", "x": 1,
            "statusReason": {"text": REDACTED}});
        assert_eq!(json, marked);
        assert_eq!(mark(&mut json, true, ""), Edit::Unchanged);
        assert_eq!(mark(&mut kept, false, "typo"), Edit::Changed);
        assert_eq!(kept["payload"][0]["contentString"], "a");
        assert_eq!(kept["statusReason"]["text"], "typo");
    }
}
