-- Every step of the SQL store in PostgreSQL's dialect. A list of values is an array; where a step is run for many rows,
-- each value is the array of a column.
--
-- A row is looked up by its whole key, in LATERAL (... LIMIT 1). A plain join, or ANY behind the first column of an index,
-- leaves the order to the server, and that believes for a minute that a table is empty if it has looked when it was: then
-- it begins with that table and walks over all of it.

-- name: gate
-- The bus is for those who listen now, so its commits wait for no disk.
SELECT set_config('synchronous_commit', CASE WHEN ?1::text = 'bus' THEN 'off' ELSE current_setting('synchronous_commit') END, true),
    pg_advisory_xact_lock(hashtextextended('talo:' || ?1::text, 0))::text;

-- name: draw
SELECT array_agg(nextval('talo_serial')) FROM generate_series(1, ?1::int);

-- name: drawn
SELECT last_value - (NOT is_called)::int FROM talo_serial;

-- name: add_message
INSERT INTO talo_message (id, queue, priority, task_id, task, head, body)
SELECT * FROM unnest(?1::bigint[], ?2::text[], ?3::int[], ?4::text[], ?5::text[], ?6::bytea[], ?7::bytea[]);

-- name: add_ready
INSERT INTO talo_ready (queue, priority, place, message)
SELECT queue, priority, id, id FROM talo_message WHERE id = ANY(?1::bigint[]);

-- name: add_delayed
INSERT INTO talo_delayed (due, message, queue, priority, task_id)
SELECT * FROM unnest(?1::float8[], ?2::bigint[], ?3::text[], ?4::int[], ?5::text[]);

-- name: glance
-- From the newest on: at the other end stand the entries of what has been taken.
SELECT
    (SELECT id FROM talo_owner WHERE owner = ?1::text),
    (SELECT due FROM talo_delayed ORDER BY due LIMIT 1),
    EXISTS (
        SELECT 1 FROM unnest(?2::text[]) AS wanted (queue)
        CROSS JOIN LATERAL (
            SELECT 1 FROM talo_ready AS r WHERE r.queue = wanted.queue
            ORDER BY r.priority DESC, r.place DESC, r.message DESC LIMIT 1
        ) AS found
    );

-- name: holder
-- Renewing changes no key and goes on beside it; whoever takes the owner over or closes it waits.
SELECT id, ends FROM talo_owner WHERE owner = ?1::text FOR KEY SHARE;

-- name: hold
SELECT id, ends FROM talo_owner WHERE owner = ?1::text FOR UPDATE;

-- name: find_owner
SELECT id, ends FROM talo_owner WHERE owner = ?1::text;

-- name: next_due
SELECT due FROM talo_delayed ORDER BY due LIMIT 1;

-- name: due
DELETE FROM talo_delayed WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_delayed WHERE due <= ?1::float8 ORDER BY due, message LIMIT ?2::int FOR UPDATE SKIP LOCKED
)) RETURNING due, message, queue, priority;

-- name: leave_delayed

-- name: place_ready
INSERT INTO talo_ready (queue, priority, place, message)
SELECT * FROM unnest(?1::text[], ?2::int[], ?3::bigint[], ?4::bigint[]);

-- name: find_delayed
SELECT due, message, queue, priority, task_id FROM talo_delayed WHERE task_id = ANY(?1::text[])
UNION ALL
SELECT d.due, d.message, d.queue, d.priority, m.task_id
FROM talo_delayed AS d JOIN talo_message AS m ON m.id = d.message
WHERE d.task_id IS NULL AND m.task_id = ANY(?1::text[]);

-- name: find_ready
SELECT r.place, r.message, r.queue, r.priority, m.task_id
FROM talo_ready AS r JOIN talo_message AS m ON m.id = r.message
WHERE m.task_id = ANY(?1::text[]);

-- name: take_delayed
DELETE FROM talo_delayed WHERE due = ?1::float8 AND message = ?2::bigint;

-- name: take_ready
DELETE FROM talo_ready
WHERE place = ?1::bigint AND message = ?2::bigint AND queue = ?3::text AND priority = ?4::int;

-- name: head
SELECT head FROM talo_message WHERE id = ?1::bigint;

-- name: put_head
UPDATE talo_message SET head = ?2::bytea WHERE id = ?1::bigint;

-- name: most_urgent_high_first
-- By its newest message. max() may count through the whole queue where the server believes it to be empty.
SELECT (
    SELECT priority FROM talo_ready WHERE queue = ?1::text
    ORDER BY priority DESC, place DESC, message DESC LIMIT 1
);

-- name: most_urgent_low_first
-- Down from the highest, each by its newest message: to begin with the lowest would be to begin at the head, which is full
-- of dead index entries.
WITH RECURSIVE level (priority) AS (
    SELECT (
        SELECT priority FROM talo_ready WHERE queue = ?1::text
        ORDER BY priority DESC, place DESC, message DESC LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT priority FROM talo_ready WHERE queue = ?1::text AND priority < level.priority
        ORDER BY priority DESC, place DESC, message DESC LIMIT 1
    ) FROM level WHERE level.priority IS NOT NULL
)
SELECT min(priority) FROM level;

-- name: less_urgent_high_first
SELECT (
    SELECT priority FROM talo_ready WHERE queue = ?1::text AND priority < ?2::int
    ORDER BY priority DESC, place DESC, message DESC LIMIT 1
);

-- name: less_urgent_low_first
WITH RECURSIVE level (priority) AS (
    SELECT (
        SELECT priority FROM talo_ready WHERE queue = ?1::text AND priority > ?2::int
        ORDER BY priority DESC, place DESC, message DESC LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT priority FROM talo_ready WHERE queue = ?1::text AND priority > ?2::int AND priority < level.priority
        ORDER BY priority DESC, place DESC, message DESC LIMIT 1
    ) FROM level WHERE level.priority IS NOT NULL
)
SELECT min(priority) FROM level;

-- name: ready
-- What another transaction is taking is passed over, so nobody waits for anybody. What was given back stands below 0;
-- the rest is looked for from the place ?4 on, so that dead index entries before it are not walked over.
WITH gone AS (
    DELETE FROM talo_ready WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM (
            SELECT ctid FROM talo_ready WHERE queue = ?1::text AND priority = ?2::int AND place < 0
            ORDER BY place, message LIMIT ?3::int FOR UPDATE SKIP LOCKED
        ) AS returned
        UNION ALL
        SELECT ctid FROM (
            SELECT ctid FROM talo_ready WHERE queue = ?1::text AND priority = ?2::int AND place >= ?4::bigint
            ORDER BY place, message LIMIT ?3::int FOR UPDATE SKIP LOCKED
        ) AS waiting
        LIMIT ?3::int
    )) RETURNING message, place
)
SELECT m.id, m.queue, m.priority, m.head, m.body, m.deliveries, m.suspect, gone.place
FROM gone CROSS JOIN LATERAL (SELECT * FROM talo_message WHERE id = gone.message LIMIT 1) AS m
ORDER BY gone.place, m.id;

-- name: leave_ready

-- name: add_lease
INSERT INTO talo_lease (holder, token, message) SELECT * FROM unnest(?1::bigint[], ?2::bigint[], ?3::bigint[]);

-- name: end_leases
DELETE FROM talo_lease WHERE ctid = ANY(ARRAY(
    SELECT found.ctid FROM unnest(?2::bigint[]) AS ended (token) CROSS JOIN LATERAL (
        SELECT ctid FROM talo_lease WHERE holder = ?1::bigint AND token = ended.token LIMIT 1
    ) AS found
)) RETURNING token, message;

-- name: delete_messages
DELETE FROM talo_message WHERE id = ANY(?1::bigint[]);

-- name: charge
UPDATE talo_message SET
    deliveries = deliveries + (?2::int[])[array_position(?1::bigint[], id)],
    suspect = greatest(suspect, (?3::int[])[array_position(?1::bigint[], id)])
WHERE id = ANY(?1::bigint[]);

-- name: heads
SELECT m.id, m.queue, m.priority, m.task_id, (
    SELECT place FROM talo_ready AS r WHERE r.queue = m.queue AND r.priority = m.priority AND place < 0
    ORDER BY place LIMIT 1
)
FROM talo_message AS m WHERE m.id = ANY(?1::bigint[]);

-- name: to_dead
INSERT INTO talo_dead (id, queue, priority, task_id, task, head, body, deliveries, death, died, expires)
SELECT d.number, coalesce(d.queue, m.queue), m.priority, coalesce(d.task_id, m.task_id), coalesce(d.task, m.task),
    m.head, m.body, m.deliveries, d.death, d.died, d.expires
FROM unnest(?1::bigint[], ?2::bigint[], ?3::text[], ?4::text[], ?5::text[], ?6::float8[], ?7::float8[], ?8::text[])
    AS d (message, number, task_id, task, death, died, expires, queue)
CROSS JOIN LATERAL (SELECT * FROM talo_message WHERE id = d.message LIMIT 1) AS m;

-- name: open_owner
INSERT INTO talo_owner (id, owner, worker, slots, ends) VALUES (?1::bigint, ?2::text, ?3::text, ?4::int, ?5::float8)
ON CONFLICT (owner) DO UPDATE SET worker = excluded.worker, slots = excluded.slots, ends = excluded.ends;

-- name: renew
UPDATE talo_owner SET ends = ?2::float8 WHERE owner = ANY(ARRAY(
    SELECT owner FROM talo_owner WHERE owner = ANY(?1::text[]) ORDER BY owner FOR NO KEY UPDATE
)) RETURNING owner;

-- name: first_end
SELECT min(ends) FROM talo_owner;

-- name: owners
SELECT owner, worker, slots, ends - ?1::float8, (SELECT count(*) FROM talo_lease WHERE holder = talo_owner.id)
FROM talo_owner ORDER BY ends, id;

-- name: held
SELECT m.id, m.queue, m.priority, m.head, m.body, m.deliveries, m.suspect, l.token
FROM talo_lease AS l CROSS JOIN LATERAL (SELECT * FROM talo_message WHERE id = l.message LIMIT 1) AS m
WHERE l.holder = ?1::bigint ORDER BY l.token LIMIT ?2::bigint;

-- name: leave_leases
DELETE FROM talo_lease WHERE holder = ?1::bigint AND token <= ?2::bigint;

-- name: close_owner
DELETE FROM talo_owner WHERE owner = ?1::text AND NOT EXISTS (SELECT 1 FROM talo_lease WHERE holder = talo_owner.id);

-- name: count_ready
SELECT queue, count(*) FROM talo_ready GROUP BY queue;

-- name: count_delayed
SELECT queue, count(*) FROM talo_delayed GROUP BY queue;

-- name: count_due
-- What is due and has not been made ready yet.
SELECT queue, count(*), min(due) FROM talo_delayed WHERE due <= ?1::float8 GROUP BY queue;

-- name: count_leased
SELECT m.queue, count(*)
FROM talo_lease AS l CROSS JOIN LATERAL (SELECT queue FROM talo_message WHERE id = l.message LIMIT 1) AS m
GROUP BY m.queue;

-- name: purge_messages
-- Only what this statement itself took away: a message that is fetched at this moment stays with who fetches it.
WITH ready AS (
    DELETE FROM talo_ready WHERE queue = ANY(?1::text[]) RETURNING message
), delayed AS (
    DELETE FROM talo_delayed WHERE queue = ANY(?1::text[]) RETURNING message
)
DELETE FROM talo_message WHERE id IN (SELECT message FROM ready UNION ALL SELECT message FROM delayed);

-- name: purge_ready

-- name: purge_delayed

-- name: dead
SELECT id, queue, priority, head, body, deliveries, death, died FROM talo_dead
WHERE (?1::text IS NULL OR task = ?1::text) AND (?2::text IS NULL OR queue = ?2::text)
    AND (expires IS NULL OR expires > ?3::float8)
ORDER BY id DESC LIMIT ?4::bigint OFFSET ?5::bigint;

-- name: dead_count
-- How many there are, up to ?4.
SELECT count(*) FROM (
    SELECT 1 FROM talo_dead
    WHERE (expires IS NULL OR expires > ?3::float8)
        AND task = ?1::text
        AND queue = ?2::text
    LIMIT ?4::int
) AS found;

-- name: dead_get
SELECT id, queue, priority, head, body, deliveries, death, died FROM talo_dead
WHERE (id = ANY(?1::bigint[]) OR task_id = ANY(?2::text[])) AND (expires IS NULL OR expires > ?3::float8)
ORDER BY id DESC;

-- name: dead_hold
SELECT id FROM talo_dead WHERE id = ANY(?1::bigint[]) AND (expires IS NULL OR expires > ?2::float8)
ORDER BY id FOR UPDATE;

-- name: dead_delete
DELETE FROM talo_dead WHERE id = ANY(?1::bigint[]);

-- name: store_result
INSERT INTO talo_result (task_id, status, ready, payload, expires)
SELECT task_id, status, ready <> 0, payload, expires
FROM unnest(?1::text[], ?2::text[], ?3::int[], ?4::bytea[], ?5::float8[]) AS r (task_id, status, ready, payload, expires)
ON CONFLICT (task_id) DO UPDATE
SET status = excluded.status, ready = excluded.ready, payload = excluded.payload, expires = excluded.expires
WHERE talo_result.status <> 'SUCCESS' OR excluded.status = 'SUCCESS' OR talo_result.expires <= (?6::float8[])[1];

-- name: results
SELECT task_id, payload FROM talo_result
WHERE task_id = ANY(?1::text[]) AND (expires IS NULL OR expires > ?2::float8);

-- name: ready_results
SELECT task_id, payload FROM talo_result
WHERE task_id = ANY(?1::text[]) AND ready AND (expires IS NULL OR expires > ?2::float8);

-- name: forget
DELETE FROM talo_result WHERE task_id = ANY(?1::text[]);

-- name: store_group
INSERT INTO talo_group (group_id, payload, expires) VALUES (?1::text, ?2::bytea, ?3::float8)
ON CONFLICT (group_id) DO UPDATE SET payload = excluded.payload, expires = excluded.expires;

-- name: get_group
SELECT payload FROM talo_group WHERE group_id = ?1::text AND (expires IS NULL OR expires > ?2::float8);

-- name: forget_group
DELETE FROM talo_group WHERE group_id = ?1::text;

-- name: open_workflow
INSERT INTO talo_workflow (id, size, continuation, plan, keep, expires)
SELECT * FROM unnest(?1::text[], ?2::int[], ?3::bytea[], ?4::bytea[], ?5::float8[], ?6::float8[])
ON CONFLICT (id) DO UPDATE SET size = excluded.size, continuation = excluded.continuation, plan = excluded.plan,
    keep = excluded.keep, expires = excluded.expires, filled = 0, closed = 0, completed_by = NULL;

-- name: workflow_plans
SELECT id, plan FROM talo_workflow
WHERE id = ANY(?1::text[]) AND closed = 0 AND (expires IS NULL OR expires > ?2::float8);

-- name: workflow_parts
SELECT place, payload FROM talo_part WHERE workflow = ?1::text ORDER BY place, member;

-- name: workflows
SELECT id, size, filled, closed, completed_by, keep FROM talo_workflow
WHERE id = ANY(?1::text[]) ORDER BY id FOR UPDATE;

-- name: members
-- Which of the members ?2 have a part in their groups ?1.
SELECT found.workflow, found.member FROM unnest(?1::text[], ?2::text[]) AS part (workflow, member)
CROSS JOIN LATERAL (
    SELECT workflow, member FROM talo_part WHERE workflow = part.workflow AND member = part.member LIMIT 1
) AS found;

-- name: continuation
SELECT continuation FROM talo_workflow WHERE id = ?1::text;

-- name: add_part
INSERT INTO talo_part (workflow, member, place, payload)
SELECT * FROM unnest(?1::text[], ?2::text[], ?3::int[], ?4::bytea[]);

-- name: fill
UPDATE talo_workflow AS w SET size = f.size, filled = f.filled, completed_by = f.completed_by, expires = f.expires
FROM unnest(?1::text[], ?2::int[], ?3::int[], ?4::text[], ?5::float8[]) AS f (id, size, filled, completed_by, expires)
WHERE w.id = f.id;

-- name: open_step
-- The step of a chain is closed without having been opened. Whoever closes the same one waits here for the other's commit.
INSERT INTO talo_workflow (id, size, continuation, plan, keep, expires)
SELECT id, 0, NULL, ''::bytea, NULL, expires FROM unnest(?1::text[], ?2::float8[]) AS c (id, expires)
ON CONFLICT (id) DO NOTHING;

-- name: close_workflow
UPDATE talo_workflow AS w SET closed = 1, plan = ''::bytea, continuation = NULL, expires = c.expires
FROM unnest(?1::text[], ?2::float8[]) AS c (id, expires) WHERE w.id = c.id;

-- name: forget_parts
DELETE FROM talo_part WHERE workflow = ANY(?1::text[]);

-- name: forget_workflows
DELETE FROM talo_workflow WHERE id = ANY(?1::text[]);

-- name: overdue_workflows
SELECT id FROM talo_workflow WHERE expires <= ?1::float8 LIMIT ?2::int FOR UPDATE SKIP LOCKED;

-- name: expired_results
DELETE FROM talo_result WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_result WHERE expires <= ?1::float8 LIMIT ?2::int FOR UPDATE SKIP LOCKED
));

-- name: expired_groups
DELETE FROM talo_group WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_group WHERE expires <= ?1::float8 LIMIT ?2::int FOR UPDATE SKIP LOCKED
));

-- name: expired_dead
DELETE FROM talo_dead WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_dead WHERE expires <= ?1::float8 LIMIT ?2::int FOR UPDATE SKIP LOCKED
));

-- name: expired_bus
DELETE FROM talo_bus WHERE id = ANY(ARRAY(
    SELECT id FROM (SELECT id, expires FROM talo_bus ORDER BY id LIMIT ?2::int) AS oldest WHERE expires <= ?1::float8
));

-- name: expired_locks
DELETE FROM talo_lock WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_lock WHERE expires <= ?1::float8 LIMIT ?2::int FOR UPDATE SKIP LOCKED
));

-- name: expired_marks
DELETE FROM talo_mark WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_mark WHERE expires <= ?1::float8 LIMIT ?2::int FOR UPDATE SKIP LOCKED
));

-- name: expired_ledger
DELETE FROM talo_ledger WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_ledger WHERE expires <= ?1::float8 LIMIT ?2::int FOR UPDATE SKIP LOCKED
));

-- name: publish
INSERT INTO talo_bus (id, channel, payload, expires)
SELECT * FROM unnest(?1::bigint[], ?2::text[], ?3::bytea[], ?4::float8[]);

-- name: said
SELECT id, channel, payload FROM talo_bus WHERE id > ?1::bigint AND channel = ANY(?2::text[]) ORDER BY id LIMIT ?3::int;

-- name: acquire
INSERT INTO talo_lock (name, holder, expires) VALUES (?1::text, ?2::text, ?3::float8)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires
WHERE talo_lock.holder = excluded.holder OR talo_lock.expires <= ?4::float8
RETURNING holder;

-- name: release
DELETE FROM talo_lock WHERE name = ?1::text AND holder = ?2::text AND expires > ?3::float8;

-- name: mark
INSERT INTO talo_mark (kind, member, expires) SELECT * FROM unnest(?1::text[], ?2::text[], ?3::float8[])
ON CONFLICT (kind, member) DO UPDATE SET expires = excluded.expires;

-- name: marked
SELECT found.member FROM unnest(?2::text[]) AS asked (member)
CROSS JOIN LATERAL (
    SELECT member, expires FROM talo_mark WHERE kind = ?1::text AND member = asked.member LIMIT 1
) AS found
WHERE found.expires > ?3::float8;

-- name: all_marked
SELECT member FROM talo_mark WHERE kind = ?1::text AND expires > ?2::float8;

-- name: unmark
DELETE FROM talo_mark WHERE kind = ?1::text AND member = ANY(?2::text[]);

-- name: plans
SELECT name, version, plan FROM talo_plan WHERE space = ?1::text AND version > ?2::bigint ORDER BY version;

-- name: plan_versions
SELECT name, version FROM talo_plan WHERE space = ?1::text AND plan IS NOT NULL AND name = ANY(?2::text[]);

-- name: put_plan
INSERT INTO talo_plan (space, name, version, plan) VALUES (?1::text, ?2::text, ?3::bigint, ?4::bytea)
ON CONFLICT (space, name) DO UPDATE SET version = excluded.version, plan = excluded.plan;

-- name: forget_removed
DELETE FROM talo_plan WHERE space = ?1::text AND plan IS NULL AND name <> '' AND version <= (
    SELECT version FROM talo_plan WHERE space = ?1::text AND plan IS NULL AND name <> ''
    ORDER BY version DESC LIMIT 1 OFFSET ?2::int
) RETURNING version;

-- name: add_run
INSERT INTO talo_run (space, name, id, run) SELECT * FROM unnest(?1::text[], ?2::text[], ?3::bigint[], ?4::bytea[]);

-- name: forget_runs
DELETE FROM talo_run WHERE space = ?1::text AND name = ?2::text AND id <= (
    SELECT id FROM talo_run WHERE space = ?1::text AND name = ?2::text ORDER BY id DESC LIMIT 1 OFFSET ?3::int
);

-- name: drop_runs
DELETE FROM talo_run WHERE space = ?1::text AND name = ?2::text;

-- name: runs
SELECT run FROM talo_run WHERE space = ?1::text AND name = ?2::text ORDER BY id DESC LIMIT ?3::int;

-- name: add_count
INSERT INTO talo_counter (width, start, name, queue, state, shard, ended, run_micros, wait_micros, {0..25: run#}, {0..25: wait#})
SELECT * FROM unnest(?1::int[], ?2::bigint[], ?3::text[], ?4::text[], ?5::text[], ?6::int[], {7..61: ?#::bigint[]})
ON CONFLICT (width, start, name, queue, state, shard) DO UPDATE SET
    ended = talo_counter.ended + excluded.ended, run_micros = talo_counter.run_micros + excluded.run_micros, wait_micros = talo_counter.wait_micros + excluded.wait_micros,
    {0..25: run# = talo_counter.run# + excluded.run#},
    {0..25: wait# = talo_counter.wait# + excluded.wait#};

-- name: counts
-- Without a name or queue their lines are taken out.
SELECT start / ?6::int * ?6::int, name, queue, state, sum(ended), sum(run_micros), sum(wait_micros),
    {0..25: sum(run#)}, {0..25: sum(wait#)}
FROM talo_counter
WHERE width = ?3::int AND start >= ?4::float8 AND start < ?5::float8
    AND name = ?1::text
    AND queue = ?2::text
GROUP BY 1, name, queue, state;

-- name: old_counts
DELETE FROM talo_counter WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM talo_counter WHERE width = ?1::int AND start < ?2::float8 LIMIT ?3::int
));

-- name: add_history
INSERT INTO talo_history (seq, ended, state, name, queue, worker, id, attempt, root, fingerprint, error, expires)
SELECT * FROM unnest(?1::bigint[], ?2::float8[], ?3::text[], ?4::text[], ?5::text[], ?6::text[], ?7::text[], ?8::int[], ?9::text[], ?10::text[], ?11::text[], ?12::float8[]);

-- name: add_history_detail
INSERT INTO talo_history_detail (seq, run) SELECT * FROM unnest(?1::bigint[], ?2::bytea[]);

-- name: in_history
SELECT 1 FROM talo_history WHERE id = ?1::text AND attempt = ?2::int AND ended = ?3::float8;

-- part: history_wanted
-- Lines whose parameter is not asked for are taken out. One state is looked up, of several each row is asked.
WHERE h.expires > ?12::float8
    AND h.id = ?1::text
    AND (h.root = ?2::text OR h.id = ?2::text)
    AND h.name = ?3::text
    AND h.queue = ?4::text
    AND h.worker = ?5::text
    AND h.state = ?6::text
    AND h.state = ANY(?7::text[])
    AND h.fingerprint = ?8::text
    AND h.ended >= ?9::float8
    AND h.ended < ?10::float8
    AND h.error IS NOT NULL AND ?11::text IS NOT NULL

-- name: history
-- A task or a workflow has few runs: they are found and put into order, not looked for in the order of time.
SELECT h.seq, h.ended, CASE WHEN
    h.error ILIKE ?11::text AND
    position(?16::bytea IN d.run) > 0 AND
    true THEN d.run END
FROM talo_history AS h LEFT JOIN talo_history_detail AS d ON d.seq = h.seq
-- use: history_wanted
    AND (h.ended, h.seq) < (?13::float8, ?14::bigint)
ORDER BY
    CASE WHEN ?1::text IS NOT NULL THEN h.ended END DESC,
    CASE WHEN ?2::text IS NOT NULL THEN h.ended END DESC,
    h.ended DESC, h.seq DESC LIMIT ?15::int;

-- name: count_history
SELECT state, count(*) FROM (
    SELECT h.state FROM talo_history AS h
    -- use: history_wanted
        AND h.error ILIKE ?11::text
    LIMIT ?13::int
) AS found GROUP BY state;

-- name: find_history
SELECT h.seq FROM talo_history AS h
-- use: history_wanted
    AND h.error ILIKE ?11::text
LIMIT ?13::int;

-- name: failures
-- Most runs are none: the index of those that are is read, not the one of all by time.
SELECT fingerprint, count(*), min(ended), max(ended), max(seq) FROM talo_history
WHERE fingerprint IS NOT NULL AND ended + 0 >= ?1::float8 AND expires > ?2::float8
GROUP BY fingerprint ORDER BY max(ended) DESC LIMIT ?3::int;

-- name: history_details
SELECT run FROM talo_history_detail WHERE seq = ANY(?1::bigint[]);

-- name: expired_history
SELECT seq FROM talo_history WHERE expires <= ?1::float8 LIMIT ?2::int;

-- name: history_size
SELECT count(*) FROM talo_history;

-- name: oldest_history
SELECT seq FROM talo_history ORDER BY ended LIMIT ?1::int;

-- name: delete_history
DELETE FROM talo_history WHERE seq = ANY(?1::bigint[]);

-- name: delete_history_details
DELETE FROM talo_history_detail WHERE seq = ANY(?1::bigint[]);

-- name: front
-- The head of the first message of a queue and priority: the one of them that has waited longest.
SELECT m.head FROM talo_ready AS r CROSS JOIN LATERAL (SELECT head FROM talo_message WHERE id = r.message LIMIT 1) AS m
WHERE r.queue = ?1::text AND r.priority = ?2::int ORDER BY r.place, r.message LIMIT 1;

-- name: ready_up_to
-- How many messages a queue and priority have ready, up to ?3.
SELECT count(*) FROM (
    SELECT 1 FROM talo_ready WHERE queue = ?1::text AND priority = ?2::int LIMIT ?3::bigint
) AS found;

-- name: peek_ready
-- Of what a queue and priority have ready up to ?3 after the first ?4, in their order, and how many stand before each.
SELECT m.queue, m.priority, m.head, m.body, NULL::float8 AS due, ?4::bigint + r.number - 1 FROM (
    SELECT message, row_number() OVER (ORDER BY place, message) AS number FROM (
        SELECT message, place FROM talo_ready WHERE queue = ?1::text AND priority = ?2::int
        ORDER BY place, message LIMIT ?3::bigint OFFSET ?4::bigint
    ) AS found
) AS r CROSS JOIN LATERAL (SELECT * FROM talo_message WHERE id = r.message LIMIT 1) AS m
WHERE position(?5::bytea IN m.head) > 0
ORDER BY r.number;

-- name: peek_delayed
SELECT m.queue, m.priority, m.head, m.body, d.due FROM (
    SELECT message, due FROM talo_delayed
    WHERE queue = ?1::text
    ORDER BY due, message LIMIT ?2::int OFFSET ?3::int
) AS d CROSS JOIN LATERAL (SELECT * FROM talo_message WHERE id = d.message LIMIT 1) AS m
WHERE position(?4::bytea IN m.head) > 0
ORDER BY d.due, d.message;

-- name: enter_ledger
INSERT INTO talo_ledger (task_id, queue, task, root, sent, since, expires)
SELECT * FROM unnest(?1::text[], ?2::text[], ?3::text[], ?4::text[], ?5::float8[], ?6::float8[], ?7::float8[])
ON CONFLICT (task_id, queue) DO UPDATE
SET task = excluded.task, root = excluded.root, sent = excluded.sent, since = excluded.since, expires = excluded.expires,
    owner = NULL, token = NULL, worker = NULL, held = NULL;

-- name: hold_ledger
INSERT INTO talo_ledger (task_id, queue, task, root, sent, since, expires, owner, token, worker, held)
SELECT * FROM unnest(
    ?1::text[], ?2::text[], ?3::text[], ?4::text[], ?5::float8[], ?6::float8[], ?7::float8[],
    ?8::text[], ?9::bigint[], ?10::text[], ?11::float8[]
)
ON CONFLICT (task_id, queue) DO UPDATE
SET expires = excluded.expires, owner = excluded.owner, token = excluded.token, worker = excluded.worker, held = excluded.held;

-- name: strike_ledger
DELETE FROM talo_ledger WHERE owner = ?1::text AND token = ANY(?2::bigint[]);

-- name: free_ledger
UPDATE talo_ledger AS l
SET since = coalesce(b.since, l.since), expires = coalesce(b.since, l.since) + b.kept, owner = NULL, token = NULL, worker = NULL, held = NULL
FROM unnest(?1::text[], ?2::bigint[], ?3::float8[], ?4::float8[]) AS b (owner, token, since, kept)
WHERE l.owner = b.owner AND l.token = b.token;

-- name: drop_ledger
DELETE FROM talo_ledger AS l USING unnest(?1::text[], ?2::text[]) AS d (task_id, queue)
WHERE l.task_id = d.task_id AND l.queue = d.queue AND l.owner IS NULL;

-- name: clear_ledger
DELETE FROM talo_ledger WHERE queue = ?1::text AND since > ?2::float8 AND since <= ?3::float8 AND owner IS NULL;

-- name: find_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE task_id = ANY(?1::text[]) ORDER BY task_id, queue;

-- name: ready_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE queue = ?1::text AND since <= ?2::float8 AND owner IS NULL ORDER BY since LIMIT ?3::bigint OFFSET ?4::bigint;

-- name: delayed_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE queue = ?1::text AND since > ?2::float8 AND owner IS NULL ORDER BY since LIMIT ?3::bigint OFFSET ?4::bigint;

-- name: held_ledger
SELECT task_id, queue, task, root, sent, since, owner, token, worker, held FROM talo_ledger
WHERE owner IS NOT NULL LIMIT ?1::bigint;

-- name: count_ledger
SELECT queue, count(*) FILTER (WHERE since <= ?2::float8), count(*) FILTER (WHERE since > ?2::float8) FROM talo_ledger
WHERE queue = ANY(?1::text[]) AND owner IS NULL GROUP BY queue;

-- name: ahead_ledger
SELECT count(*) FROM talo_ledger WHERE queue = ?1::text AND since < ?2::float8 AND owner IS NULL;
