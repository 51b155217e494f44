-- Groups that something waits for, and the plans of steps to come.
CREATE TABLE talo_workflow (
    id text COLLATE "C" PRIMARY KEY,
    size integer NOT NULL,                   -- members that make it complete; 0: a plan only
    filled integer NOT NULL DEFAULT 0,       -- distinct members whose part is there
    continuation bytea,                      -- msgpack: the message to send when it is complete
    plan bytea NOT NULL,
    closed integer NOT NULL DEFAULT 0,
    completed_by text COLLATE "C",           -- the member that made it complete
    keep double precision,                   -- seconds from each part on
    expires double precision
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX talo_workflow_expires ON talo_workflow (expires) WHERE expires IS NOT NULL;

CREATE TABLE talo_part (
    workflow text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL,
    place integer NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (workflow, member)
);
