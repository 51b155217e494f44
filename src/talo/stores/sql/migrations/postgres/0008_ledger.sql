-- What waits on a broker beside this store, and who has fetched it: for brokers that show nothing.

CREATE TABLE talo_ledger (
    task_id text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    task text COLLATE "C" NOT NULL,
    root text COLLATE "C" NOT NULL,          -- empty: itself
    sent double precision NOT NULL,
    since double precision NOT NULL,         -- when it may be fetched
    expires double precision NOT NULL,
    owner text COLLATE "C",                  -- who has fetched it; NULL: it waits
    token bigint,
    worker text COLLATE "C",
    held double precision,                   -- since when
    PRIMARY KEY (task_id, queue)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX talo_ledger_waiting ON talo_ledger (queue, since) WHERE owner IS NULL;
CREATE INDEX talo_ledger_held ON talo_ledger (owner, token) WHERE owner IS NOT NULL;
CREATE INDEX talo_ledger_expires ON talo_ledger (expires);
