//! Which resource is which room, event or account: the bridge's own tables, ids only.
//!
//! They are in a SQLite file or in a schema of PostgreSQL for each FHIR server; `tables` makes the two one, and `tests`
//! hold both to the same.

pub(crate) mod arrivals;
mod columns;
mod export;
pub(crate) mod linked;
pub(crate) mod listing;
pub(crate) mod look_backs;
mod messages;
pub(crate) mod network;
mod open;
mod reading;
mod tables;
mod take_over;
#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use fhir::{ResourceRef, ResourceType};
use matrix_appservice::ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};

use self::tables::{Tables, query};
pub(crate) use export::About;
pub(crate) use messages::{Known, LinkedPart, NewMessage, State};
pub(crate) use open::Schema;

/// The tables could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinksError {
    /// The database failed.
    #[error("the database of the links failed")]
    Database(#[from] sqlx::Error),
    /// The schema is newer than this version.
    #[error("the schema of the links can't be used: was it written by a newer version?")]
    Schema(#[source] sqlx::migrate::MigrateError),
}

impl From<sqlx::migrate::MigrateError> for LinksError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => Self::Database(error),
            error => Self::Schema(error),
        }
    }
}

/// The tables. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    tables: Tables,
}

impl Links {
    /// The room of a resource.
    pub(crate) async fn room(
        &self,
        resource: &ResourceRef,
    ) -> Result<Option<OwnedRoomId>, LinksError> {
        let id: Option<String> = query("SELECT room_id FROM room WHERE resource = $1")
            .bind(resource.to_string())
            .first_value(&self.tables)
            .await?;
        Ok(id.and_then(|id| RoomId::parse(id).ok()))
    }

    /// The resource of a room.
    pub(crate) async fn resource_of_room(
        &self,
        room: &RoomId,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> = query("SELECT resource FROM room WHERE room_id = $1")
            .bind(room.as_str())
            .first_value(&self.tables)
            .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    /// Something that has a room and is neither a care team nor of this type.
    pub(crate) async fn conversation_but(
        &self,
        type_name: &str,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> = query(
            "SELECT resource FROM room WHERE resource NOT LIKE $1 AND resource NOT LIKE $2 LIMIT 1",
        )
        .bind(format!("{}/%", ResourceType::CareTeam))
        .bind(format!("{type_name}/%"))
        .first_value(&self.tables)
        .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    pub(crate) async fn link_room(
        &self,
        resource: &ResourceRef,
        room: &RoomId,
    ) -> Result<(), LinksError> {
        let mut commit = self.tables.begin().await?;
        query(
            "INSERT INTO room (resource, room_id) VALUES ($1, $2)
             ON CONFLICT (resource) DO UPDATE SET room_id = excluded.room_id",
        )
        .bind(resource.to_string())
        .bind(room.as_str())
        .run(&mut commit)
        .await?;
        for (sql, about) in [
            (
                "DELETE FROM unlinked WHERE resource = $1",
                resource.to_string(),
            ),
            ("DELETE FROM leaving WHERE room_id = $1", room.to_string()),
        ] {
            query(sql).bind(about).run(&mut commit).await?;
        }
        commit.end().await
    }

    /// The event of the first part of a message.
    pub(crate) async fn event(
        &self,
        communication: &ResourceRef,
    ) -> Result<Option<OwnedEventId>, LinksError> {
        let id: Option<String> =
            query("SELECT event_id FROM event WHERE resource = $1 ORDER BY part LIMIT 1")
                .bind(communication.to_string())
                .first_value(&self.tables)
                .await?;
        Ok(id.and_then(|id| EventId::parse(id).ok()))
    }

    /// The message that an event is.
    pub(crate) async fn resource_of_event(
        &self,
        event: &EventId,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> = query("SELECT resource FROM event WHERE event_id = $1")
            .bind(event.as_str())
            .first_value(&self.tables)
            .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    /// The resource of the person whose Matrix account this is.
    pub(crate) async fn person(&self, user: &UserId) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> = query("SELECT resource FROM account WHERE user_id = $1")
            .bind(user.as_str())
            .first_value(&self.tables)
            .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    pub(crate) async fn link_person(
        &self,
        user: &UserId,
        person: &ResourceRef,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO account (user_id, resource) VALUES ($1, $2)
             ON CONFLICT (user_id) DO UPDATE SET resource = excluded.resource
             WHERE account.resource <> excluded.resource",
        )
        .bind(user.as_str())
        .bind(person.to_string())
        .run(&self.tables)
        .await?;
        Ok(())
    }

    /// Whether the database answers.
    pub(crate) async fn check(&self) -> Result<(), LinksError> {
        let _any: Option<i32> = query("SELECT 1 FROM secret LIMIT 1")
            .first_value(&self.tables)
            .await?;
        Ok(())
    }

    /// A secret of the bridge's own: the one stored under this name, else `fresh`, which is stored.
    pub(crate) async fn secret(&self, name: &str, fresh: &str) -> Result<String, LinksError> {
        query("INSERT INTO secret (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(fresh)
            .run(&self.tables)
            .await?;
        query("SELECT value FROM secret WHERE name = $1")
            .bind(name)
            .one_value(&self.tables)
            .await
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    unix_ms(SystemTime::now())
}

/// A time in milliseconds since 1970.
pub(crate) fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
