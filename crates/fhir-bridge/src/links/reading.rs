//! Who has to read what, and how far they have.

use fhir::ResourceRef;
use matrix_appservice::ruma::{EventId, OwnedEventId, RoomId, UserId};

use super::{Links, LinksError, tables::query};

impl Links {
    /// Notes the task of a message's reader.
    pub(crate) async fn add_task(
        &self,
        task: &ResourceRef,
        message: &ResourceRef,
        owner: &ResourceRef,
        completed: bool,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO task (task, message, owner, completed) VALUES ($1, $2, $3, $4)
             ON CONFLICT (task) DO UPDATE SET completed = task.completed OR excluded.completed",
        )
        .bind(task.to_string())
        .bind(message.to_string())
        .bind(owner.to_string())
        .bind(completed)
        .run(&self.tables)
        .await?;
        Ok(())
    }

    /// Notes that a task is completed.
    pub(crate) async fn complete_task(&self, task: &ResourceRef) -> Result<(), LinksError> {
        query("UPDATE task SET completed = true WHERE task = $1")
            .bind(task.to_string())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// Whether a task is known to be completed.
    pub(crate) async fn is_completed(&self, task: &ResourceRef) -> Result<bool, LinksError> {
        let completed: Option<bool> = query("SELECT completed FROM task WHERE task = $1")
            .bind(task.to_string())
            .first_value(&self.tables)
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
        let tasks: Vec<String> = query(
            "SELECT task.task FROM task JOIN message ON message.resource = task.message
             WHERE task.owner = $1 AND task.completed = false AND message.room_id = $2 AND message.seq <= $3
             ORDER BY message.seq",
        )
        .bind(owner.to_string())
        .bind(room.as_str())
        .bind(seq)
        .all_values(&self.tables)
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
        query(
            "SELECT seq FROM message WHERE room_id = $1 AND (
                 resource IN (SELECT resource FROM event WHERE event_id = $2)
                 OR resource IN (SELECT resource FROM edit WHERE event_id = $2)
                 OR correction = $2)",
        )
        .bind(room.as_str())
        .bind(event.as_str())
        .first_value(&self.tables)
        .await
    }

    /// The place of the last message of a room that was linked up to this time (ms).
    pub(crate) async fn place_at(&self, room: &RoomId, ms: i64) -> Result<Option<i64>, LinksError> {
        query("SELECT max(seq) FROM message WHERE room_id = $1 AND linked_at <= $2")
            .bind(room.as_str())
            .bind(ms)
            .one_value(&self.tables)
            .await
    }

    /// Notes how far somebody has read. Returns whether that is further than before.
    pub(crate) async fn has_read(
        &self,
        room: &RoomId,
        reader: &UserId,
        seq: i64,
    ) -> Result<bool, LinksError> {
        let done = query(
            "INSERT INTO reading (room_id, reader, seq) VALUES ($1, $2, $3)
             ON CONFLICT (room_id, reader) DO UPDATE SET seq = excluded.seq WHERE reading.seq < excluded.seq",
        )
        .bind(room.as_str())
        .bind(reader.as_str())
        .bind(seq)
        .run(&self.tables)
        .await?;
        Ok(done > 0)
    }

    /// How far somebody has read.
    pub(crate) async fn reading(&self, room: &RoomId, reader: &UserId) -> Result<i64, LinksError> {
        let seq: Option<i64> = query("SELECT seq FROM reading WHERE room_id = $1 AND reader = $2")
            .bind(room.as_str())
            .bind(reader.as_str())
            .first_value(&self.tables)
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
