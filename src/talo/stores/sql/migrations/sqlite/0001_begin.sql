-- Where a message is, is which table names it: ready, delayed or leased. The message itself is written once and read once.

-- One counter from which message ids, places, tokens, owners and bus numbers are drawn, so none of them is ever used twice.
CREATE TABLE talo_serial (value INTEGER NOT NULL);
INSERT INTO talo_serial VALUES (0);

CREATE TABLE talo_message (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    task_id TEXT,
    task TEXT,
    head BLOB NOT NULL,                      -- msgpack: headers, properties, content type and encoding, exchange, routing key
    body BLOB NOT NULL,
    deliveries INTEGER NOT NULL DEFAULT 0,   -- how often it was charged
    suspect INTEGER NOT NULL DEFAULT 0
);

-- Fetched in the order of place; what is given back gets a place below all others.
CREATE TABLE talo_ready (
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    place INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (queue, priority, place, message)
) WITHOUT ROWID;

CREATE TABLE talo_delayed (
    due REAL NOT NULL,
    message INTEGER NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    PRIMARY KEY (due, message)
) WITHOUT ROWID;

CREATE TABLE talo_owner (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL UNIQUE,
    worker TEXT NOT NULL,
    slots INTEGER NOT NULL,
    ends REAL NOT NULL
);

CREATE TABLE talo_lease (
    holder INTEGER NOT NULL,                 -- talo_owner.id
    token INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (holder, token)
) WITHOUT ROWID;

CREATE TABLE talo_dead (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    task_id TEXT,
    task TEXT,
    head BLOB NOT NULL,
    body BLOB NOT NULL,
    deliveries INTEGER NOT NULL,
    death TEXT NOT NULL,                     -- JSON
    died REAL NOT NULL,
    expires REAL
);
CREATE INDEX talo_dead_task_id ON talo_dead (task_id);
CREATE INDEX talo_dead_expires ON talo_dead (expires) WHERE expires IS NOT NULL;

CREATE TABLE talo_result (
    task_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    ready INTEGER NOT NULL,
    payload BLOB NOT NULL,
    expires REAL
);
CREATE INDEX talo_result_expires ON talo_result (expires) WHERE expires IS NOT NULL;

CREATE TABLE talo_group (
    group_id TEXT PRIMARY KEY,
    payload BLOB NOT NULL,
    expires REAL
);
CREATE INDEX talo_group_expires ON talo_group (expires) WHERE expires IS NOT NULL;

CREATE TABLE talo_bus (
    id INTEGER PRIMARY KEY,
    channel TEXT NOT NULL,
    payload BLOB NOT NULL,
    expires REAL NOT NULL
);

CREATE TABLE talo_lock (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX talo_lock_expires ON talo_lock (expires);

CREATE TABLE talo_mark (
    kind TEXT NOT NULL,
    member TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (kind, member)
) WITHOUT ROWID;
CREATE INDEX talo_mark_expires ON talo_mark (expires);
