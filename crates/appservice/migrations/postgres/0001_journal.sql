-- The journal: what came in, kept until every handler has finished with it. The same tables as SQLite's.
-- One process at a time works on it, and gives the ids: they grow in the order in which entries were taken in.
--
-- Text has no NUL here, as PostgreSQL wants it: where one came in, \0 stands for it, and \\ for \.
-- COLLATE "C": names are compared as they are, byte by byte.

-- Who works on the journal. He also holds an advisory lock for as long as he is connected; the number
-- is for what he writes over another connection when he has lost that one, and somebody else took over.
CREATE TABLE holder (
    epoch BIGINT NOT NULL                                      -- one more each time the journal is opened
);
INSERT INTO holder (epoch) VALUES (0);

-- Transactions as the homeserver pushed them, one row each: the only thing that is written before
-- the 200. A row goes when each of its entries is done, or stored as a row of its own.
CREATE TABLE inbox (
    id          BIGINT   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    txn_id      TEXT     COLLATE "C" NOT NULL,                 -- for the log; homeservers reset them, so never a key
    received_at BIGINT   NOT NULL,                             -- Unix time, ms
    body        BYTEA    NOT NULL
);
-- The homeserver waits for this: no time for compression, nor for a second table while a page has room.
ALTER TABLE inbox ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE inbox SET (toast_tuple_target = 8160,
                       autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

-- Entries that are not done yet, and those that wait for longer than memory should hold them.
CREATE TABLE entry (
    id          BIGINT   PRIMARY KEY,                          -- given by the journal
    reader      TEXT     COLLATE "C" NOT NULL,                 -- who reads it; '' is the one without a name
    source      TEXT     COLLATE "C" NOT NULL,                 -- 'matrix', 'matrix.…', or a name of the application's choice
    key         TEXT     COLLATE "C",                          -- natural key
    lane        TEXT     COLLATE "C" NOT NULL,                 -- entries of one lane are worked in order
    slot        TEXT     COLLATE "C",                          -- only the latest of a slot counts
    state       SMALLINT NOT NULL DEFAULT 0,                   -- 0 waiting, 1 done and kept for a while, 2 dead letter, 4 kept till asked for
    attempts    BIGINT   NOT NULL DEFAULT 0,                   -- failed attempts that count
    received_at BIGINT   NOT NULL,                             -- Unix time, ms
    due_at      BIGINT   NOT NULL DEFAULT 0,                   -- Unix time, ms: not to be tried before; of one that is done, when
    begun       BOOLEAN  NOT NULL DEFAULT false,               -- a handler may have begun with it
    error       TEXT     COLLATE "C",                          -- class of the last failure, never content
    payload     BYTEA    NOT NULL
);
ALTER TABLE entry ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE entry SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
CREATE UNIQUE INDEX entry_slot    ON entry (slot)       WHERE slot IS NOT NULL;
CREATE INDEX        entry_waiting ON entry (reader, id) WHERE state = 0 AND slot IS NULL;
CREATE INDEX        entry_latest  ON entry (reader, id) WHERE state = 0 AND slot IS NOT NULL;
CREATE INDEX        entry_lane    ON entry (lane, id)   WHERE state = 0;
CREATE INDEX        entry_oldest  ON entry (id)         WHERE state = 0;
CREATE INDEX        entry_kept    ON entry (source, id) WHERE state = 4;
CREATE INDEX        entry_dead    ON entry (id)         WHERE state = 2;
CREATE INDEX        entry_done    ON entry (due_at)     WHERE state = 1;

-- What was taken in before: a second append of it does nothing. Hashes of reader, source and natural key.
CREATE TABLE seen (
    key TEXT   COLLATE "C" PRIMARY KEY,
    at  BIGINT NOT NULL                                        -- Unix time, ms
);
-- Rows stand in the order of their time, so that this is small and costs nothing.
CREATE INDEX seen_at ON seen USING brin (at) WITH (autosummarize = on);

-- How far a reader of another system has come. A cursor moves in the commit that appends what it read.
CREATE TABLE cursor (
    name     TEXT   COLLATE "C" PRIMARY KEY,
    value    TEXT   COLLATE "C" NOT NULL,
    moved_at BIGINT NOT NULL                                   -- Unix time, ms
);

-- Numbers that would take too long to count.
CREATE TABLE counter (
    name  TEXT   COLLATE "C" PRIMARY KEY,                      -- 'done': entries that were done or skipped
    value BIGINT NOT NULL
);
INSERT INTO counter (name, value) VALUES ('done', 0);
