//! What becomes of those who may not take part.

use matrix_appservice::{
    Delivery, Event, HandlerResult,
    ruma::{ServerName, UserId, events::room::member::MembershipState},
};
use serde::Deserialize;

use super::Refusal;
use crate::{
    bridge::Bridge,
    mapping::audit_event::{Deed, Record},
};

#[derive(Default, Deserialize)]
struct Content {
    membership: Option<MembershipState>,
}

impl Bridge {
    /// Why the people of a homeserver may not take part; `None` when they may. Whoever is missing on the list is
    /// looked for in the newest one first.
    pub(crate) async fn refuses(&self, server: &ServerName) -> Option<Refusal> {
        match (self.policy.refuses(server), &self.federation_list) {
            (Some(Refusal::NotListed | Refusal::NoList), Some(list)) => {
                list.after_a_miss().await;
                self.policy.refuses(server)
            }
            (refusal, _) => refusal,
        }
    }

    /// Whether an event is refused. Then it is dealt with: an invitation is declined, and nothing of it is stored.
    pub(crate) async fn is_refused(
        &self,
        delivery: &Delivery,
        event: &Event,
    ) -> Result<bool, matrix_appservice::HandlerError> {
        let sender = event.sender();
        let Some(refusal) = self.refuses(sender.server_name()).await else {
            return Ok(false);
        };
        let membership = if event.kind() == "m.room.member" {
            event.content::<Content>().unwrap_or_default().membership
        } else {
            None
        };
        let room = event.room_id();
        match membership {
            // They may always go.
            Some(MembershipState::Leave) => return Ok(false),
            Some(MembershipState::Invite) => {
                let invited = event.state_key().and_then(|key| UserId::parse(key).ok());
                if let Some(user) = invited.filter(|user| self.is_ours(user)) {
                    self.decline(delivery, event, &user).await?;
                }
            }
            _ => {
                let bot = delivery.bot();
                if self.resource_of_room(&bot, room).await?.is_none() {
                    // What happens in the rooms of others is no business of ours.
                    return Ok(true);
                }
            }
        }
        tracing::warn!(%room, event = %event.event_id(), server = %sender.server_name(), %refusal, "refused");
        let record = Record::new(Deed::Refused)
            .by_user(sender.as_str(), true)
            .room(room)
            .event(event.event_id())
            .because(refusal.class());
        self.note(delivery, record).await?;
        Ok(true)
    }

    async fn decline(&self, delivery: &Delivery, event: &Event, user: &UserId) -> HandlerResult {
        match delivery.intent(user).leave(event.room_id(), None).await {
            // It was taken back meanwhile.
            Err(error) if error.is_forbidden() || error.is_not_found() => Ok(()),
            done => Ok(done?),
        }
    }
}
