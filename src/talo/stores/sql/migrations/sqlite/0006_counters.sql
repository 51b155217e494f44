-- A counter is one row with its two histograms: what a batch adds is one statement, and a page reads few rows.
-- talo_count, which has a row for every bucket, stays for workers of the release before.

CREATE TABLE talo_counter (
    width INTEGER NOT NULL,  -- of the period, in seconds
    start INTEGER NOT NULL,
    name TEXT NOT NULL,
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    shard INTEGER NOT NULL,  -- so that many who write do not wait for one row
    ended INTEGER NOT NULL,
    run_micros INTEGER NOT NULL,
    wait_micros INTEGER NOT NULL,
    {0..25: run# INTEGER NOT NULL},  -- how many ran so long, by buckets
    {0..25: wait# INTEGER NOT NULL},
    PRIMARY KEY (width, start, name, queue, state, shard)
) WITHOUT ROWID;
