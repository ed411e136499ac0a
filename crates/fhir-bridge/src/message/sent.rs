//! From the record to the room: the parts of a message become events, each once.

use fhir::{Communication, EventStatus, Ref, ResourceType};
use matrix_appservice::{
    Delivery, HandlerError, HandlerResult, Intent, Message,
    ruma::{EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, UInt},
};
use std::time::Duration;

use super::{resource_sent::number_of_part, stored_at};
use crate::{
    bridge::Bridge,
    failure,
    links::{Known, LinkedPart, NewMessage, State},
    mapping::{
        audit_event::{Deed, Record},
        parts::{self, Part},
    },
};

/// What is older than this may have been taken back meanwhile.
const FRESH: Duration = Duration::from_secs(1);
/// The most bytes of a text and its markup in one event. Events may have 65,536 with all that stands around
/// it; what is escaped in JSON counts as it is written there.
pub(super) const MOST_BYTES: usize = 55_000;

impl Bridge {
    /// A message that was written in the record is sent to its conversation's room.
    pub(super) async fn send_new(
        &self,
        delivery: &Delivery,
        communication: &Communication,
    ) -> HandlerResult {
        let reference = &communication.reference;
        let parts = match parts::to_parts(communication, self.server.threads) {
            Ok(parts) => parts,
            Err(reason) => {
                tracing::info!(resource = %reference, %reason, "a Communication is left out");
                return Ok(());
            }
        };
        let Some(thread) = self.server.threads.of_message(communication) else {
            return Ok(());
        };
        let bot = delivery.bot();
        let Some(room) = self.thread_room(&bot, &thread).await? else {
            tracing::info!(resource = %reference, "a Communication is left out: its conversation is not there or not active");
            return Ok(());
        };
        if !self.is_still_said(delivery, communication).await? {
            tracing::info!(resource = %reference, "a Communication is left out: it was taken back before it was sent");
            return Ok(());
        }
        let sender = self
            .sending_user(&bot, communication.sender.as_ref())
            .await?;
        sender.ensure_joined(&room).await?;
        let fingerprint = self.fingerprints.of_parts(&parts);
        let new = NewMessage {
            resource: reference,
            room: &room,
            sender: sender.user_id(),
            from_matrix: false,
            state: State::Sending,
            fingerprint: &fingerprint,
            changed_at: stored_at(communication),
        };
        // First, so that whatever stops the bridge now, what it has sent can be found and taken back.
        self.links.add_message(&new).await.map_err(failure::links)?;
        let known = self.links.message(reference).await;
        let Some(known) = known.map_err(failure::links)? else {
            return Err(HandlerError::unavailable("a link that is not there"));
        };
        self.carry(delivery, communication, &known, &parts).await?;
        self.links
            .settle(reference, &fingerprint, stored_at(communication), true)
            .await
            .map_err(failure::links)?;
        self.name_events(communication).await?;
        self.ask_to_read_again(delivery, communication).await?;
        let record = Record::new(Deed::SentToMatrix)
            .by(sender_of(communication))
            .resource(reference)
            .room(&room)
            .fingerprint(&fingerprint);
        self.note(delivery, record).await?;
        tracing::info!(resource = %reference, parts = parts.len(), "message sent to its room");
        Ok(())
    }

    /// Whether a message that waited for some time is still one: what was taken back before it was sent must
    /// not be shown to anybody, not even for a moment.
    async fn is_still_said(
        &self,
        delivery: &Delivery,
        communication: &Communication,
    ) -> Result<bool, HandlerError> {
        if delivery.age() < FRESH && !delivery.may_be_repeat() {
            return Ok(true);
        }
        let now = self
            .fhir
            .read(&communication.reference)
            .await
            .map_err(failure::fhir)?;
        Ok(now
            .and_then(|raw| Communication::from_json(&raw.json, self.fhir.base()).ok())
            .is_some_and(|now| now.status != EventStatus::EnteredInError))
    }

    /// Makes the events of a message those of its parts: sends what is new, edits what has changed, takes
    /// back what is no more. Can be repeated at any point.
    pub(super) async fn carry(
        &self,
        delivery: &Delivery,
        communication: &Communication,
        known: &Known,
        parts: &[Part],
    ) -> HandlerResult {
        let reference = &communication.reference;
        let sent = self.links.parts(reference).await.map_err(failure::links)?;
        for (number, part) in (0_i64..).zip(parts) {
            let fingerprint = self.fingerprints.of_part(part);
            let delivery = delivery.part(&format!("part {number}"));
            let user = delivery.intent(&known.sender);
            let before = sent.iter().find(|one| one.part == number);
            if before.is_some_and(|before| before.fingerprint == fingerprint) {
                continue;
            }
            let message = self.message_of(&user, part).await?;
            if let Some(before) = before
                && is_text(&before.fingerprint)
                && is_text(&fingerprint)
                && let Some(message) = fits_as_edit(&message)
            {
                let edit = user.edit(&known.room, &before.event, message).await?;
                self.links
                    .add_edit(reference, &edit, &before.event)
                    .await
                    .map_err(failure::links)?;
                self.links
                    .link_part(reference, number, &before.event, &fingerprint)
                    .await
                    .map_err(failure::links)?;
                continue;
            }
            if let Some(before) = before {
                self.take_back_event(&delivery, known, before).await??;
            }
            let message = self.placed(communication, message.into(), number).await?;
            let event = user.send(&known.room, message).await?;
            self.links
                .link_part(reference, number, &event, &fingerprint)
                .await
                .map_err(failure::links)?;
        }
        for before in &sent {
            let number =
                number_of_part(before.part).and_then(|number| usize::try_from(number).ok());
            if number.is_some_and(|number| number >= parts.len()) {
                let delivery = delivery.part(&format!("part {}", before.part));
                self.take_back_event(&delivery, known, before).await??;
                self.links
                    .unlink_event(&before.event)
                    .await
                    .map_err(failure::links)?;
            }
        }
        self.carry_resources(delivery, communication, known, parts, &sent)
            .await
    }

    /// Puts a message at its time and, when it is the first part, behind what it answers.
    async fn placed(
        &self,
        communication: &Communication,
        message: Message,
        number: i64,
    ) -> Result<Message, HandlerError> {
        let message = match sent_at(communication) {
            Some(at) => message.at(at),
            None => message,
        };
        if number > 0 {
            return Ok(message);
        }
        Ok(match self.answered_event(communication).await? {
            Some(answered) => message.reply_to(&answered),
            None => message,
        })
    }

    /// The event of the first message that a message answers and that is in Matrix.
    async fn answered_event(
        &self,
        communication: &Communication,
    ) -> Result<Option<OwnedEventId>, HandlerError> {
        for answered in &communication.in_response_to {
            if let Some(answered) = answered.resource_of(&ResourceType::Communication)
                && let Some(event) = self.links.event(answered).await.map_err(failure::links)?
            {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// What is sent for a part.
    async fn message_of(&self, user: &Intent, part: &Part) -> Result<Outgoing, HandlerError> {
        match part {
            Part::Text { body, html } => {
                let room = MOST_BYTES.saturating_sub(json_length(body));
                if room == 0 {
                    return Ok(Outgoing::File(self.as_file(user, body).await?));
                }
                let html = html.clone().filter(|html| json_length(html) <= room);
                Ok(Outgoing::Text {
                    body: body.clone(),
                    html,
                    is_notice: false,
                })
            }
            Part::Notice(text) | Part::Reference { line: text, .. } => Ok(Outgoing::Text {
                body: text.clone(),
                html: None,
                is_notice: true,
            }),
            Part::File(file) => Ok(match self.upload(user, file).await? {
                Ok(message) => Outgoing::File(message),
                Err(why) => {
                    tracing::info!(%why, "a file is not carried over to Matrix, and the room was told");
                    Outgoing::Text {
                        body: format!(
                            "(A file of this message is not shown here: {why}. It is in the record.)"
                        ),
                        html: None,
                        is_notice: true,
                    }
                }
            }),
        }
    }
}

/// What is about to be sent.
enum Outgoing {
    Text {
        body: String,
        html: Option<String>,
        is_notice: bool,
    },
    File(Message),
}

impl From<Outgoing> for Message {
    fn from(outgoing: Outgoing) -> Self {
        match outgoing {
            Outgoing::File(message) => message,
            Outgoing::Text {
                body,
                html,
                is_notice,
            } => {
                let message = if is_notice {
                    Message::notice(body)
                } else {
                    Message::text(body)
                };
                match html {
                    Some(html) => message.with_html(html),
                    None => message,
                }
            }
        }
    }
}

/// The message to edit with, when it is text that fits: an edit holds everything twice.
fn fits_as_edit(outgoing: &Outgoing) -> Option<Message> {
    let Outgoing::Text {
        body,
        html,
        is_notice,
    } = outgoing
    else {
        return None;
    };
    let room = (MOST_BYTES / 2).checked_sub(json_length(body))?;
    Some(Message::from(Outgoing::Text {
        body: body.clone(),
        html: html.clone().filter(|html| json_length(html) <= room),
        is_notice: *is_notice,
    }))
}

fn is_text(fingerprint: &str) -> bool {
    fingerprint.starts_with('t')
}

/// When the record says that a message was sent.
pub(super) fn sent_at(communication: &Communication) -> Option<MilliSecondsSinceUnixEpoch> {
    let sent = communication.sent.as_ref()?;
    UInt::new(sent.unix_millis()).map(MilliSecondsSinceUnixEpoch)
}

/// How many bytes a text has in JSON.
fn json_length(text: &str) -> usize {
    serde_json::to_string(text).map_or(usize::MAX, |json| json.len())
}

impl Bridge {
    /// Takes back an event of a message and its edits, as the user who sent it. The inner error is the homeserver's.
    pub(super) async fn take_back_event(
        &self,
        delivery: &Delivery,
        known: &Known,
        part: &LinkedPart,
    ) -> Result<Result<(), matrix_appservice::Error>, HandlerError> {
        let edits = self.links.edits_of(&part.event).await;
        for event in edits.map_err(failure::links)?.iter().chain([&part.event]) {
            let done = self.redact(delivery, known, event).await;
            if done.is_err() {
                return Ok(done);
            }
        }
        Ok(Ok(()))
    }

    /// Redacts an event: each in a piece of work of its own, so that repeats find it.
    pub(super) async fn redact(
        &self,
        delivery: &Delivery,
        known: &Known,
        event: &EventId,
    ) -> Result<(), matrix_appservice::Error> {
        let delivery = delivery.part(event.as_str());
        let user = if known.from_matrix {
            delivery.bot()
        } else {
            delivery.intent(&known.sender)
        };
        user.redact(&known.room, event, Some("Taken back in the record"))
            .await?;
        Ok(())
    }
}

/// The people that a message is about, for [`Bridge::ask_to_read_again`].
pub(super) fn sender_of(communication: &Communication) -> Option<&fhir::ResourceRef> {
    communication.sender.as_ref().and_then(Ref::resource)
}
