-- Resources whose room was unlinked: they get no other one by themselves until they are linked again, or somebody says
-- that they may.
CREATE TABLE unlinked (
    resource TEXT PRIMARY KEY,
    room_id  TEXT NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX unlinked_room ON unlinked (room_id);

-- Rooms that were unlinked and that the bridge has still to leave, or (`keep`) to stay in without a link.
CREATE TABLE leaving (
    room_id  TEXT PRIMARY KEY,
    resource TEXT NOT NULL,
    keep     INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
