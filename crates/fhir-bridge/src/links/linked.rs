//! Links between resources and rooms that people make and undo.

use fhir::ResourceRef;
use matrix_appservice::ruma::{OwnedRoomId, RoomId};

use super::{Links, LinksError, now_ms};

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
const LEAVE: &str = "INSERT INTO leaving (room_id, resource, keep, at_ms) VALUES (?, ?, ?, ?)
     ON CONFLICT (room_id) DO UPDATE SET
         resource = excluded.resource, keep = excluded.keep, at_ms = excluded.at_ms";

/// What was said in a room is carried over no more: it belongs to another resource now, or to none.
const FORGET: &str = "UPDATE message SET state = 'gone' WHERE room_id = ?";

impl Links {
    /// Links a resource and a room, in one commit. A room that the resource had before gives way only when that is
    /// wanted (`replace`), and is to be left then.
    pub(crate) async fn take_room(
        &self,
        resource: &ResourceRef,
        room: &RoomId,
        replace: bool,
    ) -> Result<Taken, LinksError> {
        let mut commit = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let owner: Option<String> =
            sqlx::query_scalar("SELECT resource FROM room WHERE room_id = ?")
                .bind(room.as_str())
                .fetch_optional(&mut *commit)
                .await?;
        if let Some(owner) = owner.as_deref().and_then(ResourceRef::parse) {
            return Ok(if owner == *resource {
                Taken::Already
            } else {
                Taken::RoomHas(owner)
            });
        }
        let before: Option<String> =
            sqlx::query_scalar("SELECT room_id FROM room WHERE resource = ?")
                .bind(resource.to_string())
                .fetch_optional(&mut *commit)
                .await?;
        let before = before.and_then(|room| RoomId::parse(room).ok());
        if let Some(before) = &before {
            if !replace {
                return Ok(Taken::ResourceHas(before.clone()));
            }
            sqlx::query(LEAVE)
                .bind(before.as_str())
                .bind(resource.to_string())
                .bind(false)
                .bind(now_ms())
                .execute(&mut *commit)
                .await?;
            sqlx::query(FORGET)
                .bind(before.as_str())
                .execute(&mut *commit)
                .await?;
        }
        let former: Option<String> =
            sqlx::query_scalar("SELECT resource FROM unlinked WHERE room_id = ? AND resource <> ?")
                .bind(room.as_str())
                .bind(resource.to_string())
                .fetch_optional(&mut *commit)
                .await?;
        if former.is_some() {
            sqlx::query(FORGET)
                .bind(room.as_str())
                .execute(&mut *commit)
                .await?;
        }
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
            ("DELETE FROM hung WHERE room_id = ?", room.to_string()),
        ] {
            sqlx::query(query).bind(about).execute(&mut *commit).await?;
        }
        commit.commit().await?;
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
        let mut commit = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let done = sqlx::query("DELETE FROM room WHERE resource = ? AND room_id = ?")
            .bind(resource.to_string())
            .bind(room.as_str())
            .execute(&mut *commit)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        let now = now_ms();
        sqlx::query(
            "INSERT INTO unlinked (resource, room_id, at_ms) VALUES (?, ?, ?)
             ON CONFLICT (resource) DO UPDATE SET room_id = excluded.room_id, at_ms = excluded.at_ms",
        )
        .bind(resource.to_string())
        .bind(room.as_str())
        .bind(now)
        .execute(&mut *commit)
        .await?;
        sqlx::query(LEAVE)
            .bind(room.as_str())
            .bind(resource.to_string())
            .bind(keep)
            .bind(now)
            .execute(&mut *commit)
            .await?;
        sqlx::query("DELETE FROM due WHERE resource = ?")
            .bind(resource.to_string())
            .execute(&mut *commit)
            .await?;
        commit.commit().await?;
        Ok(())
    }

    /// Notes that a room is to be left that was unlinked before.
    pub(crate) async fn leave_room(
        &self,
        resource: &ResourceRef,
        room: &RoomId,
    ) -> Result<(), LinksError> {
        sqlx::query(LEAVE)
            .bind(room.as_str())
            .bind(resource.to_string())
            .bind(false)
            .bind(now_ms())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Whether a resource was unlinked, so that it is to have no room.
    pub(crate) async fn is_unlinked(&self, resource: &ResourceRef) -> Result<bool, LinksError> {
        Ok(
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM unlinked WHERE resource = ?)")
                .bind(resource.to_string())
                .fetch_one(&self.pool)
                .await?,
        )
    }

    /// The resource that was unlinked from a room.
    pub(crate) async fn unlinked_from(
        &self,
        room: &RoomId,
    ) -> Result<Option<ResourceRef>, LinksError> {
        let text: Option<String> =
            sqlx::query_scalar("SELECT resource FROM unlinked WHERE room_id = ? LIMIT 1")
                .bind(room.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(text.as_deref().and_then(ResourceRef::parse))
    }

    /// A resource that was unlinked may have a room again. Returns whether it had been.
    pub(crate) async fn release(&self, resource: &ResourceRef) -> Result<bool, LinksError> {
        let mut commit = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let room: Option<String> =
            sqlx::query_scalar("DELETE FROM unlinked WHERE resource = ? RETURNING room_id")
                .bind(resource.to_string())
                .fetch_optional(&mut *commit)
                .await?;
        if let Some(room) = &room {
            sqlx::query(FORGET).bind(room).execute(&mut *commit).await?;
        }
        commit.commit().await?;
        Ok(room.is_some())
    }

    /// The rooms that are still to be left.
    pub(crate) async fn leaving(&self) -> Result<Vec<Leaving>, LinksError> {
        let rows: Vec<(String, String, bool, i64)> = sqlx::query_as(
            "SELECT room_id, resource, keep <> 0, at_ms FROM leaving ORDER BY at_ms",
        )
        .fetch_all(&self.pool)
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
        sqlx::query("DELETE FROM leaving WHERE room_id = ? AND at_ms = ?")
            .bind(leaving.room.as_str())
            .bind(leaving.at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Links whose room ids come behind `after`, in their order; at most `limit`.
    pub(crate) async fn linked(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(OwnedRoomId, ResourceRef)>, LinksError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT room_id, resource FROM room WHERE room_id > ? ORDER BY room_id LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(room, resource)| {
                Some((RoomId::parse(room).ok()?, ResourceRef::parse(&resource)?))
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use matrix_appservice::ruma::room_id;

    use super::*;

    async fn links() -> (tempfile::TempDir, Links) {
        let folder = tempfile::tempdir().unwrap();
        let links = Links::open(&folder.path().join("links.db")).await.unwrap();
        (folder, links)
    }

    fn thread(id: u32) -> ResourceRef {
        ResourceRef::parse(&format!("CommunicationRequest/{id}")).unwrap()
    }

    #[tokio::test]
    async fn a_resource_has_one_room_and_a_room_one_resource() {
        let (_folder, links) = links().await;
        let (a, b) = (room_id!("!a:x"), room_id!("!b:x"));
        let take = async |resource, room, replace| {
            links
                .take_room(&thread(resource), room, replace)
                .await
                .unwrap()
        };
        assert_eq!(take(1, a, false).await, Taken::Linked(None));
        assert_eq!(take(1, a, false).await, Taken::Already);
        assert_eq!(take(1, b, false).await, Taken::ResourceHas(a.to_owned()));
        assert_eq!(take(2, a, false).await, Taken::RoomHas(thread(1)));
        assert_eq!(take(2, a, true).await, Taken::RoomHas(thread(1)));
        assert_eq!(take(1, b, true).await, Taken::Linked(Some(a.to_owned())));
        assert_eq!(links.room(&thread(1)).await.unwrap().unwrap(), b);
        let leaving = links.leaving().await.unwrap();
        assert_eq!((leaving.len(), &*leaving[0].room), (1, a));
        // The one before is free now.
        assert_eq!(take(2, a, false).await, Taken::Linked(None));
        assert!(
            links.leaving().await.unwrap().is_empty(),
            "it is linked again"
        );
    }

    #[tokio::test]
    async fn what_was_unlinked_stays_so_until_it_is_linked_again_or_released() {
        let (_folder, links) = links().await;
        let (a, b) = (room_id!("!a:x"), room_id!("!b:x"));
        links.take_room(&thread(1), a, false).await.unwrap();
        links.unlink_room(&thread(1), b, false).await.unwrap();
        assert!(
            !links.is_unlinked(&thread(1)).await.unwrap(),
            "another room"
        );
        links.unlink_room(&thread(1), a, true).await.unwrap();
        assert_eq!(links.room(&thread(1)).await.unwrap(), None);
        assert!(links.is_unlinked(&thread(1)).await.unwrap());
        assert_eq!(links.unlinked_from(a).await.unwrap(), Some(thread(1)));
        let leaving = links.leaving().await.unwrap().remove(0);
        assert!(leaving.keep);
        links.has_left(&leaving).await.unwrap();
        assert!(links.leaving().await.unwrap().is_empty());

        links.take_room(&thread(1), b, false).await.unwrap();
        assert!(!links.is_unlinked(&thread(1)).await.unwrap());
        links.unlink_room(&thread(1), b, false).await.unwrap();
        assert!(links.release(&thread(1)).await.unwrap());
        assert!(!links.release(&thread(1)).await.unwrap());
        assert!(!links.is_unlinked(&thread(1)).await.unwrap());
    }

    #[tokio::test]
    async fn links_are_listed_page_by_page() {
        let (_folder, links) = links().await;
        for n in 1..=5 {
            let room = RoomId::parse(format!("!{n}:x")).unwrap();
            links.take_room(&thread(n), &room, false).await.unwrap();
        }
        let mut seen = Vec::new();
        let mut after = String::new();
        loop {
            let page = links.linked(&after, 2).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = last.to_string();
            seen.extend(page.into_iter().map(|(_, resource)| resource));
        }
        assert_eq!(seen, (1..=5).map(thread).collect::<Vec<_>>());
    }
}
