-- A delayed message is found by its task, to be given another time. What an older release delays has no task here, and is
-- found by its message.

ALTER TABLE talo_delayed ADD COLUMN IF NOT EXISTS task_id text COLLATE "C";
CREATE INDEX IF NOT EXISTS talo_delayed_task_id ON talo_delayed (task_id);
