-- What belongs together: ids only, never content.

-- Which resource is which room: CareTeam/1 a space, CommunicationRequest/7 a room.
CREATE TABLE room (
    resource TEXT PRIMARY KEY,
    room_id  TEXT NOT NULL UNIQUE
) STRICT;

-- Which message is which event. A Communication has one event for each part of its payload.
CREATE TABLE event (
    event_id TEXT PRIMARY KEY,
    resource TEXT NOT NULL,
    part     INTEGER NOT NULL,
    UNIQUE (resource, part)
) STRICT;

-- Whose Matrix account is whose resource, as the FHIR directory last said.
CREATE TABLE account (
    user_id  TEXT PRIMARY KEY,
    resource TEXT NOT NULL
) STRICT;

-- Made once by the bridge and needed for as long as its rooms live.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
