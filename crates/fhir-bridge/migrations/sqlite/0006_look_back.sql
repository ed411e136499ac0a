-- Rooms in which somebody of another homeserver did something, when to look next for what the homeserver never pushed
-- (Unix time in ms), and which look that is.
CREATE TABLE look_back (
    room_id TEXT PRIMARY KEY,
    due_ms  INTEGER NOT NULL,
    look    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
