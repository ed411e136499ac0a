//! Which resource is which room, event or account: the bridge's own tables, ids only.

pub(crate) mod arrivals;
pub(crate) mod linked;
pub(crate) mod listing;
pub(crate) mod look_backs;
mod messages;
pub(crate) mod network;
mod reading;

use std::{
    path::Path,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fhir::{ResourceRef, ResourceType};
use matrix_appservice::ruma::{EventId, OwnedEventId, OwnedRoomId, RoomId, UserId};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub(crate) use messages::{Known, LinkedPart, NewMessage, State};

/// The tables could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinksError {
    /// The database failed.
    #[error("the database of the links failed")]
    Database(#[from] sqlx::Error),
    /// The schema is newer than this version.
    #[error("the schema of the links can't be used: was it written by a newer version?")]
    Schema(#[from] sqlx::migrate::MigrateError),
}

/// The tables. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pool: SqlitePool,
}

impl Links {
    pub(crate) async fn open(path: &Path) -> Result<Self, LinksError> {
        make_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options)
            .await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        Ok(Self { pool })
    }

    /// Opens the tables to look into them and change nothing; `None` when there are none yet.
    pub(crate) async fn look(path: &Path) -> Result<Option<Self>, LinksError> {
        if !path.is_file() {
            return Ok(None);
        }
        let options = SqliteConnectOptions::from_str("sqlite://")?
            .filename(path)
            .read_only(true)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await?;
        Ok(Some(Self { pool }))
    }

    /// The room of a resource.
    pub(crate) async fn room(
        &self,
        resource: &ResourceRef,
    ) -> Result<Option<OwnedRoomId>, LinksError> {
        let id: Option<String> = sqlx::query_scalar("SELECT room_id FROM room WHERE resource = ?")
            .bind(resource.to_string())
            .fetch_optional(&self.pool)
            .await?;
        Ok(id.and_then(|id| RoomId::parse(id).ok()))
    }

    /// The resource of a room.
    pub(crate) async fn resource_of_room(
        &self,
        room: &RoomId,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT resource FROM room WHERE room_id = ?")
                .bind(room.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    /// Something that has a room and is neither a care team nor of this type.
    pub(crate) async fn conversation_but(
        &self,
        resource_type: &ResourceType,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> = sqlx::query_scalar(
            "SELECT resource FROM room WHERE resource NOT LIKE ? AND resource NOT LIKE ? LIMIT 1",
        )
        .bind(format!("{}/%", ResourceType::CareTeam))
        .bind(format!("{resource_type}/%"))
        .fetch_optional(&self.pool)
        .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    pub(crate) async fn link_room(
        &self,
        resource: &ResourceRef,
        room: &RoomId,
    ) -> Result<(), LinksError> {
        let mut commit = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO room (resource, room_id) VALUES (?, ?)
             ON CONFLICT (resource) DO UPDATE SET room_id = excluded.room_id",
        )
        .bind(resource.to_string())
        .bind(room.as_str())
        .execute(&mut *commit)
        .await?;
        for (query, about) in [
            (
                "DELETE FROM unlinked WHERE resource = ?",
                resource.to_string(),
            ),
            ("DELETE FROM leaving WHERE room_id = ?", room.to_string()),
        ] {
            sqlx::query(query).bind(about).execute(&mut *commit).await?;
        }
        commit.commit().await?;
        Ok(())
    }

    /// The event of the first part of a message.
    pub(crate) async fn event(
        &self,
        communication: &ResourceRef,
    ) -> Result<Option<OwnedEventId>, LinksError> {
        let id: Option<String> = sqlx::query_scalar(
            "SELECT event_id FROM event WHERE resource = ? ORDER BY part LIMIT 1",
        )
        .bind(communication.to_string())
        .fetch_optional(&self.pool)
        .await?;
        Ok(id.and_then(|id| EventId::parse(id).ok()))
    }

    /// The message that an event is.
    pub(crate) async fn resource_of_event(
        &self,
        event: &EventId,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT resource FROM event WHERE event_id = ?")
                .bind(event.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    /// The resource of the person whose Matrix account this is.
    pub(crate) async fn person(&self, user: &UserId) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT resource FROM account WHERE user_id = ?")
                .bind(user.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    pub(crate) async fn link_person(
        &self,
        user: &UserId,
        person: &ResourceRef,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO account (user_id, resource) VALUES (?, ?)
             ON CONFLICT (user_id) DO UPDATE SET resource = excluded.resource
             WHERE resource <> excluded.resource",
        )
        .bind(user.as_str())
        .bind(person.to_string())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whether the database answers.
    pub(crate) async fn check(&self) -> Result<(), LinksError> {
        sqlx::query("SELECT 1 FROM secret LIMIT 1")
            .fetch_optional(&self.pool)
            .await?;
        Ok(())
    }

    /// A secret of the bridge's own: the one stored under this name, else `fresh`, which is stored.
    pub(crate) async fn secret(&self, name: &str, fresh: &str) -> Result<String, LinksError> {
        sqlx::query("INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(fresh)
            .execute(&self.pool)
            .await?;
        Ok(
            sqlx::query_scalar("SELECT value FROM secret WHERE name = ?")
                .bind(name)
                .fetch_one(&self.pool)
                .await?,
        )
    }
}

/// Makes a file that its owner alone can read, when it isn't there: the tables hold the bridge's secrets.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn only_its_owner_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("links.db");
        let links = Links::open(&file).await.unwrap();
        links.secret("name", "value").await.unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        }
    }
}
