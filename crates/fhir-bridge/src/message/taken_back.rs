//! A message was marked as an error in the record, or deleted there.

use matrix_appservice::{Delivery, HandlerResult, Message};

use crate::{
    bridge::Bridge,
    failure,
    links::{Known, State},
    mapping::audit_event::{Deed, Record},
};

/// What is said where the bridge may not redact somebody's message.
const DISREGARD: &str = "This message was marked as an error in the record. Please disregard it.";

impl Bridge {
    /// Takes a message back in Matrix, with its edits: whoever sent it does, or the bridge where that is
    /// somebody with an account.
    pub(super) async fn take_back(&self, delivery: &Delivery, known: &Known) -> HandlerResult {
        let parts = self.links.parts(&known.resource).await;
        for part in parts.map_err(failure::links)? {
            match self.take_back_event(delivery, known, &part).await? {
                Err(error) if known.from_matrix && error.is_forbidden() => {
                    let message = Message::notice(DISREGARD).reply_to(&part.event);
                    let bot = delivery.part("disregard").bot();
                    bot.send(&known.room, message).await?;
                }
                other => other?,
            }
        }
        self.take_back_correction(delivery, known).await?;
        self.links
            .set_state(&known.resource, State::Gone)
            .await
            .map_err(failure::links)?;
        let record = Record::new(Deed::TakenBack)
            .resource(&known.resource)
            .room(&known.room);
        self.note(delivery, record).await?;
        tracing::info!(resource = %known.resource, "a message that was taken back in the record is taken back in its room");
        Ok(())
    }

    /// Takes back the bridge's own notice of what the record says.
    pub(super) async fn take_back_correction(
        &self,
        delivery: &Delivery,
        known: &Known,
    ) -> HandlerResult {
        let Some(correction) = &known.correction else {
            return Ok(());
        };
        let edits = self.links.edits_of(correction).await;
        for event in edits.map_err(failure::links)?.iter().chain([correction]) {
            let bot = delivery.part(event.as_str()).bot();
            bot.redact(&known.room, event, None).await?;
        }
        self.links
            .unlink_event(correction)
            .await
            .map_err(failure::links)?;
        self.links
            .set_correction(&known.resource, None)
            .await
            .map_err(failure::links)
    }
}
