-- Counters of what ended, and the runs that are kept.

CREATE TABLE talo_count (
    width integer NOT NULL,                  -- of the period, in seconds
    start bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,                      -- run or wait
    bucket integer NOT NULL,
    shard integer NOT NULL,                  -- so that many who write do not wait for one row
    count bigint NOT NULL,
    micros bigint NOT NULL,
    PRIMARY KEY (width, start, name, queue, state, kind, bucket, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

-- What is searched stands apart from what is shown, so that a search reads narrow rows.
CREATE TABLE talo_history (
    seq bigint PRIMARY KEY,                 -- from talo_serial
    ended double precision NOT NULL,
    state text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    worker text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    attempt integer NOT NULL,
    root text COLLATE "C",                               -- NULL: itself
    fingerprint text COLLATE "C",
    error text COLLATE "C",
    expires double precision NOT NULL
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
    seq bigint PRIMARY KEY,
    run bytea NOT NULL                        -- msgpack
);
