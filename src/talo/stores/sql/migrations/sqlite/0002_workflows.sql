-- Groups that something waits for, and the plans of steps to come.
CREATE TABLE talo_workflow (
    id TEXT PRIMARY KEY,
    size INTEGER NOT NULL,                   -- members that make it complete; 0: a plan only
    filled INTEGER NOT NULL DEFAULT 0,       -- distinct members whose part is there
    continuation BLOB,                       -- msgpack: the message to send when it is complete
    plan BLOB NOT NULL,
    closed INTEGER NOT NULL DEFAULT 0,
    completed_by TEXT,                       -- the member that made it complete
    keep REAL,                               -- seconds from each part on
    expires REAL
) WITHOUT ROWID;
CREATE INDEX talo_workflow_expires ON talo_workflow (expires) WHERE expires IS NOT NULL;

CREATE TABLE talo_part (
    workflow TEXT NOT NULL,
    member TEXT NOT NULL,
    place INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (workflow, member)
) WITHOUT ROWID;
