-- The journal: what came in, kept until every handler has finished with it.
-- One writer at a time; ids grow in the order of commits.

-- Transactions as the homeserver pushed them, one row each: the only thing that is written before
-- the 200. They are split into entries behind the answer and then deleted.
CREATE TABLE inbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    txn_id      TEXT    NOT NULL,               -- for the log; homeservers reset them, so never a key
    received_at INTEGER NOT NULL,               -- Unix time, ms
    body        BLOB    NOT NULL
) STRICT;

-- The entries, worked off by lane, oldest first.
CREATE TABLE entry (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT    NOT NULL,               -- 'matrix', 'matrix.…', or a name of the application's choice
    key         TEXT,                           -- natural key; a second append of it does nothing
    lane        TEXT    NOT NULL,               -- entries of one lane are worked in order
    slot        TEXT,                           -- only the latest of a slot counts; it is deleted when done
    state       INTEGER NOT NULL DEFAULT 0,     -- 0 waiting, 1 done, 2 dead letter, 3 skipped, 4 kept till asked for
    attempts    INTEGER NOT NULL DEFAULT 0,     -- failed attempts that count
    received_at INTEGER NOT NULL,               -- Unix time, ms
    due_at      INTEGER NOT NULL DEFAULT 0,     -- Unix time, ms: not to be tried before
    error       TEXT,                           -- class of the last failure, never content
    payload     BLOB                            -- erased when done
) STRICT;
CREATE UNIQUE INDEX entry_key     ON entry (source, key) WHERE key IS NOT NULL;
CREATE UNIQUE INDEX entry_slot    ON entry (slot)       WHERE slot IS NOT NULL;
CREATE INDEX        entry_waiting ON entry (id)         WHERE state = 0 AND slot IS NULL;
CREATE INDEX        entry_latest  ON entry (id)         WHERE state = 0 AND slot IS NOT NULL;
CREATE INDEX        entry_lane    ON entry (lane, id)   WHERE state = 0;
CREATE INDEX        entry_kept    ON entry (source, id) WHERE state = 4;
CREATE INDEX        entry_dead    ON entry (id)         WHERE state = 2;

-- How far a reader of another system has come. A cursor moves in the commit that appends what it read.
CREATE TABLE cursor (
    name     TEXT    PRIMARY KEY,
    value    TEXT    NOT NULL,
    moved_at INTEGER NOT NULL                   -- Unix time, ms
) STRICT;
