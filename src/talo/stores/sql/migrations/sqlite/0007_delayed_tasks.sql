-- A delayed message is found by its task, to be given another time. What an older release delays has no task here, and is
-- found by its message.

DROP TABLE IF EXISTS talo_delayed_by_task;
CREATE TABLE talo_delayed_by_task (
    due REAL NOT NULL,
    message INTEGER NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    task_id TEXT,
    PRIMARY KEY (due, message)
) WITHOUT ROWID;
INSERT INTO talo_delayed_by_task (due, message, queue, priority) SELECT due, message, queue, priority FROM talo_delayed;
DROP TABLE talo_delayed;
ALTER TABLE talo_delayed_by_task RENAME TO talo_delayed;
CREATE INDEX talo_delayed_task_id ON talo_delayed (task_id);
