//! Into which rooms somebody came from another homeserver a moment ago.

use matrix_appservice::ruma::{OwnedRoomId, RoomId};

use super::{Links, LinksError};

/// When somebody came, and when what was sent meanwhile has to be tied to it. Unix time in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) came: i64,
    pub(crate) tie: Option<i64>,
}

impl Links {
    pub(crate) async fn arrivals(&self) -> Result<Vec<(OwnedRoomId, Arrival)>, LinksError> {
        let rows: Vec<(String, i64, Option<i64>)> =
            sqlx::query_as("SELECT room_id, came_ms, tie_ms FROM arrival")
                .fetch_all(&self.pool)
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
        sqlx::query(
            "INSERT INTO arrival (room_id, came_ms, tie_ms) VALUES (?, ?, ?)
             ON CONFLICT (room_id) DO UPDATE SET came_ms = excluded.came_ms, tie_ms = excluded.tie_ms",
        )
        .bind(room.as_str())
        .bind(arrival.came)
        .bind(arrival.tie)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub(crate) async fn forget_arrival(&self, room: &RoomId) -> Result<(), LinksError> {
        sqlx::query("DELETE FROM arrival WHERE room_id = ?")
            .bind(room.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
