-- A counter is one row with its two histograms: what a batch adds is one statement, and a page reads few rows.
-- talo_count, which has a row for every bucket, stays for workers of the release before.

CREATE TABLE talo_counter (
    width integer NOT NULL,  -- of the period, in seconds
    start bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    shard integer NOT NULL,  -- so that many who write do not wait for one row
    ended integer NOT NULL,
    run_micros bigint NOT NULL,
    wait_micros bigint NOT NULL,
    {0..25: run# integer NOT NULL},  -- how many ran so long, by buckets
    {0..25: wait# integer NOT NULL},
    PRIMARY KEY (width, start, name, queue, state, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);
