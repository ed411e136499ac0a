-- What is known of each message, so that changes on either side find the other.
CREATE TABLE message (
    -- In the order in which they were bridged: what a receipt means by "up to here".
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,
    resource          TEXT NOT NULL UNIQUE,
    room_id           TEXT NOT NULL,
    -- Who sent it in Matrix: one of our ghosts, or somebody with an account.
    sender            TEXT NOT NULL,
    from_matrix       INTEGER NOT NULL,
    -- sending: some of its parts may not be in the room yet. live. retracting: being marked in the record
    -- as an error, because it was redacted. gone: taken back on both sides.
    state             TEXT NOT NULL,
    -- A keyed hash of what it says on both sides.
    fingerprint       TEXT NOT NULL,
    -- The same of what is about to be written into the record.
    pending           TEXT,
    -- When what it says was written (ms), and whether in the record rather than in Matrix.
    changed_at        INTEGER NOT NULL,
    changed_in_record INTEGER NOT NULL,
    -- The bridge's own notice of what the record says now, where its sender's event can't be edited.
    correction        TEXT,
    -- When it was linked (ms).
    linked_at         INTEGER NOT NULL
) STRICT;

-- The keyed hash of what each part says.
ALTER TABLE event ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';

-- Edits of events, so that they go when the message is taken back.
CREATE TABLE edit (
    event_id TEXT PRIMARY KEY,
    resource TEXT NOT NULL,
    edits    TEXT NOT NULL
) STRICT;
CREATE INDEX edit_of_resource ON edit (resource);

-- Files that the bridge stored in the record for a message.
CREATE TABLE file (
    file     TEXT PRIMARY KEY,
    resource TEXT NOT NULL
) STRICT;
CREATE INDEX file_of_resource ON file (resource);

-- Who has to read a message, and whether they have.
CREATE TABLE task (
    task      TEXT PRIMARY KEY,
    message   TEXT NOT NULL,
    owner     TEXT NOT NULL,
    completed INTEGER NOT NULL
) STRICT;
CREATE INDEX task_of_owner ON task (owner, completed);

-- How far somebody has read in a room, as a `seq`.
CREATE TABLE reading (
    room_id TEXT NOT NULL,
    reader  TEXT NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (room_id, reader)
) STRICT;
