-- Counters of what ended, and the runs that are kept.

CREATE TABLE IF NOT EXISTS talo_count (
    width INT NOT NULL,  -- of the period, in seconds
    start BIGINT NOT NULL,
    name VARCHAR(255) NOT NULL,
    queue VARCHAR(255) NOT NULL,
    state VARCHAR(20) NOT NULL,
    kind VARCHAR(20) NOT NULL,  -- run or wait
    bucket INT NOT NULL,
    shard INT NOT NULL,  -- so that many who write do not wait for one row
    count BIGINT NOT NULL,
    micros BIGINT NOT NULL,
    PRIMARY KEY (width, start, name, queue, state, kind, bucket, shard)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What is searched stands apart from what is shown, so that a search reads narrow rows.
CREATE TABLE IF NOT EXISTS talo_history (
    seq BIGINT PRIMARY KEY,  -- from talo_serial
    ended DOUBLE NOT NULL,
    state VARCHAR(20) NOT NULL,
    name VARCHAR(255) NOT NULL,
    queue VARCHAR(255) NOT NULL,
    worker VARCHAR(255) NOT NULL,
    id VARCHAR(255) NOT NULL,
    attempt INT NOT NULL,
    root VARCHAR(255),  -- NULL: itself
    fingerprint VARCHAR(255),
    error LONGTEXT,
    expires DOUBLE NOT NULL,
    KEY talo_history_ended (ended),
    KEY talo_history_id (id),
    KEY talo_history_root (root),
    KEY talo_history_name (name, state, ended),
    KEY talo_history_state (state, ended),
    KEY talo_history_queue (queue, ended),
    KEY talo_history_worker (worker, ended),
    KEY talo_history_fingerprint (fingerprint, ended),
    KEY talo_history_error (ended),
    KEY talo_history_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_history_detail (
    seq BIGINT PRIMARY KEY,
    run LONGBLOB NOT NULL  -- msgpack
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
