-- The journal: what came in, kept until every handler has finished with it.
-- One writer at a time, which gives the ids: they grow in the order in which entries were taken in.

-- Transactions as the homeserver pushed them, one row each: the only thing that is written before
-- the 200. A row goes when each of its entries is done, or stored as a row of its own.
CREATE TABLE inbox (
    id          INTEGER PRIMARY KEY,            -- given by the store, always growing
    txn_id      TEXT    NOT NULL,               -- for the log; homeservers reset them, so never a key
    received_at INTEGER NOT NULL,               -- Unix time, ms
    body        BLOB    NOT NULL
) STRICT;

-- Entries that are not done yet, and those that wait for longer than memory should hold them.
CREATE TABLE entry (
    id          INTEGER PRIMARY KEY,            -- given by the journal
    reader      TEXT    NOT NULL,               -- who reads it; '' is the one without a name
    source      TEXT    NOT NULL,               -- 'matrix', 'matrix.…', or a name of the application's choice
    key         TEXT,                           -- natural key
    lane        TEXT    NOT NULL,               -- entries of one lane are worked in order
    slot        TEXT,                           -- only the latest of a slot counts
    state       INTEGER NOT NULL DEFAULT 0,     -- 0 waiting, 1 done and kept for a while, 2 dead letter, 4 kept till asked for
    attempts    INTEGER NOT NULL DEFAULT 0,     -- failed attempts that count
    received_at INTEGER NOT NULL,               -- Unix time, ms
    due_at      INTEGER NOT NULL DEFAULT 0,     -- Unix time, ms: not to be tried before; of one that is done, when
    begun       INTEGER NOT NULL DEFAULT 0,     -- a handler may have begun with it
    error       TEXT,                           -- class of the last failure, never content
    payload     BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_slot    ON entry (slot)       WHERE slot IS NOT NULL;
CREATE INDEX        entry_waiting ON entry (reader, id) WHERE state = 0 AND slot IS NULL;
CREATE INDEX        entry_latest  ON entry (reader, id) WHERE state = 0 AND slot IS NOT NULL;
CREATE INDEX        entry_lane    ON entry (lane, id)   WHERE state = 0;
CREATE INDEX        entry_kept    ON entry (source, id) WHERE state = 4;
CREATE INDEX        entry_dead    ON entry (id)         WHERE state = 2;
CREATE INDEX        entry_done    ON entry (due_at)     WHERE state = 1;

-- What was taken in before: a second append of it does nothing. Hashes of reader, source and natural key.
CREATE TABLE seen (
    key BLOB    PRIMARY KEY,
    at  INTEGER NOT NULL                        -- Unix time, ms
) STRICT, WITHOUT ROWID;

-- What was settled and is not in its place yet: one short row at the end instead of a page for each key.
CREATE TABLE settled (
    id           INTEGER PRIMARY KEY,           -- given by the store
    at           INTEGER NOT NULL,              -- Unix time, ms
    keys         BLOB    NOT NULL,              -- to go to `seen`, 22 bytes each
    transactions BLOB    NOT NULL,              -- ids to leave `inbox`, 8 bytes each, little-endian
    done         INTEGER NOT NULL               -- to be added to the counter
) STRICT;

-- How far a reader of another system has come. A cursor moves in the commit that appends what it read.
CREATE TABLE cursor (
    name     TEXT    PRIMARY KEY,
    value    TEXT    NOT NULL,
    moved_at INTEGER NOT NULL                   -- Unix time, ms
) STRICT;

-- Numbers that would take too long to count.
CREATE TABLE counter (
    name  TEXT    PRIMARY KEY,                  -- 'done': entries that were done or skipped
    value INTEGER NOT NULL
) STRICT;
INSERT INTO counter (name, value) VALUES ('done', 0);
