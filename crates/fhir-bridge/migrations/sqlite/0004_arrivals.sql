-- Rooms into which somebody came from another homeserver a moment ago, and when an event has to be sent there that tells
-- that homeserver of what was sent meanwhile. All in Unix time in ms.
CREATE TABLE arrival (
    room_id TEXT PRIMARY KEY,
    came_ms INTEGER NOT NULL,
    tie_ms  INTEGER
) STRICT, WITHOUT ROWID;
