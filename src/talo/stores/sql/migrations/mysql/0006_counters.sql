-- A counter is one row with its two histograms: what a batch adds is one statement, and a page reads few rows.
-- talo_count, which has a row for every bucket, stays for workers of the release before.

CREATE TABLE IF NOT EXISTS talo_counter (
    width INT NOT NULL,  -- of the period, in seconds
    start BIGINT NOT NULL,
    name VARCHAR(255) NOT NULL,
    queue VARCHAR(255) NOT NULL,
    state VARCHAR(20) NOT NULL,
    shard INT NOT NULL,  -- so that many who write do not wait for one row
    ended INT NOT NULL,
    run_micros BIGINT NOT NULL,
    wait_micros BIGINT NOT NULL,
    {0..25: run# INT NOT NULL},  -- how many ran so long, by buckets
    {0..25: wait# INT NOT NULL},
    PRIMARY KEY (width, start, name, queue, state, shard)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
