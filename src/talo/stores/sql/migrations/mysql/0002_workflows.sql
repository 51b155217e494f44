-- Groups that something waits for, and the plans of steps to come.
CREATE TABLE IF NOT EXISTS talo_workflow (
    id VARCHAR(255) PRIMARY KEY,
    size INT NOT NULL,  -- members that make it complete; 0: a plan only
    filled INT NOT NULL DEFAULT 0,  -- distinct members whose part is there
    continuation LONGBLOB,  -- msgpack: the message to send when it is complete
    plan LONGBLOB NOT NULL,
    closed INT NOT NULL DEFAULT 0,
    completed_by VARCHAR(255),  -- the member that made it complete
    keep DOUBLE,  -- seconds from each part on
    expires DOUBLE,
    KEY talo_workflow_expires (expires)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS talo_part (
    workflow VARCHAR(255) NOT NULL,
    member VARCHAR(255) NOT NULL,
    place INT NOT NULL,
    payload LONGBLOB NOT NULL,
    PRIMARY KEY (workflow, member)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
