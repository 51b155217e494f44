-- Periodic tasks and the ledger of their runs.

CREATE TABLE talo_plan (
    space TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,                -- drawn from talo_serial at every change
    plan BLOB,                               -- JSON; NULL: removed
    PRIMARY KEY (space, name)
) WITHOUT ROWID;
CREATE INDEX talo_plan_version ON talo_plan (space, version);

CREATE TABLE talo_run (
    space TEXT NOT NULL,
    name TEXT NOT NULL,
    id INTEGER NOT NULL,                     -- from talo_serial: the order
    run BLOB NOT NULL,                       -- JSON
    PRIMARY KEY (space, name, id)
) WITHOUT ROWID;
