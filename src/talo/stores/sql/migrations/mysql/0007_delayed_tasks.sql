-- A delayed message is found by its task, to be given another time. What an older release delays has no task here, and is
-- found by its message. A statement here commits by itself, and MySQL adds no column twice: it is asked whether it has it.

SET @talo_step = IF(
    (SELECT count(*) FROM information_schema.columns
        WHERE table_schema = database() AND table_name = 'talo_delayed' AND column_name = 'task_id') = 0,
    'ALTER TABLE talo_delayed ADD COLUMN task_id VARCHAR(255), ADD KEY talo_delayed_task_id (task_id)',
    'DO 0'
);
PREPARE talo_step FROM @talo_step;
EXECUTE talo_step;
DEALLOCATE PREPARE talo_step;
