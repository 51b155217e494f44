-- What waits on a broker beside this store, and who has fetched it: for brokers that show nothing.

CREATE TABLE talo_ledger (
    task_id TEXT NOT NULL,
    queue TEXT NOT NULL,
    task TEXT NOT NULL,
    root TEXT NOT NULL,                      -- empty: itself
    sent REAL NOT NULL,
    since REAL NOT NULL,                     -- when it may be fetched
    expires REAL NOT NULL,
    owner TEXT,                              -- who has fetched it; NULL: it waits
    token INTEGER,
    worker TEXT,
    held REAL,                               -- since when
    PRIMARY KEY (task_id, queue)
) WITHOUT ROWID;
CREATE INDEX talo_ledger_waiting ON talo_ledger (queue, since) WHERE owner IS NULL;
CREATE INDEX talo_ledger_held ON talo_ledger (owner, token) WHERE owner IS NOT NULL;
CREATE INDEX talo_ledger_expires ON talo_ledger (expires);
