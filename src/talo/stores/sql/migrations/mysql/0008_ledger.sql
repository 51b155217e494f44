-- What waits on a broker beside this store, and who has fetched it: for brokers that show nothing.

CREATE TABLE IF NOT EXISTS talo_ledger (
    task_id VARCHAR(255) NOT NULL,
    queue VARCHAR(270) NOT NULL,  -- with the broker's mark before it
    task VARCHAR(255) NOT NULL,
    root VARCHAR(255) NOT NULL,  -- empty: itself
    sent DOUBLE NOT NULL,
    since DOUBLE NOT NULL,  -- when it may be fetched
    expires DOUBLE NOT NULL,
    owner VARCHAR(255),  -- who has fetched it; NULL: it waits
    token BIGINT,
    worker VARCHAR(255),
    held DOUBLE,  -- since when
    PRIMARY KEY (task_id, queue),
    KEY talo_ledger_waiting (queue, since),
    KEY talo_ledger_held (owner, token),
    KEY talo_ledger_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
