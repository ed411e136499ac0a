//! Into which rooms somebody came from another homeserver a moment ago.

use matrix_appservice::ruma::{OwnedRoomId, RoomId};

use super::{Links, LinksError, tables::query};

/// When somebody came, and when what was sent meanwhile has to be tied to it. Unix time in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) came: i64,
    pub(crate) tie: Option<i64>,
}

impl Links {
    pub(crate) async fn arrivals(&self) -> Result<Vec<(OwnedRoomId, Arrival)>, LinksError> {
        let rows: Vec<(String, i64, Option<i64>)> =
            query("SELECT room_id, came_ms, tie_ms FROM arrival")
                .all(&self.tables)
                .await?;
        Ok(rows
            .into_iter()
            .filter_map(|(room, came, tie)| {
                Some((RoomId::parse(room).ok()?, Arrival { came, tie }))
            })
            .collect())
    }

    pub(crate) async fn note_arrival(
        &self,
        room: &RoomId,
        arrival: Arrival,
    ) -> Result<(), LinksError> {
        query(
            "INSERT INTO arrival (room_id, came_ms, tie_ms) VALUES ($1, $2, $3)
             ON CONFLICT (room_id) DO UPDATE SET came_ms = excluded.came_ms, tie_ms = excluded.tie_ms",
        )
        .bind(room.as_str())
        .bind(arrival.came)
        .bind(arrival.tie)
        .run(&self.tables)
        .await?;
        Ok(())
    }

    pub(crate) async fn forget_arrival(&self, room: &RoomId) -> Result<(), LinksError> {
        query("DELETE FROM arrival WHERE room_id = $1")
            .bind(room.as_str())
            .run(&self.tables)
            .await?;
        Ok(())
    }
}
