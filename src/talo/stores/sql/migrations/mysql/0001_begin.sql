-- Where a message is, is which table names it: ready, delayed or leased. The message itself is written once and read once.
-- A statement here commits by itself, so each can be repeated.

-- Message ids, places, tokens, owners and bus numbers are drawn from here, so none of them is ever used twice.
CREATE TABLE IF NOT EXISTS talo_serial (value BIGINT PRIMARY KEY AUTO_INCREMENT) ENGINE = InnoDB;

-- Whoever writes a row here is alone with it until the commit.
CREATE TABLE IF NOT EXISTS talo_gate (name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS talo_message (
    id BIGINT PRIMARY KEY,
    queue VARCHAR(255) NOT NULL,
    priority INT NOT NULL,
    task_id VARCHAR(255),
    task VARCHAR(255),
    head LONGBLOB NOT NULL,  -- msgpack: headers, properties, content type and encoding, exchange, routing key
    body LONGBLOB NOT NULL,
    deliveries INT NOT NULL DEFAULT 0,  -- how often it was charged
    suspect INT NOT NULL DEFAULT 0
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Fetched in the order of place; what is given back gets a place below all others.
CREATE TABLE IF NOT EXISTS talo_ready (
    queue VARCHAR(255) NOT NULL,
    priority INT NOT NULL,
    place BIGINT NOT NULL,
    message BIGINT NOT NULL,
    PRIMARY KEY (queue, priority, place, message),
    UNIQUE KEY talo_ready_message (message)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_delayed (
    due DOUBLE NOT NULL,
    message BIGINT NOT NULL,
    queue VARCHAR(255) NOT NULL,
    priority INT NOT NULL,
    PRIMARY KEY (due, message),
    UNIQUE KEY talo_delayed_message (message)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_owner (
    id BIGINT NOT NULL UNIQUE,
    owner VARCHAR(255) PRIMARY KEY,
    worker VARCHAR(255) NOT NULL,
    slots INT NOT NULL,
    ends DOUBLE NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_lease (
    holder BIGINT NOT NULL,  -- talo_owner.id
    token BIGINT NOT NULL,
    message BIGINT NOT NULL,
    PRIMARY KEY (holder, token)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_dead (
    id BIGINT PRIMARY KEY,
    queue VARCHAR(255) NOT NULL,
    priority INT NOT NULL,
    task_id VARCHAR(255),
    task VARCHAR(255),
    head LONGBLOB NOT NULL,
    body LONGBLOB NOT NULL,
    deliveries INT NOT NULL,
    death LONGTEXT NOT NULL,  -- JSON
    died DOUBLE NOT NULL,
    expires DOUBLE,
    KEY talo_dead_task_id (task_id),
    KEY talo_dead_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_result (
    task_id VARCHAR(255) PRIMARY KEY,
    status VARCHAR(255) NOT NULL,
    ready BOOLEAN NOT NULL,
    payload LONGBLOB NOT NULL,
    expires DOUBLE,
    KEY talo_result_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_group (
    group_id VARCHAR(255) PRIMARY KEY,
    payload LONGBLOB NOT NULL,
    expires DOUBLE,
    KEY talo_group_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What is said on the bus is for those who listen now: a crash of the server may forget it.
CREATE TABLE IF NOT EXISTS talo_bus (
    id BIGINT PRIMARY KEY,
    channel VARCHAR(255) NOT NULL,
    payload LONGBLOB NOT NULL,
    expires DOUBLE NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_lock (
    name VARCHAR(255) PRIMARY KEY,
    holder VARCHAR(255) NOT NULL,
    expires DOUBLE NOT NULL,
    KEY talo_lock_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_mark (
    kind VARCHAR(255) NOT NULL,
    member VARCHAR(255) NOT NULL,
    expires DOUBLE NOT NULL,
    PRIMARY KEY (kind, member),
    KEY talo_mark_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
