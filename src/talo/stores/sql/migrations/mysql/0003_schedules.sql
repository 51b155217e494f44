-- Periodic tasks and the ledger of their runs.
CREATE TABLE IF NOT EXISTS talo_plan (
    space VARCHAR(255) NOT NULL,
    name VARCHAR(255) NOT NULL,
    version BIGINT NOT NULL,  -- drawn from talo_serial at every change
    plan LONGBLOB,  -- JSON; NULL: removed
    PRIMARY KEY (space, name),
    KEY talo_plan_version (space, version)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_run (
    space VARCHAR(255) NOT NULL,
    name VARCHAR(255) NOT NULL,
    id BIGINT NOT NULL,  -- from talo_serial: the order
    run LONGBLOB NOT NULL,  -- JSON
    PRIMARY KEY (space, name, id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
