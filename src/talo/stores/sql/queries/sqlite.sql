-- Every step of the SQL store in SQLite's dialect. A list of values is one parameter, a JSON array.
-- A transaction that writes is alone, so no row needs a lock of its own.

-- name: draw
-- Draw ?1 numbers; the answer is the last of them.
UPDATE talo_serial SET value = value + ?1 RETURNING value;

-- name: drawn
SELECT value FROM talo_serial;

-- name: add_message
INSERT INTO talo_message (id, queue, priority, task_id, task, head, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7);

-- name: add_ready
-- Make the messages ?1, from ?2 to ?3, ready in the order in which they were sent.
INSERT INTO talo_ready (queue, priority, place, message)
SELECT queue, priority, id, id FROM talo_message WHERE id BETWEEN ?2 AND ?3;

-- name: add_delayed
INSERT INTO talo_delayed (due, message, queue, priority, task_id) VALUES (?1, ?2, ?3, ?4, ?5);

-- name: glance
-- What a turn of owner ?1 over the queues ?2 would find, without taking a lock.
SELECT
    (SELECT id FROM talo_owner WHERE owner = ?1),
    (SELECT due FROM talo_delayed ORDER BY due LIMIT 1),
    EXISTS (SELECT 1 FROM json_each(?2) AS wanted CROSS JOIN talo_ready AS ready ON ready.queue = wanted.value);

-- name: holder
-- An owner that stays open until the commit.
SELECT id, ends FROM talo_owner WHERE owner = ?1;

-- name: hold
-- An owner that nobody else turns with, takes over or renews until the commit.
SELECT id, ends FROM talo_owner WHERE owner = ?1;

-- name: find_owner
SELECT id, ends FROM talo_owner WHERE owner = ?1;

-- name: next_due
SELECT due FROM talo_delayed ORDER BY due LIMIT 1;

-- name: due
-- Choose up to ?2 messages that are due, which nobody else has chosen; leave_delayed takes them away.
SELECT due, message, queue, priority FROM talo_delayed WHERE due <= ?1 ORDER BY due, message LIMIT ?2;

-- name: leave_delayed
-- Of what due has chosen (?1, ?2) is the last, ?3 are the messages.
DELETE FROM talo_delayed WHERE (due, message) <= (?1, ?2);

-- name: place_ready
INSERT INTO talo_ready (queue, priority, place, message) VALUES (?1, ?2, ?3, ?4);

-- name: find_delayed
-- The delayed messages of the tasks ?1; those that an older release has delayed say only in the message whose they are.
SELECT due, message, queue, priority, task_id FROM talo_delayed
WHERE task_id IN (SELECT value FROM json_each(?1))
UNION ALL
SELECT d.due, d.message, d.queue, d.priority, m.task_id
FROM talo_delayed AS d CROSS JOIN talo_message AS m ON m.id = d.message
WHERE d.task_id IS NULL AND m.task_id IN (SELECT value FROM json_each(?1));

-- name: find_ready
-- The ready messages of the tasks ?1: a look at all that is ready.
SELECT r.place, r.message, r.queue, r.priority, m.task_id
FROM talo_ready AS r CROSS JOIN talo_message AS m ON m.id = r.message
WHERE m.task_id IN (SELECT value FROM json_each(?1));

-- name: take_delayed
DELETE FROM talo_delayed WHERE due = ?1 AND message = ?2;

-- name: take_ready
DELETE FROM talo_ready WHERE place = ?1 AND message = ?2 AND queue = ?3 AND priority = ?4;

-- name: head
SELECT head FROM talo_message WHERE id = ?1;

-- name: put_head
UPDATE talo_message SET head = ?2 WHERE id = ?1;

-- name: most_urgent_high_first
SELECT max(priority) FROM talo_ready WHERE queue = ?1;

-- name: most_urgent_low_first
SELECT min(priority) FROM talo_ready WHERE queue = ?1;

-- name: less_urgent_high_first
SELECT max(priority) FROM talo_ready WHERE queue = ?1 AND priority < ?2;

-- name: less_urgent_low_first
SELECT min(priority) FROM talo_ready WHERE queue = ?1 AND priority > ?2;

-- name: ready
-- Choose up to ?3 messages, which nobody else has chosen; leave_ready takes them away.
SELECT m.id, m.queue, m.priority, m.head, m.body, m.deliveries, m.suspect, r.place
FROM talo_ready AS r CROSS JOIN talo_message AS m ON m.id = r.message
WHERE r.queue = ?1 AND r.priority = ?2 ORDER BY r.place, r.message LIMIT ?3;

-- name: leave_ready
-- Of what ready has chosen (?3, ?4) is the last, ?5 are the messages.
DELETE FROM talo_ready WHERE queue = ?1 AND priority = ?2 AND (place, message) <= (?3, ?4);

-- name: add_lease
INSERT INTO talo_lease (holder, token, message) VALUES (?1, ?2, ?3);

-- name: end_leases
DELETE FROM talo_lease WHERE holder = ?1 AND token IN (SELECT value FROM json_each(?2)) RETURNING token, message;

-- name: delete_messages
DELETE FROM talo_message WHERE id IN (SELECT value FROM json_each(?1));

-- name: charge
UPDATE talo_message SET deliveries = deliveries + ?2, suspect = max(suspect, ?3) WHERE id = ?1;

-- name: heads
-- Of the messages ?1: queue, priority, task id, and the least place there.
SELECT m.id, m.queue, m.priority, m.task_id, (
    SELECT place FROM talo_ready AS r WHERE r.queue = m.queue AND r.priority = m.priority ORDER BY place LIMIT 1
)
FROM talo_message AS m WHERE m.id IN (SELECT value FROM json_each(?1));

-- name: to_dead
INSERT INTO talo_dead (id, queue, priority, task_id, task, head, body, deliveries, death, died, expires)
SELECT ?2, coalesce(?8, queue), priority, coalesce(?3, task_id), coalesce(?4, task), head, body, deliveries, ?5, ?6, ?7
FROM talo_message WHERE id = ?1;

-- name: open_owner
INSERT INTO talo_owner (id, owner, worker, slots, ends) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (owner) DO UPDATE SET worker = excluded.worker, slots = excluded.slots, ends = excluded.ends;

-- name: renew
UPDATE talo_owner SET ends = ?2 WHERE owner IN (SELECT value FROM json_each(?1)) RETURNING owner;

-- name: first_end
SELECT min(ends) FROM talo_owner;

-- name: owners
SELECT owner, worker, slots, ends - ?1, (SELECT count(*) FROM talo_lease WHERE holder = talo_owner.id)
FROM talo_owner ORDER BY ends, id;

-- name: held
SELECT m.id, m.queue, m.priority, m.head, m.body, m.deliveries, m.suspect, l.token
FROM talo_lease AS l CROSS JOIN talo_message AS m ON m.id = l.message
WHERE l.holder = ?1 ORDER BY l.token LIMIT ?2;

-- name: leave_leases
DELETE FROM talo_lease WHERE holder = ?1 AND token <= ?2;

-- name: close_owner
DELETE FROM talo_owner WHERE owner = ?1 AND NOT EXISTS (SELECT 1 FROM talo_lease WHERE holder = talo_owner.id);

-- name: count_ready
SELECT queue, count(*) FROM talo_ready GROUP BY queue;

-- name: count_delayed
SELECT queue, count(*) FROM talo_delayed GROUP BY queue;

-- name: count_due
-- What is due and has not been made ready yet.
SELECT queue, count(*), min(due) FROM talo_delayed WHERE due <= ?1 GROUP BY queue;

-- name: count_leased
SELECT m.queue, count(*) FROM talo_lease AS l CROSS JOIN talo_message AS m ON m.id = l.message GROUP BY m.queue;

-- name: purge_messages
DELETE FROM talo_message WHERE id IN (
    SELECT message FROM talo_ready WHERE queue IN (SELECT value FROM json_each(?1))
    UNION ALL
    SELECT message FROM talo_delayed WHERE queue IN (SELECT value FROM json_each(?1))
);

-- name: purge_ready
DELETE FROM talo_ready WHERE queue IN (SELECT value FROM json_each(?1));

-- name: purge_delayed
DELETE FROM talo_delayed WHERE queue IN (SELECT value FROM json_each(?1));

-- name: dead
SELECT id, queue, priority, head, body, deliveries, death, died FROM talo_dead
WHERE (?1 IS NULL OR task = ?1) AND (?2 IS NULL OR queue = ?2) AND (expires IS NULL OR expires > ?3)
ORDER BY id DESC LIMIT ?4 OFFSET ?5;

-- name: dead_count
-- How many there are, up to ?4.
SELECT count(*) FROM (
    SELECT 1 FROM talo_dead
    WHERE (expires IS NULL OR expires > ?3)
        AND task = ?1
        AND queue = ?2
    LIMIT ?4
) AS found;

-- name: dead_get
SELECT id, queue, priority, head, body, deliveries, death, died FROM talo_dead
WHERE (id IN (SELECT value FROM json_each(?1)) OR task_id IN (SELECT value FROM json_each(?2)))
    AND (expires IS NULL OR expires > ?3)
ORDER BY id DESC;

-- name: dead_hold
-- Which of the dead letters ?1 there are, and stay until the commit.
SELECT id FROM talo_dead WHERE id IN (SELECT value FROM json_each(?1)) AND (expires IS NULL OR expires > ?2);

-- name: dead_delete
DELETE FROM talo_dead WHERE id IN (SELECT value FROM json_each(?1));

-- name: store_result
INSERT INTO talo_result (task_id, status, ready, payload, expires) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (task_id) DO UPDATE
SET status = excluded.status, ready = excluded.ready, payload = excluded.payload, expires = excluded.expires
WHERE talo_result.status <> 'SUCCESS' OR excluded.status = 'SUCCESS' OR talo_result.expires <= ?6;

-- name: results
SELECT task_id, payload FROM talo_result
WHERE task_id IN (SELECT value FROM json_each(?1)) AND (expires IS NULL OR expires > ?2);

-- name: ready_results
SELECT task_id, payload FROM talo_result
WHERE task_id IN (SELECT value FROM json_each(?1)) AND ready AND (expires IS NULL OR expires > ?2);

-- name: forget
DELETE FROM talo_result WHERE task_id IN (SELECT value FROM json_each(?1));

-- name: store_group
INSERT INTO talo_group (group_id, payload, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (group_id) DO UPDATE SET payload = excluded.payload, expires = excluded.expires;

-- name: get_group
SELECT payload FROM talo_group WHERE group_id = ?1 AND (expires IS NULL OR expires > ?2);

-- name: forget_group
DELETE FROM talo_group WHERE group_id = ?1;

-- name: open_workflow
INSERT INTO talo_workflow (id, size, continuation, plan, keep, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (id) DO UPDATE SET size = excluded.size, continuation = excluded.continuation, plan = excluded.plan,
    keep = excluded.keep, expires = excluded.expires, filled = 0, closed = 0, completed_by = NULL;

-- name: workflow_plans
SELECT id, plan FROM talo_workflow
WHERE id IN (SELECT value FROM json_each(?1)) AND NOT closed AND (expires IS NULL OR expires > ?2);

-- name: workflow_parts
SELECT place, payload FROM talo_part WHERE workflow = ?1 ORDER BY place, member;

-- name: workflows
-- The groups ?1 as they are, unchanged by others until the commit.
SELECT id, size, filled, closed, completed_by, keep FROM talo_workflow
WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id;

-- name: members
-- Which of the members ?2 have a part in the groups ?1.
SELECT workflow, member FROM talo_part
WHERE workflow IN (SELECT value FROM json_each(?1)) AND member IN (SELECT value FROM json_each(?2));

-- name: continuation
SELECT continuation FROM talo_workflow WHERE id = ?1;

-- name: add_part
INSERT INTO talo_part (workflow, member, place, payload) VALUES (?1, ?2, ?3, ?4);

-- name: fill
UPDATE talo_workflow SET size = ?2, filled = ?3, completed_by = ?4, expires = ?5 WHERE id = ?1;

-- name: open_step
-- The step of a chain is closed without having been opened.
INSERT OR IGNORE INTO talo_workflow (id, size, continuation, plan, keep, expires) VALUES (?1, 0, NULL, x'', NULL, ?2);

-- name: close_workflow
-- What was closed stays known for a while, so that a repeated message finds it closed.
UPDATE talo_workflow SET closed = 1, plan = x'', continuation = NULL, expires = ?2 WHERE id = ?1;

-- name: forget_parts
DELETE FROM talo_part WHERE workflow IN (SELECT value FROM json_each(?1));

-- name: forget_workflows
DELETE FROM talo_workflow WHERE id IN (SELECT value FROM json_each(?1));

-- name: overdue_workflows
-- Choose up to ?2 groups that have expired.
SELECT id FROM talo_workflow WHERE expires <= ?1 LIMIT ?2;

-- name: expired_results
DELETE FROM talo_result WHERE task_id IN (SELECT task_id FROM talo_result WHERE expires <= ?1 LIMIT ?2);

-- name: expired_groups
DELETE FROM talo_group WHERE group_id IN (SELECT group_id FROM talo_group WHERE expires <= ?1 LIMIT ?2);

-- name: expired_dead
DELETE FROM talo_dead WHERE id IN (SELECT id FROM talo_dead WHERE expires <= ?1 LIMIT ?2);

-- name: expired_bus
-- Oldest first: they expire in the order of their numbers.
DELETE FROM talo_bus WHERE id IN (SELECT id FROM (SELECT id, expires FROM talo_bus ORDER BY id LIMIT ?2) WHERE expires <= ?1);

-- name: expired_locks
DELETE FROM talo_lock WHERE name IN (SELECT name FROM talo_lock WHERE expires <= ?1 LIMIT ?2);

-- name: expired_marks
DELETE FROM talo_mark WHERE (kind, member) IN (SELECT kind, member FROM talo_mark WHERE expires <= ?1 LIMIT ?2);

-- name: expired_ledger
DELETE FROM talo_ledger WHERE (task_id, queue) IN (SELECT task_id, queue FROM talo_ledger WHERE expires <= ?1 LIMIT ?2);

-- name: publish
INSERT INTO talo_bus (id, channel, payload, expires) VALUES (?1, ?2, ?3, ?4);

-- name: said
SELECT id, channel, payload FROM talo_bus
WHERE id > ?1 AND channel IN (SELECT value FROM json_each(?2)) ORDER BY id LIMIT ?3;

-- name: acquire
INSERT INTO talo_lock (name, holder, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
WHERE talo_lock.holder = excluded.holder OR talo_lock.expires <= ?4
RETURNING holder;

-- name: release
DELETE FROM talo_lock WHERE name = ?1 AND holder = ?2 AND expires > ?3;

-- name: mark
INSERT INTO talo_mark (kind, member, expires) VALUES (?1, ?2, ?3)
ON CONFLICT (kind, member) DO UPDATE SET expires = excluded.expires;

-- name: marked
SELECT member FROM talo_mark
WHERE kind = ?1 AND member IN (SELECT value FROM json_each(?2)) AND expires > ?3;

-- name: all_marked
SELECT member FROM talo_mark WHERE kind = ?1 AND expires > ?2;

-- name: unmark
DELETE FROM talo_mark WHERE kind = ?1 AND member IN (SELECT value FROM json_each(?2));

-- name: plans
SELECT name, version, plan FROM talo_plan WHERE space = ?1 AND version > ?2 ORDER BY version;

-- name: plan_versions
SELECT name, version FROM talo_plan
WHERE space = ?1 AND plan IS NOT NULL AND name IN (SELECT value FROM json_each(?2));

-- name: put_plan
INSERT INTO talo_plan (space, name, version, plan) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (space, name) DO UPDATE SET version = excluded.version, plan = excluded.plan;

-- name: forget_removed
-- Who looks once in a while sees a removal in its place; the oldest beyond ?2 are known by a complete look only.
DELETE FROM talo_plan WHERE space = ?1 AND plan IS NULL AND name <> '' AND version <= (
    SELECT version FROM talo_plan WHERE space = ?1 AND plan IS NULL AND name <> '' ORDER BY version DESC LIMIT 1 OFFSET ?2
) RETURNING version;

-- name: add_run
INSERT INTO talo_run (space, name, id, run) VALUES (?1, ?2, ?3, ?4);

-- name: forget_runs
DELETE FROM talo_run WHERE space = ?1 AND name = ?2 AND id <= (
    SELECT id FROM talo_run WHERE space = ?1 AND name = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3
);

-- name: drop_runs
DELETE FROM talo_run WHERE space = ?1 AND name = ?2;

-- name: runs
SELECT run FROM talo_run WHERE space = ?1 AND name = ?2 ORDER BY id DESC LIMIT ?3;

-- name: add_count
INSERT INTO talo_counter (width, start, name, queue, state, shard, ended, run_micros, wait_micros, {0..25: run#}, {0..25: wait#})
VALUES ({1..61: ?#})
ON CONFLICT (width, start, name, queue, state, shard) DO UPDATE SET
    ended = talo_counter.ended + excluded.ended, run_micros = talo_counter.run_micros + excluded.run_micros, wait_micros = talo_counter.wait_micros + excluded.wait_micros,
    {0..25: run# = talo_counter.run# + excluded.run#},
    {0..25: wait# = talo_counter.wait# + excluded.wait#};

-- name: counts
-- Without a name or queue their lines are taken out.
SELECT start / ?6 * ?6, name, queue, state, sum(ended), sum(run_micros), sum(wait_micros),
    {0..25: sum(run#)}, {0..25: sum(wait#)}
FROM talo_counter
WHERE width = ?3 AND start >= ?4 AND start < ?5
    AND name = ?1
    AND queue = ?2
GROUP BY 1, name, queue, state;

-- name: old_counts
DELETE FROM talo_counter WHERE (width, start, name, queue, state, shard) IN (
    SELECT width, start, name, queue, state, shard FROM talo_counter WHERE width = ?1 AND start < ?2 LIMIT ?3
);

-- name: add_history
INSERT INTO talo_history (seq, ended, state, name, queue, worker, id, attempt, root, fingerprint, error, expires)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12);

-- name: add_history_detail
INSERT INTO talo_history_detail (seq, run) VALUES (?1, ?2);

-- name: in_history
SELECT 1 FROM talo_history WHERE id = ?1 AND attempt = ?2 AND ended = ?3;

-- part: history_wanted
-- Lines whose parameter is not asked for are taken out. One state is looked up, of several each row is asked.
WHERE +h.expires > ?12
    AND h.id = ?1
    AND (h.root = ?2 OR h.id = ?2)
    AND h.name = ?3
    AND h.queue = ?4
    AND h.worker = ?5
    AND h.state = ?6
    AND '' || h.state IN (SELECT value FROM json_each(?7))
    AND h.fingerprint = ?8
    AND h.ended >= ?9
    AND h.ended < ?10
    AND h.error IS NOT NULL AND ?11 IS NOT NULL

-- name: history
-- A task or a workflow has few runs: they are found and put into order, not looked for in the order of time.
SELECT h.seq, h.ended, CASE WHEN
    h.error LIKE ?11 ESCAPE '\' AND
    instr(d.run, ?16) > 0 AND
    1 THEN d.run END
FROM talo_history AS h LEFT JOIN talo_history_detail AS d ON d.seq = h.seq
-- use: history_wanted
    AND (h.ended, h.seq) < (?13, ?14)
ORDER BY
    CASE WHEN ?1 IS NOT NULL THEN h.ended END DESC,
    CASE WHEN ?2 IS NOT NULL THEN h.ended END DESC,
    h.ended DESC, h.seq DESC LIMIT ?15;

-- name: count_history
SELECT state, count(*) FROM (
    SELECT h.state FROM talo_history AS h
    -- use: history_wanted
        AND h.error LIKE ?11 ESCAPE '\'
    LIMIT ?13
) AS found GROUP BY +state;

-- name: find_history
SELECT h.seq FROM talo_history AS h
-- use: history_wanted
    AND h.error LIKE ?11 ESCAPE '\'
LIMIT ?13;

-- name: failures
-- Most runs are none: the index of those that are is read, not the one of all by time.
SELECT fingerprint, count(*), min(ended), max(ended), max(seq) FROM talo_history
WHERE fingerprint IS NOT NULL AND ended + 0 >= ?1 AND expires > ?2
GROUP BY fingerprint ORDER BY max(ended) DESC LIMIT ?3;

-- name: history_details
SELECT run FROM talo_history_detail WHERE seq IN (SELECT value FROM json_each(?1));

-- name: expired_history
SELECT seq FROM talo_history WHERE expires <= ?1 LIMIT ?2;

-- name: history_size
SELECT count(*) FROM talo_history;

-- name: oldest_history
SELECT seq FROM talo_history ORDER BY ended LIMIT ?1;

-- name: delete_history
DELETE FROM talo_history WHERE seq IN (SELECT value FROM json_each(?1));

-- name: delete_history_details
DELETE FROM talo_history_detail WHERE seq IN (SELECT value FROM json_each(?1));

-- name: front
-- The head of the first message of a queue and priority: the one of them that has waited longest.
SELECT m.head FROM talo_ready AS r CROSS JOIN talo_message AS m ON m.id = r.message
WHERE r.queue = ?1 AND r.priority = ?2 ORDER BY r.place, r.message LIMIT 1;

-- name: ready_up_to
-- How many messages a queue and priority have ready, up to ?3.
SELECT count(*) FROM (
    SELECT 1 FROM talo_ready WHERE queue = ?1 AND priority = ?2 LIMIT ?3
) AS found;

-- name: peek_ready
-- Of what a queue and priority have ready up to ?3 after the first ?4, in their order, and how many stand before each.
SELECT m.queue, m.priority, m.head, m.body, NULL AS due, ?4 + r.number - 1 FROM (
    SELECT message, row_number() OVER (ORDER BY place, message) AS number FROM (
        SELECT message, place FROM talo_ready WHERE queue = ?1 AND priority = ?2
        ORDER BY place, message LIMIT ?3 OFFSET ?4
    ) AS found
) AS r CROSS JOIN talo_message AS m ON m.id = r.message
WHERE instr(m.head, ?5) > 0
ORDER BY r.number;

-- name: peek_delayed
SELECT m.queue, m.priority, m.head, m.body, d.due FROM (
    SELECT message, due FROM talo_delayed
    WHERE queue = ?1
    ORDER BY due, message LIMIT ?2 OFFSET ?3
) AS d CROSS JOIN talo_message AS m ON m.id = d.message
WHERE instr(m.head, ?4) > 0
ORDER BY d.due, d.message;

-- name: enter_ledger
INSERT INTO talo_ledger (task_id, queue, task, root, sent, since, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (task_id, queue) DO UPDATE
SET task = excluded.task, root = excluded.root, sent = excluded.sent, since = excluded.since, expires = excluded.expires,
    owner = NULL, token = NULL, worker = NULL, held = NULL;

-- name: hold_ledger
INSERT INTO talo_ledger (task_id, queue, task, root, sent, since, expires, owner, token, worker, held)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (task_id, queue) DO UPDATE
SET expires = excluded.expires, owner = excluded.owner, token = excluded.token, worker = excluded.worker, held = excluded.held;

-- name: strike_ledger
DELETE FROM talo_ledger WHERE owner = ?1 AND token IN (SELECT value FROM json_each(?2));

-- name: free_ledger
UPDATE talo_ledger SET since = coalesce(?3, since), expires = coalesce(?3, since) + ?4, owner = NULL, token = NULL, worker = NULL, held = NULL
WHERE owner = ?1 AND token = ?2;

-- name: drop_ledger
DELETE FROM talo_ledger WHERE task_id = ?1 AND queue = ?2 AND owner IS NULL;

-- name: clear_ledger
DELETE FROM talo_ledger WHERE queue = ?1 AND since > ?2 AND since <= ?3 AND owner IS NULL;

-- name: find_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE task_id IN (SELECT value FROM json_each(?1)) ORDER BY task_id, queue;

-- name: ready_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE queue = ?1 AND since <= ?2 AND owner IS NULL ORDER BY since LIMIT ?3 OFFSET ?4;

-- name: delayed_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE queue = ?1 AND since > ?2 AND owner IS NULL ORDER BY since LIMIT ?3 OFFSET ?4;

-- name: held_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE owner IS NOT NULL LIMIT ?1;

-- name: count_ledger
SELECT queue, sum(since <= ?2), sum(since > ?2) FROM talo_ledger
WHERE queue IN (SELECT value FROM json_each(?1)) AND owner IS NULL GROUP BY queue;

-- name: ahead_ledger
SELECT count(*) FROM talo_ledger WHERE queue = ?1 AND since < ?2 AND owner IS NULL;
