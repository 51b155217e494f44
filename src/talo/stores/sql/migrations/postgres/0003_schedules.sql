-- Periodic tasks and the ledger of their runs.
CREATE TABLE talo_plan (
    space text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,                 -- drawn from talo_serial at every change
    plan bytea,                              -- JSON; NULL: removed
    PRIMARY KEY (space, name)
);
CREATE INDEX talo_plan_version ON talo_plan (space, version);

CREATE TABLE talo_run (
    space text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    id bigint NOT NULL,                      -- from talo_serial: the order
    run bytea NOT NULL,                      -- JSON
    PRIMARY KEY (space, name, id)
);
