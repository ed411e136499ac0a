//! What is known of each message and its events.

use fhir::ResourceRef;
use matrix_appservice::ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use sqlx::{FromRow, Row, sqlite::SqliteRow};

use super::{Links, LinksError, now_ms};

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Some of its parts may not be in the room yet.
    Sending,
    /// It is on both sides.
    Live,
    /// It was redacted, and is being marked in the record.
    Retracting,
    /// It was taken back, for good.
    Gone,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Live => "live",
            Self::Retracting => "retracting",
            Self::Gone => "gone",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "sending" => Self::Sending,
            "live" => Self::Live,
            "retracting" => Self::Retracting,
            _ => Self::Gone,
        }
    }
}

/// What is known of a message.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) resource: ResourceRef,
    pub(crate) seq: i64,
    pub(crate) room: OwnedRoomId,
    pub(crate) sender: OwnedUserId,
    pub(crate) from_matrix: bool,
    pub(crate) state: State,
    pub(crate) fingerprint: String,
    pub(crate) pending: Option<String>,
    pub(crate) changed_at: i64,
    pub(crate) changed_in_record: bool,
    pub(crate) correction: Option<OwnedEventId>,
}

/// A message that is new to the links.
#[derive(Debug)]
pub(crate) struct NewMessage<'a> {
    pub(crate) resource: &'a ResourceRef,
    pub(crate) room: &'a RoomId,
    pub(crate) sender: &'a UserId,
    pub(crate) from_matrix: bool,
    pub(crate) state: State,
    pub(crate) fingerprint: &'a str,
    pub(crate) changed_at: i64,
}

/// An event that a part of a message is.
#[derive(Clone, Debug)]
pub(crate) struct LinkedPart {
    pub(crate) part: i64,
    pub(crate) event: OwnedEventId,
    pub(crate) fingerprint: String,
}

fn wrong(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

impl FromRow<'_, SqliteRow> for Known {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            resource: ResourceRef::parse(row.try_get("resource")?)
                .ok_or_else(|| wrong("resource"))?,
            seq: row.try_get("seq")?,
            room: RoomId::parse(row.try_get::<&str, _>("room_id")?).map_err(|_| wrong("room"))?,
            sender: UserId::parse(row.try_get::<&str, _>("sender")?)
                .map_err(|_| wrong("sender"))?,
            from_matrix: row.try_get("from_matrix")?,
            state: State::parse(row.try_get("state")?),
            fingerprint: row.try_get("fingerprint")?,
            pending: row.try_get("pending")?,
            changed_at: row.try_get("changed_at")?,
            changed_in_record: row.try_get("changed_in_record")?,
            correction: row
                .try_get::<Option<&str>, _>("correction")?
                .and_then(|id| EventId::parse(id).ok()),
        })
    }
}

impl Links {
    /// What is known of a message.
    pub(crate) async fn message(
        &self,
        resource: &ResourceRef,
    ) -> Result<Option<Known>, LinksError> {
        Ok(sqlx::query_as("SELECT * FROM message WHERE resource = ?")
            .bind(resource.to_string())
            .fetch_optional(&self.pool)
            .await?)
    }

    /// Notes a message that is new; what is known already stays as it is.
    pub(crate) async fn add_message(&self, new: &NewMessage<'_>) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO message (resource, room_id, sender, from_matrix, state, fingerprint, changed_at,
                 changed_in_record, linked_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (resource) DO NOTHING",
        )
        .bind(new.resource.to_string())
        .bind(new.room.as_str())
        .bind(new.sender.as_str())
        .bind(new.from_matrix)
        .bind(new.state.as_str())
        .bind(new.fingerprint)
        .bind(new.changed_at)
        .bind(!new.from_matrix)
        .bind(now_ms())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn set_state(
        &self,
        resource: &ResourceRef,
        state: State,
    ) -> Result<(), LinksError> {
        sqlx::query("UPDATE message SET state = ? WHERE resource = ?")
            .bind(state.as_str())
            .bind(resource.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// What is about to be written into the record, so that it is known when it comes back.
    pub(crate) async fn set_pending(
        &self,
        resource: &ResourceRef,
        pending: Option<&str>,
    ) -> Result<(), LinksError> {
        sqlx::query("UPDATE message SET pending = ? WHERE resource = ?")
            .bind(pending)
            .bind(resource.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Both sides say the same now.
    pub(crate) async fn settle(
        &self,
        resource: &ResourceRef,
        fingerprint: &str,
        changed_at: i64,
        changed_in_record: bool,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "UPDATE message SET state = 'live', fingerprint = ?, pending = NULL, changed_at = ?,
                 changed_in_record = ? WHERE resource = ?",
        )
        .bind(fingerprint)
        .bind(changed_at)
        .bind(changed_in_record)
        .bind(resource.to_string())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn set_correction(
        &self,
        resource: &ResourceRef,
        correction: Option<&EventId>,
    ) -> Result<(), LinksError> {
        sqlx::query("UPDATE message SET correction = ? WHERE resource = ?")
            .bind(correction.map(EventId::as_str))
            .bind(resource.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The events of a message's parts, in order.
    pub(crate) async fn parts(
        &self,
        resource: &ResourceRef,
    ) -> Result<Vec<LinkedPart>, LinksError> {
        let rows: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT part, event_id, fingerprint FROM event WHERE resource = ? ORDER BY part",
        )
        .bind(resource.to_string())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(part, event, fingerprint)| {
                let event = EventId::parse(event).ok()?;
                Some(LinkedPart {
                    part,
                    event,
                    fingerprint,
                })
            })
            .collect())
    }

    /// Links a part of a message and its event; another event that the part was gives way.
    pub(crate) async fn link_part(
        &self,
        resource: &ResourceRef,
        part: i64,
        event: &EventId,
        fingerprint: &str,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO event (event_id, resource, part, fingerprint) VALUES (?, ?, ?, ?)
             ON CONFLICT (event_id) DO UPDATE SET fingerprint = excluded.fingerprint
             ON CONFLICT (resource, part) DO UPDATE SET event_id = excluded.event_id,
                 fingerprint = excluded.fingerprint",
        )
        .bind(event.as_str())
        .bind(resource.to_string())
        .bind(part)
        .bind(fingerprint)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn unlink_event(&self, event: &EventId) -> Result<(), LinksError> {
        let mut commit = self.pool.begin().await?;
        for query in [
            "DELETE FROM edit WHERE edits = ?",
            "DELETE FROM event WHERE event_id = ?",
        ] {
            sqlx::query(query)
                .bind(event.as_str())
                .execute(&mut *commit)
                .await?;
        }
        commit.commit().await?;
        Ok(())
    }

    /// Notes that an event edits another one, of a message.
    pub(crate) async fn add_edit(
        &self,
        resource: &ResourceRef,
        edit: &EventId,
        edits: &EventId,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO edit (event_id, resource, edits) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(edit.as_str())
        .bind(resource.to_string())
        .bind(edits.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn remove_edit(&self, edit: &EventId) -> Result<(), LinksError> {
        sqlx::query("DELETE FROM edit WHERE event_id = ?")
            .bind(edit.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The edits of an event.
    pub(crate) async fn edits_of(&self, event: &EventId) -> Result<Vec<OwnedEventId>, LinksError> {
        let ids: Vec<String> =
            sqlx::query_scalar("SELECT event_id FROM edit WHERE edits = ? ORDER BY rowid")
                .bind(event.as_str())
                .fetch_all(&self.pool)
                .await?;
        Ok(ids
            .into_iter()
            .filter_map(|id| EventId::parse(id).ok())
            .collect())
    }

    /// The message that an event edits, and which of its events.
    pub(crate) async fn edited_by(
        &self,
        edit: &EventId,
    ) -> Result<Option<(ResourceRef, OwnedEventId)>, LinksError> {
        let row: Option<(String, String)> =
            sqlx::query_as("SELECT resource, edits FROM edit WHERE event_id = ?")
                .bind(edit.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.and_then(|(resource, event)| {
            Some((ResourceRef::parse(&resource)?, EventId::parse(event).ok()?))
        }))
    }

    /// Notes a file that is in the record for a message.
    pub(crate) async fn add_file(
        &self,
        file: &ResourceRef,
        resource: &ResourceRef,
    ) -> Result<(), LinksError> {
        sqlx::query("INSERT INTO file (file, resource) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(file.to_string())
            .bind(resource.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(crate) async fn files(
        &self,
        resource: &ResourceRef,
    ) -> Result<Vec<ResourceRef>, LinksError> {
        let files: Vec<String> = sqlx::query_scalar("SELECT file FROM file WHERE resource = ?")
            .bind(resource.to_string())
            .fetch_all(&self.pool)
            .await?;
        Ok(files
            .iter()
            .filter_map(|file| ResourceRef::parse(file))
            .collect())
    }

    pub(crate) async fn forget_file(&self, file: &ResourceRef) -> Result<(), LinksError> {
        sqlx::query("DELETE FROM file WHERE file = ?")
            .bind(file.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
