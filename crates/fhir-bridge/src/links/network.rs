//! What care networks note: who was brought into which room, what depends on what, what is due.

use std::collections::BTreeSet;

use fhir::ResourceRef;
use matrix_appservice::ruma::{EventId, OwnedUserId, RoomId, UserId};

use super::{Links, LinksError};
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
            sqlx::query_as("SELECT user_id, person FROM placed WHERE resource = ?")
                .bind(resource.to_string())
                .fetch_all(&self.pool)
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
        let mut commit = self.pool.begin().await?;
        for one in &placing.placed {
            sqlx::query(
                "INSERT INTO placed (resource, user_id, person) VALUES (?, ?, ?)
                 ON CONFLICT (resource, user_id) DO UPDATE SET person = excluded.person
                 WHERE person <> excluded.person",
            )
            .bind(resource.to_string())
            .bind(one.user.as_str())
            .bind(&one.person)
            .execute(&mut *commit)
            .await?;
        }
        for user in &placing.gone {
            sqlx::query("DELETE FROM placed WHERE resource = ? AND user_id = ?")
                .bind(resource.to_string())
                .bind(user.as_str())
                .execute(&mut *commit)
                .await?;
        }
        commit.commit().await?;
        Ok(())
    }

    /// The person for whom a user was brought into a room, and whether they were seen to have joined.
    pub(crate) async fn placed_as(
        &self,
        resource: &ResourceRef,
        user: &UserId,
    ) -> Result<Option<(ResourceRef, bool)>, LinksError> {
        let row: Option<(String, bool)> = sqlx::query_as(
            "SELECT person, joined <> 0 FROM placed WHERE resource = ? AND user_id = ?",
        )
        .bind(resource.to_string())
        .bind(user.as_str())
        .fetch_optional(&self.pool)
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
        let done = sqlx::query("UPDATE placed SET joined = ? WHERE resource = ? AND user_id = ?")
            .bind(joined)
            .bind(resource.to_string())
            .bind(user.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether a user is still to be in another room of ours than this resource's.
    pub(crate) async fn is_placed_elsewhere(
        &self,
        user: &UserId,
        resource: &ResourceRef,
    ) -> Result<bool, LinksError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM placed WHERE user_id = ? AND resource <> ?)",
        )
        .bind(user.as_str())
        .bind(resource.to_string())
        .fetch_one(&self.pool)
        .await?)
    }

    /// Notes who is a member of a care team now, and who of those it had is a former one.
    pub(crate) async fn note_team(
        &self,
        team: &ResourceRef,
        members: &[ResourceRef],
        before: &[String],
    ) -> Result<(), LinksError> {
        let former: i64 = sqlx::query_scalar("SELECT count(*) FROM former WHERE team = ?")
            .bind(team.to_string())
            .fetch_one(&self.pool)
            .await?;
        if former == 0 && before.is_empty() {
            return Ok(());
        }
        let mut commit = self.pool.begin().await?;
        for person in before {
            sqlx::query("INSERT INTO former (team, person) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(team.to_string())
                .bind(person)
                .execute(&mut *commit)
                .await?;
        }
        for person in members {
            sqlx::query("DELETE FROM former WHERE team = ? AND person = ?")
                .bind(team.to_string())
                .bind(person.to_string())
                .execute(&mut *commit)
                .await?;
        }
        commit.commit().await?;
        Ok(())
    }

    pub(crate) async fn is_former(
        &self,
        team: &ResourceRef,
        person: &ResourceRef,
    ) -> Result<bool, LinksError> {
        Ok(
            sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM former WHERE team = ? AND person = ?)",
            )
            .bind(team.to_string())
            .bind(person.to_string())
            .fetch_one(&self.pool)
            .await?,
        )
    }

    /// Notes what a resource depends on, in the place of what it did.
    pub(crate) async fn depend(
        &self,
        resource: &ResourceRef,
        on: &[ResourceRef],
    ) -> Result<(), LinksError> {
        let before: Vec<String> =
            sqlx::query_scalar("SELECT on_what FROM depends WHERE resource = ?")
                .bind(resource.to_string())
                .fetch_all(&self.pool)
                .await?;
        let now: BTreeSet<String> = on.iter().map(ToString::to_string).collect();
        if before.into_iter().collect::<BTreeSet<_>>() == now {
            return Ok(());
        }
        let mut commit = self.pool.begin().await?;
        sqlx::query("DELETE FROM depends WHERE resource = ?")
            .bind(resource.to_string())
            .execute(&mut *commit)
            .await?;
        for on in now {
            sqlx::query(
                "INSERT INTO depends (resource, on_what) VALUES (?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(resource.to_string())
            .bind(on)
            .execute(&mut *commit)
            .await?;
        }
        commit.commit().await?;
        Ok(())
    }

    /// What has to be looked at again when this changes.
    pub(crate) async fn dependents(
        &self,
        on: &ResourceRef,
    ) -> Result<Vec<ResourceRef>, LinksError> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT resource FROM depends WHERE on_what = ? ORDER BY resource")
                .bind(on.to_string())
                .fetch_all(&self.pool)
                .await?;
        Ok(rows
            .iter()
            .filter_map(|row| ResourceRef::parse(row))
            .collect())
    }

    /// The types of resources that anything depends on.
    pub(crate) async fn watched_types(&self) -> Result<BTreeSet<String>, LinksError> {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT substr(on_what, 1, instr(on_what, '/') - 1) FROM depends",
        )
        .fetch_all(&self.pool)
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
                sqlx::query(
                    "INSERT INTO due (resource, at_ms) VALUES (?, ?)
                     ON CONFLICT (resource) DO UPDATE SET at_ms = excluded.at_ms WHERE at_ms <> excluded.at_ms",
                )
                .bind(resource.to_string())
                .bind(at_ms)
                .execute(&self.pool)
                .await?;
            }
            None => {
                sqlx::query("DELETE FROM due WHERE resource = ?")
                    .bind(resource.to_string())
                    .execute(&self.pool)
                    .await?;
            }
        }
        Ok(())
    }

    /// What is due first, and when.
    pub(crate) async fn first_due(&self) -> Result<Option<(ResourceRef, i64)>, LinksError> {
        let row: Option<(String, i64)> =
            sqlx::query_as("SELECT resource, at_ms FROM due ORDER BY at_ms LIMIT 1")
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.and_then(|(resource, at_ms)| Some((ResourceRef::parse(&resource)?, at_ms))))
    }

    /// That is no longer due, unless it became so anew.
    pub(crate) async fn was_due(
        &self,
        resource: &ResourceRef,
        at_ms: i64,
    ) -> Result<(), LinksError> {
        sqlx::query("DELETE FROM due WHERE resource = ? AND at_ms = ?")
            .bind(resource.to_string())
            .bind(at_ms)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(crate) async fn phase(&self, resource: &ResourceRef) -> Result<Option<Phase>, LinksError> {
        let text: Option<String> = sqlx::query_scalar("SELECT phase FROM phase WHERE resource = ?")
            .bind(resource.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(text.as_deref().and_then(Phase::parse))
    }

    pub(crate) async fn set_phase(
        &self,
        resource: &ResourceRef,
        phase: Phase,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO phase (resource, phase) VALUES (?, ?)
             ON CONFLICT (resource) DO UPDATE SET phase = excluded.phase WHERE phase <> excluded.phase",
        )
        .bind(resource.to_string())
        .bind(phase.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Which account a person has, and what proves who they are.
    pub(crate) async fn identity(
        &self,
        person: &ResourceRef,
    ) -> Result<Option<(OwnedUserId, Option<String>)>, LinksError> {
        let row: Option<(String, Option<String>)> =
            sqlx::query_as("SELECT user_id, proof FROM identity WHERE person = ?")
                .bind(person.to_string())
                .fetch_optional(&self.pool)
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
                sqlx::query(
                    "INSERT INTO identity (person, user_id, proof) VALUES (?, ?, ?)
                     ON CONFLICT (person) DO UPDATE SET user_id = excluded.user_id, proof = excluded.proof",
                )
                .bind(person.to_string())
                .bind(user.as_str())
                .bind(proof)
                .execute(&self.pool)
                .await?;
            }
            None => {
                sqlx::query("DELETE FROM identity WHERE person = ?")
                    .bind(person.to_string())
                    .execute(&self.pool)
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
        sqlx::query("DELETE FROM account WHERE user_id = ? AND resource = ?")
            .bind(user.as_str())
            .bind(person.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// How many ghosts each person had who had any that were deactivated.
    pub(crate) async fn retired(&self) -> Result<Vec<(ResourceRef, u32)>, LinksError> {
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT person, ghosts FROM retired")
            .fetch_all(&self.pool)
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(person, ghosts)| {
                Some((ResourceRef::parse(&person)?, u32::try_from(ghosts).ok()?))
            })
            .collect())
    }

    pub(crate) async fn retire(&self, person: &ResourceRef, ghosts: u32) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO retired (person, ghosts) VALUES (?, ?)
             ON CONFLICT (person) DO UPDATE SET ghosts = excluded.ghosts",
        )
        .bind(person.to_string())
        .bind(i64::from(ghosts))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn note_guest_room(
        &self,
        room: &RoomId,
        pseudonym: &str,
        client: Option<&ResourceRef>,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO guest_room (room_id, pseudonym, client) VALUES (?, ?, ?)
             ON CONFLICT (room_id) DO UPDATE SET
                 pseudonym = excluded.pseudonym, client = coalesce(excluded.client, client)",
        )
        .bind(room.as_str())
        .bind(pseudonym)
        .bind(client.map(ToString::to_string))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn note_hung(
        &self,
        room: &RoomId,
        team: &ResourceRef,
        user: &UserId,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO hung (room_id, team, user_id) VALUES (?, ?, ?)
             ON CONFLICT (room_id) DO UPDATE SET team = excluded.team, user_id = excluded.user_id",
        )
        .bind(room.as_str())
        .bind(team.to_string())
        .bind(user.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The care team in whose space somebody hung a room, and who it was.
    pub(crate) async fn hung(
        &self,
        room: &RoomId,
    ) -> Result<Option<(ResourceRef, OwnedUserId)>, LinksError> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT team, user_id FROM hung WHERE room_id = ?")
                .bind(room.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(row
            .and_then(|(team, user)| Some((ResourceRef::parse(&team)?, UserId::parse(user).ok()?))))
    }

    pub(crate) async fn unhang(&self, room: &RoomId) -> Result<(), LinksError> {
        sqlx::query("DELETE FROM hung WHERE room_id = ?")
            .bind(room.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Whether a conversation's own payload was sent.
    pub(crate) async fn was_begun(&self, thread: &ResourceRef) -> Result<bool, LinksError> {
        Ok(
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM first_message WHERE resource = ?)")
                .bind(thread.to_string())
                .fetch_one(&self.pool)
                .await?,
        )
    }

    pub(crate) async fn note_begun(
        &self,
        thread: &ResourceRef,
        event: &EventId,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO first_message (resource, event_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(thread.to_string())
        .bind(event.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
