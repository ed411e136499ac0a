//! Where a conversation's room hangs: in its care team's space, and in no other.

use matrix_appservice::{
    HandlerResult, SpaceChild,
    ruma::{OwnedRoomId, RoomId},
};

use super::room::Work;
use crate::{failure, mapping::levels::Kind};

const PARENT: &str = "m.space.parent";
const CHILD: &str = "m.space.child";

/// The place of a conversation that does not say when it began.
const FIRST: &str = "01";

impl Work<'_> {
    /// Hangs the room into the space that is wished for, and out of all others.
    pub(super) async fn hang(&self) -> HandlerResult {
        if self.wish.kind == Kind::Space {
            return Ok(());
        }
        let others: Vec<OwnedRoomId> = self
            .state
            .relations(PARENT)
            .filter_map(|space| RoomId::parse(space).ok())
            .filter(|space| self.wish.parent != Some(&**space))
            .collect();
        for space in others {
            let ours = self.bridge.links.resource_of_room(&space).await;
            if ours.map_err(failure::links)?.is_some() {
                let done = self.bot.remove_space_child(&space, self.room).await;
                self.as_far_as_allowed(done)?;
            }
            let done = self.bot.remove_space_parent(self.room, &space).await;
            self.as_far_as_allowed(done)?;
        }
        let Some(space) = self.wish.parent else {
            return Ok(());
        };
        let hung = self.bot.state(space, CHILD, self.room.as_str()).await?;
        let is_hung = hung.is_some_and(|content| content.get("via").is_some());
        if self.managed || !is_hung {
            let order = self.wish.order.as_deref().unwrap_or(FIRST);
            let child = SpaceChild::new().order(order).suggested();
            match self.bot.add_space_child(space, self.room, &child).await {
                // A space that somebody else made, and where the bridge lost the power that it had.
                Err(error) if error.is_forbidden() => {
                    tracing::warn!(%space, room = %self.room, "the bridge may not hang a room into this space");
                }
                done => {
                    done?;
                }
            }
        }
        let parent = self.state.content(PARENT, space.as_str());
        let is_canonical =
            parent.and_then(|parent| parent.get("canonical")?.as_bool()) == Some(true);
        if !is_canonical {
            let done = self.bot.set_space_parent(self.room, space, true).await;
            self.as_far_as_allowed(done)?;
        }
        Ok(())
    }

    /// Calls the room what is wished for.
    pub(super) async fn call_it(&self) -> HandlerResult {
        let Some(name) = &self.wish.name else {
            return Ok(());
        };
        let current = self.state.content("m.room.name", "");
        let current = current.and_then(|content| content.get("name")?.as_str());
        if self.managed && current != Some(name) {
            let state = matrix_appservice::StateEvent::new(
                "m.room.name",
                serde_json::json!({"name": name}),
            );
            self.bot.set_state(self.room, &state).await?;
        }
        Ok(())
    }
}
