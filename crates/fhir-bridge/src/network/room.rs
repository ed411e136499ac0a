//! Bringing a space or a room in line with its resource: who is in it, who may do what, whether it is open.

use fhir::{Instant, Ref, ResourceRef};
use matrix_appservice::{
    CreateRoom, HandlerError, HandlerResult, Intent, Message, StateEvent,
    ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, RoomVersionId},
};

use crate::{
    bridge::Bridge,
    directory::roster::Roster,
    failure,
    links::network::Placing,
    mapping::{
        audit_event::{Deed, Record},
        identity::{self, USER_MAPPINGS},
        levels::{self, Kind, Own},
        membership::{self, Placed, Plan},
        phase::Phase,
        room_state::RoomState,
    },
};

const POWER_LEVELS: &str = "m.room.power_levels";

/// What those are told who are removed: nothing about anybody.
const REMOVED: &str = "No longer a member.";

/// What a room shall be.
pub(crate) struct Wish<'a> {
    pub(crate) resource: &'a ResourceRef,
    pub(crate) kind: Kind,
    pub(crate) phase: Phase,
    pub(crate) roster: &'a Roster,
    /// Whom it is about.
    pub(crate) subject: Option<&'a Ref>,
    /// The space that it hangs in.
    pub(crate) parent: Option<&'a RoomId>,
    /// Its place there.
    pub(crate) order: Option<String>,
    /// What it is called; `None`: as it was made.
    pub(crate) name: Option<String>,
    /// Whether there was no room yet: nobody has to be told that it is open.
    pub(crate) is_new: bool,
}

impl Bridge {
    /// The room of a resource: the one that is linked, else one that is made now under the resource's
    /// alias (or found there, when the bridge stopped before it could note it).
    pub(crate) async fn ensure_room(
        &self,
        bot: &Intent,
        wish: &Wish<'_>,
        room: CreateRoom,
    ) -> Result<OwnedRoomId, HandlerError> {
        let resource = wish.resource;
        let _making = self.making_room(resource).await;
        if let Some(room) = self.links.room(resource).await.map_err(failure::links)? {
            return Ok(room);
        }
        let unlinked = self.links.is_unlinked(resource).await;
        if unlinked.map_err(failure::links)? {
            return Err(HandlerError::unavailable("unlinked while it was at work"));
        }
        let version = &self.network.room_version;
        let own = Own {
            user: self.sender.clone(),
            limitless: !is_below_12(version),
        };
        let levels = levels::at_creation(wish.kind, &wish.roster.levels(), &own);
        let room = room
            .version(version)
            .power_levels(levels)
            .invite(self.local_users(bot, wish.roster).await?)
            .alias(self.ids.alias(resource));
        let made = bot.create_room(&room).await?;
        self.link_room(resource, &made.room_id).await?;
        let record = Record::new(Deed::SentToMatrix)
            .resource(resource)
            .room(&made.room_id);
        self.note_this_hour(record).await?;
        tracing::info!(%resource, room = %made.room_id, found_again = made.was_there, "room made");
        Ok(made.room_id)
    }

    /// Those who can be invited while a room is made: ghosts (registered now) and people on our own
    /// homeserver.
    async fn local_users(
        &self,
        bot: &Intent,
        roster: &Roster,
    ) -> Result<Vec<OwnedUserId>, HandlerError> {
        let mut users = Vec::new();
        for member in &roster.members {
            if member.ghost {
                self.ensure_ghost(bot, &member.person).await?;
            }
            if member.user.server_name() == self.server_name {
                users.push(member.user.clone());
            }
        }
        Ok(users)
    }

    /// Brings a room in line. Can be repeated at any point.
    ///
    /// In a room that somebody else made, the bridge does what it is allowed to.
    pub(crate) async fn sync_room(
        &self,
        bot: &Intent,
        room: &RoomId,
        wish: &Wish<'_>,
    ) -> HandlerResult {
        let _filling = self.filling_rooms.hold(room.as_str()).await;
        let state = match bot.all_state(room).await {
            Ok(events) => RoomState::read(events),
            Err(error) if error.is_forbidden() => {
                tracing::warn!(resource = %wish.resource, %room, "the bridge is not in this room and can't bring it in line");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut work = Work {
            bridge: self,
            bot,
            room,
            managed: state.creator() == Some(&*self.sender),
            state,
            wish,
            again: false,
        };
        let before = self
            .links
            .phase(wish.resource)
            .await
            .map_err(failure::links)?;
        if wish.phase == Phase::Closed {
            work.announce(before).await?;
            work.close().await?;
            work.hang().await?;
        } else {
            work.call_it().await?;
            work.open(before == Some(Phase::Closed)).await?;
            work.hang().await?;
            work.announce(before).await?;
        }
        self.links
            .set_phase(wish.resource, wish.phase)
            .await
            .map_err(failure::links)?;
        let due = if work.again {
            Instant::from_unix_millis(Instant::now().unix_millis() + AGAIN_MS)
        } else {
            None
        };
        let due = match (due, &wish.roster.next) {
            (Some(due), Some(next)) => Some(due.min(next.clone())),
            (due, next) => due.or_else(|| next.clone()),
        };
        self.set_due(wish.resource, due.as_ref()).await
    }

    /// The alias of a resource's room.
    pub(crate) fn full_alias(
        &self,
        resource: &ResourceRef,
    ) -> Result<OwnedRoomAliasId, HandlerError> {
        RoomAliasId::parse(format!(
            "#{}:{}",
            self.ids.alias(resource),
            self.server_name
        ))
        .map_err(|_| HandlerError::never("FHIR id too long for a room alias"))
    }
}

/// After how long an invitation is tried again that could not be sent.
const AGAIN_MS: u64 = 60_000;

fn is_below_12(version: &RoomVersionId) -> bool {
    version
        .as_str()
        .parse::<u32>()
        .is_ok_and(|version| version < 12)
}

/// One room, while it is brought in line.
pub(super) struct Work<'a> {
    pub(super) bridge: &'a Bridge,
    pub(super) bot: &'a Intent,
    pub(super) room: &'a RoomId,
    /// Whether the bridge made it.
    pub(super) managed: bool,
    pub(super) state: RoomState,
    pub(super) wish: &'a Wish<'a>,
    /// Something could not be done and has to be tried again, without holding up the rest.
    pub(super) again: bool,
}

impl Work<'_> {
    async fn open(&mut self, reopened: bool) -> HandlerResult {
        let bridge = self.bridge;
        let resource = self.wish.resource;
        let placed = bridge
            .links
            .placed(resource)
            .await
            .map_err(failure::links)?;
        let wanted = self.wish.roster.wanted(bridge)?;
        let plan = membership::plan(&self.state, &wanted, &placed, |user| bridge.is_ghost(user));
        // Who has to go, goes before anything else is said.
        self.remove(&plan.remove).await?;
        self.set_levels(&self.wish.roster.levels(), &plan.gone)
            .await?;
        self.bring_in(&plan).await?;
        if reopened && self.managed {
            let alias = bridge.full_alias(resource)?;
            self.bot.create_alias(&alias, self.room).await?;
            self.bot
                .set_canonical_alias(self.room, Some(&alias), &[])
                .await?;
        }
        for one in placed.iter().filter(|one| plan.gone.contains(&one.user)) {
            self.retire(one).await?;
        }
        let placing = Placing {
            placed: wanted
                .into_iter()
                .filter(|one| {
                    !placed
                        .iter()
                        .any(|placed| placed.user == one.user && placed.person == one.person)
                })
                .map(|one| Placed {
                    user: one.user,
                    person: one.person,
                })
                .collect(),
            gone: plan.gone,
        };
        if placing.placed.is_empty() && placing.gone.is_empty() {
            return Ok(());
        }
        bridge
            .links
            .place(resource, &placing)
            .await
            .map_err(failure::links)
    }

    /// Nobody may write any more, our ghosts leave, nothing leads there. People stay, with what they have read.
    async fn close(&self) -> HandlerResult {
        let bridge = self.bridge;
        self.set_levels(&[], &[]).await?;
        let ghosts: Vec<OwnedUserId> = self
            .state
            .members()
            .filter(|(user, membership)| {
                matches!(*membership, "join" | "invite") && bridge.is_ghost(user)
            })
            .map(|(user, _)| user)
            .collect();
        self.remove(&ghosts).await?;
        if self.managed {
            let alias = bridge.full_alias(self.wish.resource)?;
            self.bot.delete_alias(&alias).await?;
            self.bot.set_canonical_alias(self.room, None, &[]).await?;
        }
        let placed = bridge
            .links
            .placed(self.wish.resource)
            .await
            .map_err(failure::links)?;
        let gone = placed
            .into_iter()
            .map(|placed| placed.user)
            .filter(|user| bridge.is_ghost(user))
            .collect();
        let placing = Placing {
            gone,
            ..Placing::default()
        };
        bridge
            .links
            .place(self.wish.resource, &placing)
            .await
            .map_err(failure::links)
    }

    async fn remove(&self, users: &[OwnedUserId]) -> HandlerResult {
        for user in users {
            let done = if self.bridge.is_ghost(user) {
                self.bot.as_user(user).leave(self.room, None).await
            } else {
                self.bot.kick(self.room, user, Some(REMOVED)).await
            };
            self.as_far_as_allowed(done)?;
            let record = Record::new(Deed::Removed)
                .by_user(user.as_str(), user.server_name() != self.bridge.server_name)
                .resource(self.wish.resource)
                .room(self.room);
            self.bridge.note_this_hour(record).await?;
            tracing::info!(resource = %self.wish.resource, room = %self.room, server = %user.server_name(), "a former member was removed");
        }
        Ok(())
    }

    async fn set_levels(
        &self,
        users: &[(OwnedUserId, i64)],
        gone: &[OwnedUserId],
    ) -> HandlerResult {
        if !self.managed {
            // Whoever made it decides who may do what.
            return Ok(());
        }
        let own = Own {
            user: self.bridge.sender.clone(),
            limitless: self.state.has_privileged_creators(),
        };
        let current = self.state.content(POWER_LEVELS, "");
        let current = current.cloned().unwrap_or_default();
        let wish = self.wish;
        let Some(content) = levels::change(&current, wish.kind, wish.phase, users, gone, &own)
        else {
            return Ok(());
        };
        let state = StateEvent::new(POWER_LEVELS, content);
        let event = self.bot.set_state(self.room, &state).await?;
        // By its event, each change counts.
        let record = Record::new(Deed::LevelsSet)
            .resource(wish.resource)
            .room(self.room)
            .event(&event);
        self.bridge.note_this_hour(record).await?;
        tracing::info!(resource = %wish.resource, room = %self.room, "power levels set");
        Ok(())
    }

    async fn bring_in(&mut self, plan: &Plan) -> HandlerResult {
        for member in &self.wish.roster.members {
            if member.ghost {
                let shown = self.state.content("m.room.member", member.user.as_str());
                let shown = shown.and_then(|shown| shown.get("displayname")?.as_str());
                let joins = plan.join.contains(&member.user);
                let ghost = if !joins && shown == Some(&Bridge::ghost_name(&member.person)) {
                    // It is there, and called so.
                    self.bot.as_user(&member.user)
                } else {
                    self.bridge.ensure_ghost(self.bot, &member.person).await?
                };
                if joins {
                    let done = self.join(&ghost).await;
                    if self.as_far_as_allowed(done)?.is_none() {
                        continue;
                    }
                }
                let opaque = self.bridge.ids.opaque(&member.person.reference);
                let settings = &self.bridge.network.user_mappings;
                let content =
                    identity::content(&member.person, &member.standing, &opaque, settings);
                let key = member.user.as_str();
                if self.state.content(USER_MAPPINGS, key) != Some(&content) {
                    let state = StateEvent::keyed(USER_MAPPINGS, key, content);
                    let done = ghost.set_state(self.room, &state).await;
                    self.as_far_as_allowed(done)?;
                }
            }
        }
        for user in &plan.invite {
            self.invite(user).await?;
        }
        Ok(())
    }

    async fn join(&self, ghost: &Intent) -> Result<(), matrix_appservice::Error> {
        let invited = self.state.membership(ghost.user_id()) == Some("invite");
        if !invited {
            let invite = matrix_appservice::Invite::new(ghost.user_id()).again();
            self.bot.invite(self.room, &invite).await?;
        }
        ghost.join(self.room).await
    }

    /// Tells the people in a room that it is not as open as before, or is again; once for each change.
    async fn announce(&self, before: Option<Phase>) -> HandlerResult {
        if self.wish.kind == Kind::Space
            || self.wish.is_new
            || before.unwrap_or(Phase::Open) == self.wish.phase
        {
            return Ok(());
        }
        let notice = Message::notice(self.wish.phase.notice());
        let done = self.bot.send(self.room, notice).await;
        self.as_far_as_allowed(done)?;
        tracing::info!(resource = %self.wish.resource, phase = self.wish.phase.as_str(), "conversation changed its phase");
        Ok(())
    }

    /// In a room that is not ours, what is forbidden is left.
    pub(super) fn as_far_as_allowed<T>(
        &self,
        done: Result<T, matrix_appservice::Error>,
    ) -> Result<Option<T>, HandlerError> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) if !self.managed && error.is_forbidden() => {
                tracing::info!(room = %self.room, "not allowed in a room that the bridge did not make");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}
