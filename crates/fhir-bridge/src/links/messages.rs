//! What is known of each message and its events.

use fhir::ResourceRef;
use matrix_appservice::ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::{Links, LinksError, now_ms, tables::query};

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

impl<'r, R: Row> FromRow<'r, R> for Known
where
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let text = |column: &'static str| row.try_get::<String, _>(column);
        Ok(Self {
            resource: ResourceRef::parse(&text("resource")?).ok_or_else(|| wrong("resource"))?,
            seq: row.try_get("seq")?,
            room: RoomId::parse(text("room_id")?).map_err(|_| wrong("room"))?,
            sender: UserId::parse(text("sender")?).map_err(|_| wrong("sender"))?,
            from_matrix: row.try_get("from_matrix")?,
            state: State::parse(&text("state")?),
            fingerprint: text("fingerprint")?,
            pending: row.try_get("pending")?,
            changed_at: row.try_get("changed_at")?,
            changed_in_record: row.try_get("changed_in_record")?,
            correction: row
                .try_get::<Option<String>, _>("correction")?
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
        query("SELECT * FROM message WHERE resource = $1")
            .bind(resource.to_string())
            .first(&self.tables)
            .await
    }

    /// Notes a message that is new; what is known already stays as it is.
    pub(crate) async fn add_message(&self, new: &NewMessage<'_>) -> Result<(), LinksError> {
        let mut commit = self.tables.begin_in_order().await?;
        query(
            "INSERT INTO message (resource, room_id, sender, from_matrix, state, fingerprint, changed_at,
                 changed_in_record, linked_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (resource) DO NOTHING",
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
        .run(&mut commit)
        .await?;
        commit.end().await
    }

    pub(crate) async fn set_state(
        &self,
        resource: &ResourceRef,
        state: State,
    ) -> Result<(), LinksError> {
        query("UPDATE message SET state = $1 WHERE resource = $2")
            .bind(state.as_str())
            .bind(resource.to_string())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// What is about to be written into the record, so that it is known when it comes back.
    pub(crate) async fn set_pending(
        &self,
        resource: &ResourceRef,
        pending: Option<&str>,
    ) -> Result<(), LinksError> {
        query("UPDATE message SET pending = $1 WHERE resource = $2")
            .bind(pending)
            .bind(resource.to_string())
            .run(&self.tables)
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
        query(
            "UPDATE message SET state = 'live', fingerprint = $1, pending = NULL, changed_at = $2,
                 changed_in_record = $3 WHERE resource = $4",
        )
        .bind(fingerprint)
        .bind(changed_at)
        .bind(changed_in_record)
        .bind(resource.to_string())
        .run(&self.tables)
        .await?;
        Ok(())
    }

    pub(crate) async fn set_correction(
        &self,
        resource: &ResourceRef,
        correction: Option<&EventId>,
    ) -> Result<(), LinksError> {
        query("UPDATE message SET correction = $1 WHERE resource = $2")
            .bind(correction.map(EventId::as_str))
            .bind(resource.to_string())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// The events of a message's parts, in order.
    pub(crate) async fn parts(
        &self,
        resource: &ResourceRef,
    ) -> Result<Vec<LinkedPart>, LinksError> {
        let rows: Vec<(i64, String, String)> = query(
            "SELECT part, event_id, fingerprint FROM event WHERE resource = $1 ORDER BY part",
        )
        .bind(resource.to_string())
        .all(&self.tables)
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
        let mut commit = self.tables.begin().await?;
        let known = query("UPDATE event SET fingerprint = $2 WHERE event_id = $1")
            .bind(event.as_str())
            .bind(fingerprint)
            .run(&mut commit)
            .await?;
        if known == 0 {
            query(
                "INSERT INTO event (event_id, resource, part, fingerprint) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (resource, part) DO UPDATE SET event_id = excluded.event_id,
                     fingerprint = excluded.fingerprint",
            )
            .bind(event.as_str())
            .bind(resource.to_string())
            .bind(part)
            .bind(fingerprint)
            .run(&mut commit)
            .await?;
        }
        commit.end().await
    }

    pub(crate) async fn unlink_event(&self, event: &EventId) -> Result<(), LinksError> {
        let mut commit = self.tables.begin().await?;
        for sql in [
            "DELETE FROM edit WHERE edits = $1",
            "DELETE FROM event WHERE event_id = $1",
        ] {
            query(sql).bind(event.as_str()).run(&mut commit).await?;
        }
        commit.end().await
    }

    /// Notes that an event edits another one, of a message.
    pub(crate) async fn add_edit(
        &self,
        resource: &ResourceRef,
        edit: &EventId,
        edits: &EventId,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO edit (event_id, resource, edits) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(edit.as_str())
        .bind(resource.to_string())
        .bind(edits.as_str())
        .run(&self.tables)
        .await?;
        Ok(())
    }

    pub(crate) async fn remove_edit(&self, edit: &EventId) -> Result<(), LinksError> {
        query("DELETE FROM edit WHERE event_id = $1")
            .bind(edit.as_str())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// The edits of an event.
    pub(crate) async fn edits_of(&self, event: &EventId) -> Result<Vec<OwnedEventId>, LinksError> {
        let ids: Vec<String> = query("SELECT event_id FROM edit WHERE edits = $1 ORDER BY rowid")
            .bind(event.as_str())
            .all_values(&self.tables)
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
            query("SELECT resource, edits FROM edit WHERE event_id = $1")
                .bind(edit.as_str())
                .first(&self.tables)
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
        query("INSERT INTO file (file, resource) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(file.to_string())
            .bind(resource.to_string())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    pub(crate) async fn files(
        &self,
        resource: &ResourceRef,
    ) -> Result<Vec<ResourceRef>, LinksError> {
        let files: Vec<String> = query("SELECT file FROM file WHERE resource = $1")
            .bind(resource.to_string())
            .all_values(&self.tables)
            .await?;
        Ok(files
            .iter()
            .filter_map(|file| ResourceRef::parse(file))
            .collect())
    }

    pub(crate) async fn forget_file(&self, file: &ResourceRef) -> Result<(), LinksError> {
        query("DELETE FROM file WHERE file = $1")
            .bind(file.to_string())
            .run(&self.tables)
            .await?;
        Ok(())
    }
}
