//! In which rooms is to be looked for what the homeserver never pushed.

use matrix_appservice::ruma::{OwnedRoomId, RoomId};

use super::{Links, LinksError, tables::query};

/// When to look (Unix time in ms), and which look it is, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LookBack {
    pub(crate) due: i64,
    pub(crate) look: u32,
}

impl Links {
    pub(crate) async fn look_backs(&self) -> Result<Vec<(OwnedRoomId, LookBack)>, LinksError> {
        let rows: Vec<(String, i64, i64)> = query("SELECT room_id, due_ms, look FROM look_back")
            .all(&self.tables)
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(room, due, look)| {
                let look = u32::try_from(look).ok()?;
                Some((RoomId::parse(room).ok()?, LookBack { due, look }))
            })
            .collect())
    }

    pub(crate) async fn note_look_back(
        &self,
        room: &RoomId,
        when: LookBack,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO look_back (room_id, due_ms, look) VALUES ($1, $2, $3)
             ON CONFLICT (room_id) DO UPDATE SET due_ms = excluded.due_ms, look = excluded.look",
        )
        .bind(room.as_str())
        .bind(when.due)
        .bind(when.look)
        .run(&self.tables)
        .await?;
        Ok(())
    }

    /// Notes every room with a resource that is not noted: the first for `first`, and each that follows `apart_ms` later.
    pub(crate) async fn note_all_look_backs(
        &self,
        first: LookBack,
        apart_ms: i64,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO look_back (room_id, due_ms, look)
             SELECT room_id, $1 + $2 * (row_number() OVER (ORDER BY resource) - 1), $3 FROM room WHERE true
             ON CONFLICT (room_id) DO NOTHING",
        )
        .bind(first.due)
        .bind(apart_ms)
        .bind(first.look)
        .run(&self.tables)
        .await?;
        Ok(())
    }

    pub(crate) async fn forget_look_back(&self, room: &RoomId) -> Result<(), LinksError> {
        query("DELETE FROM look_back WHERE room_id = $1")
            .bind(room.as_str())
            .run(&self.tables)
            .await?;
        Ok(())
    }
}
