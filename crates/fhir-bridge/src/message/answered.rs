//! What is said in the room when something can't be put into the record.

use matrix_appservice::{
    Delivery, Event, HandlerError, HandlerResult, Message,
    ruma::{EventId, OwnedEventId},
};

use crate::bridge::Bridge;

impl Bridge {
    /// Answers an event whose content the record can't take. Once, however often it is called in a
    /// delivery.
    pub(super) async fn answer_left_out(
        &self,
        delivery: &Delivery,
        event: &Event,
        why: &str,
    ) -> HandlerResult {
        let words = format!(
            "This can't be put into the record, so only the people in this room have it: {why}."
        );
        self.answer(delivery, event, event.event_id(), "left out", words)
            .await?;
        Ok(())
    }

    /// Says something in reply to an event, in a part of the work of its own. Returns the answer.
    pub(super) async fn answer(
        &self,
        delivery: &Delivery,
        event: &Event,
        to: &EventId,
        part: &str,
        words: String,
    ) -> Result<OwnedEventId, HandlerError> {
        let bot = delivery.part(part).bot();
        let message = Message::notice(words).reply_to(to);
        let answer = bot.send(event.room_id(), message).await?;
        tracing::info!(event = %event.event_id(), about = part, "an event was answered in its room");
        Ok(answer)
    }
}
