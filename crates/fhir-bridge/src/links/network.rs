//! What care networks note: who was brought into which room, what depends on what, what is due.

use std::collections::BTreeSet;

use fhir::ResourceRef;
use matrix_appservice::ruma::{EventId, OwnedUserId, RoomId, UserId};

use super::{Links, LinksError, tables::query};
use crate::mapping::{membership::Placed, phase::Phase};

/// What changed about a room's members, noted in one commit.
#[derive(Default)]
pub(crate) struct Placing {
    pub(crate) placed: Vec<Placed>,
    pub(crate) gone: Vec<OwnedUserId>,
}

impl Links {
    /// Whom a room was last brought in line with.
    pub(crate) async fn placed(&self, resource: &ResourceRef) -> Result<Vec<Placed>, LinksError> {
        let rows: Vec<(String, String)> =
            query("SELECT user_id, person FROM placed WHERE resource = $1")
                .bind(resource.to_string())
                .all(&self.tables)
                .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(user, person)| {
                let user = UserId::parse(user).ok()?;
                Some(Placed { user, person })
            })
            .collect())
    }

    pub(crate) async fn place(
        &self,
        resource: &ResourceRef,
        placing: &Placing,
    ) -> Result<(), LinksError> {
        let mut commit = self.tables.begin().await?;
        for one in &placing.placed {
            query(
                "INSERT INTO placed (resource, user_id, person) VALUES ($1, $2, $3)
                 ON CONFLICT (resource, user_id) DO UPDATE SET person = excluded.person
                 WHERE placed.person <> excluded.person",
            )
            .bind(resource.to_string())
            .bind(one.user.as_str())
            .bind(&one.person)
            .run(&mut commit)
            .await?;
        }
        for user in &placing.gone {
            query("DELETE FROM placed WHERE resource = $1 AND user_id = $2")
                .bind(resource.to_string())
                .bind(user.as_str())
                .run(&mut commit)
                .await?;
        }
        commit.end().await
    }

    /// The person for whom a user was brought into a room, and whether they were seen to have joined.
    pub(crate) async fn placed_as(
        &self,
        resource: &ResourceRef,
        user: &UserId,
    ) -> Result<Option<(ResourceRef, bool)>, LinksError> {
        let row: Option<(String, bool)> =
            query("SELECT person, joined FROM placed WHERE resource = $1 AND user_id = $2")
                .bind(resource.to_string())
                .bind(user.as_str())
                .first(&self.tables)
                .await?;
        Ok(row.and_then(|(person, joined)| Some((ResourceRef::parse(&person)?, joined))))
    }

    /// Notes that a user is in a room or is not. Returns whether it had been brought in by us.
    pub(crate) async fn saw(
        &self,
        resource: &ResourceRef,
        user: &UserId,
        joined: bool,
    ) -> Result<bool, LinksError> {
        let done = query("UPDATE placed SET joined = $1 WHERE resource = $2 AND user_id = $3")
            .bind(joined)
            .bind(resource.to_string())
            .bind(user.as_str())
            .run(&self.tables)
            .await?;
        Ok(done > 0)
    }

    /// Whether a user is still to be in another room of ours than this resource's.
    pub(crate) async fn is_placed_elsewhere(
        &self,
        user: &UserId,
        resource: &ResourceRef,
    ) -> Result<bool, LinksError> {
        query("SELECT EXISTS (SELECT 1 FROM placed WHERE user_id = $1 AND resource <> $2)")
            .bind(user.as_str())
            .bind(resource.to_string())
            .one_value(&self.tables)
            .await
    }

    /// Notes who is a member of a care team now, and who of those it had is a former one.
    pub(crate) async fn note_team(
        &self,
        team: &ResourceRef,
        members: &[ResourceRef],
        before: &[String],
    ) -> Result<(), LinksError> {
        let former: i64 = query("SELECT count(*) FROM former WHERE team = $1")
            .bind(team.to_string())
            .one_value(&self.tables)
            .await?;
        if former == 0 && before.is_empty() {
            return Ok(());
        }
        let mut commit = self.tables.begin().await?;
        for person in before {
            query("INSERT INTO former (team, person) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(team.to_string())
                .bind(person)
                .run(&mut commit)
                .await?;
        }
        for person in members {
            query("DELETE FROM former WHERE team = $1 AND person = $2")
                .bind(team.to_string())
                .bind(person.to_string())
                .run(&mut commit)
                .await?;
        }
        commit.end().await
    }

    pub(crate) async fn is_former(
        &self,
        team: &ResourceRef,
        person: &ResourceRef,
    ) -> Result<bool, LinksError> {
        query("SELECT EXISTS (SELECT 1 FROM former WHERE team = $1 AND person = $2)")
            .bind(team.to_string())
            .bind(person.to_string())
            .one_value(&self.tables)
            .await
    }

    /// Notes what a resource depends on, in the place of what it did.
    pub(crate) async fn depend(
        &self,
        resource: &ResourceRef,
        on: &[ResourceRef],
    ) -> Result<(), LinksError> {
        let before: Vec<String> = query("SELECT on_what FROM depends WHERE resource = $1")
            .bind(resource.to_string())
            .all_values(&self.tables)
            .await?;
        let now: BTreeSet<String> = on.iter().map(ToString::to_string).collect();
        if before.into_iter().collect::<BTreeSet<_>>() == now {
            return Ok(());
        }
        let mut commit = self.tables.begin().await?;
        query("DELETE FROM depends WHERE resource = $1")
            .bind(resource.to_string())
            .run(&mut commit)
            .await?;
        for on in now {
            query("INSERT INTO depends (resource, on_what) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(resource.to_string())
                .bind(on)
                .run(&mut commit)
                .await?;
        }
        commit.end().await
    }

    /// What has to be looked at again when this changes.
    pub(crate) async fn dependents(
        &self,
        on: &ResourceRef,
    ) -> Result<Vec<ResourceRef>, LinksError> {
        let rows: Vec<String> =
            query("SELECT resource FROM depends WHERE on_what = $1 ORDER BY resource")
                .bind(on.to_string())
                .all_values(&self.tables)
                .await?;
        Ok(rows
            .iter()
            .filter_map(|row| ResourceRef::parse(row))
            .collect())
    }

    /// The types of resources that anything depends on.
    pub(crate) async fn watched_types(&self) -> Result<BTreeSet<String>, LinksError> {
        let rows: Vec<String> =
            query("SELECT DISTINCT substr(on_what, 1, instr(on_what, '/') - 1) FROM depends")
                .in_postgres("SELECT DISTINCT split_part(on_what, '/', 1) FROM depends")
                .all_values(&self.tables)
                .await?;
        Ok(rows.into_iter().collect())
    }

    /// Notes when a resource has to be looked at again: `None` when never.
    pub(crate) async fn set_due(
        &self,
        resource: &ResourceRef,
        at_ms: Option<i64>,
    ) -> Result<(), LinksError> {
        match at_ms {
            Some(at_ms) => {
                query(
                    "INSERT INTO due (resource, at_ms) VALUES ($1, $2)
                     ON CONFLICT (resource) DO UPDATE SET at_ms = excluded.at_ms WHERE due.at_ms <> excluded.at_ms",
                )
                .bind(resource.to_string())
                .bind(at_ms)
                .run(&self.tables)
                .await?;
            }
            None => {
                query("DELETE FROM due WHERE resource = $1")
                    .bind(resource.to_string())
                    .run(&self.tables)
                    .await?;
            }
        }
        Ok(())
    }

    /// What is due first, and when.
    pub(crate) async fn first_due(&self) -> Result<Option<(ResourceRef, i64)>, LinksError> {
        let row: Option<(String, i64)> =
            query("SELECT resource, at_ms FROM due ORDER BY at_ms LIMIT 1")
                .first(&self.tables)
                .await?;
        Ok(row.and_then(|(resource, at_ms)| Some((ResourceRef::parse(&resource)?, at_ms))))
    }

    /// That is no longer due, unless it became so anew.
    pub(crate) async fn was_due(
        &self,
        resource: &ResourceRef,
        at_ms: i64,
    ) -> Result<(), LinksError> {
        query("DELETE FROM due WHERE resource = $1 AND at_ms = $2")
            .bind(resource.to_string())
            .bind(at_ms)
            .run(&self.tables)
            .await?;
        Ok(())
    }

    pub(crate) async fn phase(&self, resource: &ResourceRef) -> Result<Option<Phase>, LinksError> {
        let text: Option<String> = query("SELECT phase FROM phase WHERE resource = $1")
            .bind(resource.to_string())
            .first_value(&self.tables)
            .await?;
        Ok(text.as_deref().and_then(Phase::parse))
    }

    pub(crate) async fn set_phase(
        &self,
        resource: &ResourceRef,
        phase: Phase,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO phase (resource, phase) VALUES ($1, $2)
             ON CONFLICT (resource) DO UPDATE SET phase = excluded.phase WHERE phase.phase <> excluded.phase",
        )
        .bind(resource.to_string())
        .bind(phase.as_str())
        .run(&self.tables)
        .await?;
        Ok(())
    }

    /// Which account a person has, and what proves who they are.
    pub(crate) async fn identity(
        &self,
        person: &ResourceRef,
    ) -> Result<Option<(OwnedUserId, Option<String>)>, LinksError> {
        let row: Option<(String, Option<String>)> =
            query("SELECT user_id, proof FROM identity WHERE person = $1")
                .bind(person.to_string())
                .first(&self.tables)
                .await?;
        Ok(row.and_then(|(user, proof)| Some((UserId::parse(user).ok()?, proof))))
    }

    pub(crate) async fn set_identity(
        &self,
        person: &ResourceRef,
        user: Option<&UserId>,
        proof: Option<&str>,
    ) -> Result<(), LinksError> {
        match user {
            Some(user) => {
                query(
                    "INSERT INTO identity (person, user_id, proof) VALUES ($1, $2, $3)
                     ON CONFLICT (person) DO UPDATE SET user_id = excluded.user_id, proof = excluded.proof",
                )
                .bind(person.to_string())
                .bind(user.as_str())
                .bind(proof)
                .run(&self.tables)
                .await?;
            }
            None => {
                query("DELETE FROM identity WHERE person = $1")
                    .bind(person.to_string())
                    .run(&self.tables)
                    .await?;
            }
        }
        Ok(())
    }

    /// An account is nobody's any more.
    pub(crate) async fn unlink_person(
        &self,
        user: &UserId,
        person: &ResourceRef,
    ) -> Result<(), LinksError> {
        query("DELETE FROM account WHERE user_id = $1 AND resource = $2")
            .bind(user.as_str())
            .bind(person.to_string())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// How many ghosts each person had who had any that were deactivated.
    pub(crate) async fn retired(&self) -> Result<Vec<(ResourceRef, u32)>, LinksError> {
        let rows: Vec<(String, i64)> = query("SELECT person, ghosts FROM retired")
            .all(&self.tables)
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(person, ghosts)| {
                Some((ResourceRef::parse(&person)?, u32::try_from(ghosts).ok()?))
            })
            .collect())
    }

    pub(crate) async fn retire(&self, person: &ResourceRef, ghosts: u32) -> Result<(), LinksError> {
        query(
            "INSERT INTO retired (person, ghosts) VALUES ($1, $2)
             ON CONFLICT (person) DO UPDATE SET ghosts = excluded.ghosts",
        )
        .bind(person.to_string())
        .bind(i64::from(ghosts))
        .run(&self.tables)
        .await?;
        Ok(())
    }

    pub(crate) async fn note_guest_room(
        &self,
        room: &RoomId,
        pseudonym: &str,
        client: Option<&ResourceRef>,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO guest_room (room_id, pseudonym, client) VALUES ($1, $2, $3)
             ON CONFLICT (room_id) DO UPDATE SET
                 pseudonym = excluded.pseudonym, client = coalesce(excluded.client, guest_room.client)",
        )
        .bind(room.as_str())
        .bind(pseudonym)
        .bind(client.map(ToString::to_string))
        .run(&self.tables)
        .await?;
        Ok(())
    }

    pub(crate) async fn note_hung(
        &self,
        room: &RoomId,
        team: &ResourceRef,
        user: &UserId,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO hung (room_id, team, user_id) VALUES ($1, $2, $3)
             ON CONFLICT (room_id) DO UPDATE SET team = excluded.team, user_id = excluded.user_id",
        )
        .bind(room.as_str())
        .bind(team.to_string())
        .bind(user.as_str())
        .run(&self.tables)
        .await?;
        Ok(())
    }

    /// The care team in whose space somebody hung a room, and who it was.
    pub(crate) async fn hung(
        &self,
        room: &RoomId,
    ) -> Result<Option<(ResourceRef, OwnedUserId)>, LinksError> {
        let row: Option<(String, String)> =
            query("SELECT team, user_id FROM hung WHERE room_id = $1")
                .bind(room.as_str())
                .first(&self.tables)
                .await?;
        Ok(row
            .and_then(|(team, user)| Some((ResourceRef::parse(&team)?, UserId::parse(user).ok()?))))
    }

    pub(crate) async fn unhang(&self, room: &RoomId) -> Result<(), LinksError> {
        query("DELETE FROM hung WHERE room_id = $1")
            .bind(room.as_str())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// Whether a conversation's own payload was sent.
    pub(crate) async fn was_begun(&self, thread: &ResourceRef) -> Result<bool, LinksError> {
        query("SELECT EXISTS (SELECT 1 FROM first_message WHERE resource = $1)")
            .bind(thread.to_string())
            .one_value(&self.tables)
            .await
    }

    pub(crate) async fn note_begun(
        &self,
        thread: &ResourceRef,
        event: &EventId,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO first_message (resource, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(thread.to_string())
        .bind(event.as_str())
        .run(&self.tables)
        .await?;
        Ok(())
    }
}
