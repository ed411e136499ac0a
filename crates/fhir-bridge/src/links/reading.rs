//! Who has to read what, and how far they have.

use fhir::ResourceRef;
use matrix_appservice::ruma::{EventId, OwnedEventId, RoomId, UserId};

use super::{Links, LinksError};

impl Links {
    /// Notes the task of a message's reader.
    pub(crate) async fn add_task(
        &self,
        task: &ResourceRef,
        message: &ResourceRef,
        owner: &ResourceRef,
        completed: bool,
    ) -> Result<(), LinksError> {
        sqlx::query(
            "INSERT INTO task (task, message, owner, completed) VALUES (?, ?, ?, ?)
             ON CONFLICT (task) DO UPDATE SET completed = max(completed, excluded.completed)",
        )
        .bind(task.to_string())
        .bind(message.to_string())
        .bind(owner.to_string())
        .bind(completed)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that a task is completed.
    pub(crate) async fn complete_task(&self, task: &ResourceRef) -> Result<(), LinksError> {
        sqlx::query("UPDATE task SET completed = 1 WHERE task = ?")
            .bind(task.to_string())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Whether a task is known to be completed.
    pub(crate) async fn is_completed(&self, task: &ResourceRef) -> Result<bool, LinksError> {
        let completed: Option<bool> =
            sqlx::query_scalar("SELECT completed FROM task WHERE task = ?")
                .bind(task.to_string())
                .fetch_optional(&self.pool)
                .await?;
        Ok(completed.unwrap_or(false))
    }

    /// The tasks of a reader that are not completed, for the messages of a room up to `seq`.
    pub(crate) async fn open_tasks(
        &self,
        room: &RoomId,
        owner: &ResourceRef,
        seq: i64,
    ) -> Result<Vec<ResourceRef>, LinksError> {
        let tasks: Vec<String> = sqlx::query_scalar(
            "SELECT task.task FROM task JOIN message ON message.resource = task.message
             WHERE task.owner = ? AND task.completed = 0 AND message.room_id = ? AND message.seq <= ?
             ORDER BY message.seq",
        )
        .bind(owner.to_string())
        .bind(room.as_str())
        .bind(seq)
        .fetch_all(&self.pool)
        .await?;
        Ok(tasks
            .iter()
            .filter_map(|task| ResourceRef::parse(task))
            .collect())
    }

    /// The place of an event among a room's messages: its own, or that of the message it edits.
    pub(crate) async fn place_of(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Result<Option<i64>, LinksError> {
        Ok(sqlx::query_scalar(
            "SELECT seq FROM message WHERE room_id = ?1 AND (
                 resource IN (SELECT resource FROM event WHERE event_id = ?2)
                 OR resource IN (SELECT resource FROM edit WHERE event_id = ?2)
                 OR correction = ?2)",
        )
        .bind(room.as_str())
        .bind(event.as_str())
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The place of the last message of a room that was linked up to this time (ms).
    pub(crate) async fn place_at(&self, room: &RoomId, ms: i64) -> Result<Option<i64>, LinksError> {
        Ok(
            sqlx::query_scalar("SELECT max(seq) FROM message WHERE room_id = ? AND linked_at <= ?")
                .bind(room.as_str())
                .bind(ms)
                .fetch_one(&self.pool)
                .await?,
        )
    }

    /// Notes how far somebody has read. Returns whether that is further than before.
    pub(crate) async fn has_read(
        &self,
        room: &RoomId,
        reader: &UserId,
        seq: i64,
    ) -> Result<bool, LinksError> {
        let done = sqlx::query(
            "INSERT INTO reading (room_id, reader, seq) VALUES (?, ?, ?)
             ON CONFLICT (room_id, reader) DO UPDATE SET seq = excluded.seq WHERE seq < excluded.seq",
        )
        .bind(room.as_str())
        .bind(reader.as_str())
        .bind(seq)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// How far somebody has read.
    pub(crate) async fn reading(&self, room: &RoomId, reader: &UserId) -> Result<i64, LinksError> {
        let seq: Option<i64> =
            sqlx::query_scalar("SELECT seq FROM reading WHERE room_id = ? AND reader = ?")
                .bind(room.as_str())
                .bind(reader.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(seq.unwrap_or(0))
    }

    /// The last event of a message.
    pub(crate) async fn last_event(
        &self,
        message: &ResourceRef,
    ) -> Result<Option<OwnedEventId>, LinksError> {
        Ok(self.parts(message).await?.pop().map(|part| part.event))
    }
}
