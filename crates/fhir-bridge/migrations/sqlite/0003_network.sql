-- Care networks: who was brought into which room, and what has to be looked at again when something changes. Ids only.

-- Whom a space or room was last brought in line with, so that what the FHIR server changed can be told from what people
-- decided in Matrix.
CREATE TABLE placed (
    resource TEXT NOT NULL,
    user_id  TEXT NOT NULL,
    person   TEXT NOT NULL,
    -- Whether they were seen to be in the room.
    joined   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (resource, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX placed_user ON placed (user_id);

-- Who was a member of a care team and is no longer: they are kept out of its conversations too.
CREATE TABLE former (
    team   TEXT NOT NULL,
    person TEXT NOT NULL,
    PRIMARY KEY (team, person)
) STRICT, WITHOUT ROWID;

-- Which resource has to be looked at again when another one changes: a conversation when its care team does.
CREATE TABLE depends (
    resource TEXT NOT NULL,
    on_what  TEXT NOT NULL,
    PRIMARY KEY (resource, on_what)
) STRICT, WITHOUT ROWID;
CREATE INDEX depends_on ON depends (on_what);

-- When a resource has to be looked at again although nothing changes: a membership ends, an invitation could not be sent.
CREATE TABLE due (
    resource TEXT PRIMARY KEY,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX due_at ON due (at_ms);

-- How open a resource's room is.
CREATE TABLE phase (
    resource TEXT PRIMARY KEY,
    phase    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Which account a person has, and a keyed hash of what proves that the next one is theirs too.
CREATE TABLE identity (
    person  TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    proof   TEXT
) STRICT, WITHOUT ROWID;

-- How many ghosts of a person were deactivated: the next one bears this number.
CREATE TABLE retired (
    person TEXT PRIMARY KEY,
    ghosts INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rooms of others that our users were invited to, and whom they are about.
CREATE TABLE guest_room (
    room_id   TEXT PRIMARY KEY,
    pseudonym TEXT NOT NULL,
    client    TEXT
) STRICT, WITHOUT ROWID;

-- Rooms that people hung into a space and that are not bridged yet.
CREATE TABLE hung (
    room_id TEXT PRIMARY KEY,
    team    TEXT NOT NULL,
    user_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The conversations whose own payload was sent, and the first event of it.
CREATE TABLE first_message (
    resource TEXT PRIMARY KEY,
    event_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
