-- Counters of what ended, and the runs that are kept.

CREATE TABLE talo_count (
    width INTEGER NOT NULL,                  -- of the period, in seconds
    start INTEGER NOT NULL,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    kind TEXT NOT NULL,                      -- run or wait
    bucket INTEGER NOT NULL,
    shard INTEGER NOT NULL,                  -- so that many who write do not wait for one row
    count INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    PRIMARY KEY (width, start, name, queue, state, kind, bucket, shard)
) WITHOUT ROWID;

-- What is searched stands apart from what is shown, so that a search reads narrow rows.
CREATE TABLE talo_history (
    seq INTEGER PRIMARY KEY,                 -- from talo_serial
    ended REAL NOT NULL,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    worker TEXT NOT NULL,
    id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    root TEXT,                               -- NULL: itself
    fingerprint TEXT,
    error TEXT,
    expires REAL NOT NULL
);
CREATE INDEX talo_history_ended ON talo_history (ended);
CREATE INDEX talo_history_id ON talo_history (id);
CREATE INDEX talo_history_root ON talo_history (root) WHERE root IS NOT NULL;
CREATE INDEX talo_history_name ON talo_history (name, state, ended);
CREATE INDEX talo_history_state ON talo_history (state, ended);
CREATE INDEX talo_history_queue ON talo_history (queue, ended);
CREATE INDEX talo_history_worker ON talo_history (worker, ended);
CREATE INDEX talo_history_fingerprint ON talo_history (fingerprint, ended) WHERE fingerprint IS NOT NULL;
CREATE INDEX talo_history_error ON talo_history (ended) WHERE error IS NOT NULL;
CREATE INDEX talo_history_expires ON talo_history (expires);

CREATE TABLE talo_history_detail (
    seq INTEGER PRIMARY KEY,
    run BLOB NOT NULL                        -- msgpack
);
