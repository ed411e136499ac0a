//! A conversation's own payload is its first message, by the one who began it.

use fhir::{Payload, Ref};
use matrix_appservice::{
    HandlerResult, Intent, Message,
    ruma::{MilliSecondsSinceUnixEpoch, RoomId, UInt},
};

use crate::{bridge::Bridge, failure, mapping::thread::Thread};

/// What is sent for a part that is not text.
const NOT_CARRIED: &str = "(This message has a part that is not shown here: an attachment or a link \
                           to another document. It is in the record.)";

impl Bridge {
    /// Sends the payload of a conversation, once.
    pub(super) async fn send_first(
        &self,
        bot: &Intent,
        thread: &Thread,
        room: &RoomId,
    ) -> HandlerResult {
        if thread.payload.is_empty() {
            return Ok(());
        }
        let begun = self.links.was_begun(&thread.reference).await;
        if begun.map_err(failure::links)? {
            return Ok(());
        }
        let author = match thread.author.as_ref().and_then(Ref::resource) {
            Some(author) => self.person(author).await?,
            None => None,
        };
        let author = match author {
            Some(author) => self.ensure_ghost(bot, &author).await?,
            None => bot.clone(),
        };
        author.ensure_joined(room).await?;
        let at = thread
            .began
            .as_ref()
            .and_then(|at| UInt::new(at.unix_millis()))
            .map(MilliSecondsSinceUnixEpoch);
        let mut events = Vec::new();
        for part in &thread.payload {
            let message = match part {
                Payload::Text(text) => Message::text(&text.text),
                _ => Message::notice(NOT_CARRIED),
            };
            let message = match at {
                Some(at) => message.at(at),
                None => message,
            };
            events.push(author.send(room, message).await?);
        }
        if let Some(first) = events.first() {
            self.links
                .note_begun(&thread.reference, first)
                .await
                .map_err(failure::links)?;
        }
        tracing::info!(resource = %thread.reference, parts = events.len(), "the conversation's first message was sent");
        Ok(())
    }
}
