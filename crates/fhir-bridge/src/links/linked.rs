//! Links between resources and rooms that people make and undo.

use fhir::ResourceRef;
use matrix_appservice::ruma::{OwnedRoomId, RoomId};

use super::{Links, LinksError, now_ms, tables::query};

/// What became of a wish to link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// They are linked now; the resource had this other room before.
    Linked(Option<OwnedRoomId>),
    /// They were linked already.
    Already,
    /// The resource has another room, and keeps it.
    ResourceHas(OwnedRoomId),
    /// The room belongs to another resource.
    RoomHas(ResourceRef),
}

/// A room that was unlinked and is to be left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) room: OwnedRoomId,
    pub(crate) resource: ResourceRef,
    /// Whether the bridge's users stay there all the same.
    pub(crate) keep: bool,
    /// When it was unlinked, Unix time in ms.
    pub(crate) at: i64,
}

/// Notes that a room is to be left.
const LEAVE: &str = "INSERT INTO leaving (room_id, resource, keep, at_ms) VALUES ($1, $2, $3, $4)
     ON CONFLICT (room_id) DO UPDATE SET
         resource = excluded.resource, keep = excluded.keep, at_ms = excluded.at_ms";

/// What was said in a room is carried over no more: it belongs to another resource now, or to none.
const FORGET: &str = "UPDATE message SET state = 'gone' WHERE room_id = $1";

impl Links {
    /// Links a resource and a room, in one commit. A room that the resource had before gives way only when that is
    /// wanted (`replace`), and is to be left then.
    pub(crate) async fn take_room(
        &self,
        resource: &ResourceRef,
        room: &RoomId,
        replace: bool,
    ) -> Result<Taken, LinksError> {
        let mut commit = self.tables.begin_alone().await?;
        let owner: Option<String> = query("SELECT resource FROM room WHERE room_id = $1")
            .bind(room.as_str())
            .first_value(&mut commit)
            .await?;
        if let Some(owner) = owner.as_deref().and_then(ResourceRef::parse) {
            return Ok(if owner == *resource {
                Taken::Already
            } else {
                Taken::RoomHas(owner)
            });
        }
        let before: Option<String> = query("SELECT room_id FROM room WHERE resource = $1")
            .bind(resource.to_string())
            .first_value(&mut commit)
            .await?;
        let before = before.and_then(|room| RoomId::parse(room).ok());
        if let Some(before) = &before {
            if !replace {
                return Ok(Taken::ResourceHas(before.clone()));
            }
            query(LEAVE)
                .bind(before.as_str())
                .bind(resource.to_string())
                .bind(false)
                .bind(now_ms())
                .run(&mut commit)
                .await?;
            query(FORGET).bind(before.as_str()).run(&mut commit).await?;
        }
        let former: Option<String> =
            query("SELECT resource FROM unlinked WHERE room_id = $1 AND resource <> $2")
                .bind(room.as_str())
                .bind(resource.to_string())
                .first_value(&mut commit)
                .await?;
        if former.is_some() {
            query(FORGET).bind(room.as_str()).run(&mut commit).await?;
        }
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
            ("DELETE FROM hung WHERE room_id = $1", room.to_string()),
        ] {
            query(sql).bind(about).run(&mut commit).await?;
        }
        commit.end().await?;
        Ok(Taken::Linked(before))
    }

    /// Undoes the link of a resource and its room, and notes that the room is to be left. Nothing when they are not
    /// linked.
    pub(crate) async fn unlink_room(
        &self,
        resource: &ResourceRef,
        room: &RoomId,
        keep: bool,
    ) -> Result<(), LinksError> {
        let mut commit = self.tables.begin_alone().await?;
        let done = query("DELETE FROM room WHERE resource = $1 AND room_id = $2")
            .bind(resource.to_string())
            .bind(room.as_str())
            .run(&mut commit)
            .await?;
        if done == 0 {
            return Ok(());
        }
        let now = now_ms();
        query(
            "INSERT INTO unlinked (resource, room_id, at_ms) VALUES ($1, $2, $3)
             ON CONFLICT (resource) DO UPDATE SET room_id = excluded.room_id, at_ms = excluded.at_ms",
        )
        .bind(resource.to_string())
        .bind(room.as_str())
        .bind(now)
        .run(&mut commit)
        .await?;
        query(LEAVE)
            .bind(room.as_str())
            .bind(resource.to_string())
            .bind(keep)
            .bind(now)
            .run(&mut commit)
            .await?;
        query("DELETE FROM due WHERE resource = $1")
            .bind(resource.to_string())
            .run(&mut commit)
            .await?;
        commit.end().await
    }

    /// Notes that a room is to be left that was unlinked before.
    pub(crate) async fn leave_room(
        &self,
        resource: &ResourceRef,
        room: &RoomId,
    ) -> Result<(), LinksError> {
        query(LEAVE)
            .bind(room.as_str())
            .bind(resource.to_string())
            .bind(false)
            .bind(now_ms())
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// Whether a resource was unlinked, so that it is to have no room.
    pub(crate) async fn is_unlinked(&self, resource: &ResourceRef) -> Result<bool, LinksError> {
        query("SELECT EXISTS (SELECT 1 FROM unlinked WHERE resource = $1)")
            .bind(resource.to_string())
            .one_value(&self.tables)
            .await
    }

    /// The resource that was unlinked from a room.
    pub(crate) async fn unlinked_from(
        &self,
        room: &RoomId,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> =
            query("SELECT resource FROM unlinked WHERE room_id = $1 LIMIT 1")
                .bind(room.as_str())
                .first_value(&self.tables)
                .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    /// A resource that was unlinked may have a room again. Returns whether it had been.
    pub(crate) async fn release(&self, resource: &ResourceRef) -> Result<bool, LinksError> {
        let mut commit = self.tables.begin_alone().await?;
        let room: Option<String> =
            query("DELETE FROM unlinked WHERE resource = $1 RETURNING room_id")
                .bind(resource.to_string())
                .first_value(&mut commit)
                .await?;
        if let Some(room) = &room {
            query(FORGET).bind(room).run(&mut commit).await?;
        }
        commit.end().await?;
        Ok(room.is_some())
    }

    /// The rooms that are still to be left.
    pub(crate) async fn leaving(&self) -> Result<Vec<Leaving>, LinksError> {
        let rows: Vec<(String, String, bool, i64)> =
            query("SELECT room_id, resource, keep, at_ms FROM leaving ORDER BY at_ms")
                .all(&self.tables)
                .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(room, resource, keep, at)| {
                Some(Leaving {
                    room: RoomId::parse(room).ok()?,
                    resource: ResourceRef::parse(&resource)?,
                    keep,
                    at,
                })
            })
            .collect())
    }

    /// A room was left, or is linked again.
    pub(crate) async fn has_left(&self, leaving: &Leaving) -> Result<(), LinksError> {
        query("DELETE FROM leaving WHERE room_id = $1 AND at_ms = $2")
            .bind(leaving.room.as_str())
            .bind(leaving.at)
            .run(&self.tables)
            .await?;
        Ok(())
    }

    /// Links whose room ids come behind `after`, in their order; at most `limit`.
    pub(crate) async fn linked(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(OwnedRoomId, ResourceRef)>, LinksError> {
        let rows: Vec<(String, String)> = query(
            "SELECT room_id, resource FROM room WHERE room_id > $1 ORDER BY room_id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .all(&self.tables)
        .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(room, resource)| {
                Some((RoomId::parse(room).ok()?, ResourceRef::parse(&resource)?))
            })
            .collect())
    }
}
