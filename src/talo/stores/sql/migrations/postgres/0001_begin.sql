-- Where a message is, is which table names it: ready, delayed or leased. The message itself is written once and read once.
-- Rows of the small tables live for milliseconds: they are vacuumed by number of rows, not by share, and without pauses.

-- Message ids, places, tokens, owners and bus numbers are drawn from here, so none of them is ever used twice.
CREATE SEQUENCE talo_serial AS bigint CACHE 1;

CREATE TABLE talo_message (
    id bigint PRIMARY KEY,
    queue text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    task_id text COLLATE "C",
    task text COLLATE "C",
    head bytea NOT NULL,                     -- msgpack: headers, properties, content type and encoding, exchange, routing key
    body bytea NOT NULL,
    deliveries integer NOT NULL DEFAULT 0,   -- how often it was charged
    suspect integer NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Fetched in the order of place; what is given back gets a place below all others.
CREATE TABLE talo_ready (
    queue text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    place bigint NOT NULL,
    message bigint NOT NULL,
    PRIMARY KEY (queue, priority, place, message)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE talo_delayed (
    due double precision NOT NULL,
    message bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    PRIMARY KEY (due, message)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE talo_owner (
    id bigint NOT NULL UNIQUE,
    owner text COLLATE "C" PRIMARY KEY,
    worker text NOT NULL,
    slots integer NOT NULL,
    ends double precision NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE talo_lease (
    holder bigint NOT NULL,                  -- talo_owner.id
    token bigint NOT NULL,
    message bigint NOT NULL,
    PRIMARY KEY (holder, token)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE talo_dead (
    id bigint PRIMARY KEY,
    queue text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    task_id text COLLATE "C",
    task text COLLATE "C",
    head bytea NOT NULL,
    body bytea NOT NULL,
    deliveries integer NOT NULL,
    death text NOT NULL,                     -- JSON
    died double precision NOT NULL,
    expires double precision
);
CREATE INDEX talo_dead_task_id ON talo_dead (task_id);
CREATE INDEX talo_dead_expires ON talo_dead (expires) WHERE expires IS NOT NULL;

CREATE TABLE talo_result (
    task_id text COLLATE "C" PRIMARY KEY,
    status text NOT NULL,
    ready boolean NOT NULL,
    payload bytea NOT NULL,
    expires double precision
) WITH (fillfactor = 90, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX talo_result_expires ON talo_result (expires) WHERE expires IS NOT NULL;

CREATE TABLE talo_group (
    group_id text COLLATE "C" PRIMARY KEY,
    payload bytea NOT NULL,
    expires double precision
);
CREATE INDEX talo_group_expires ON talo_group (expires) WHERE expires IS NOT NULL;

-- What is said on the bus is for those who listen now: a crash of the server may forget it.
CREATE UNLOGGED TABLE talo_bus (
    id bigint PRIMARY KEY,
    channel text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    expires double precision NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE talo_lock (
    name text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    expires double precision NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX talo_lock_expires ON talo_lock (expires);

CREATE TABLE talo_mark (
    kind text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL,
    expires double precision NOT NULL,
    PRIMARY KEY (kind, member)
);
CREATE INDEX talo_mark_expires ON talo_mark (expires);
